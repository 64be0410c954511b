"""Who is drawn: the traits of a character, sampled from a seed.

In: integer seeds and a split name; out: an `Identity`, a batch of traits as tensors. The same seed and
split give the same character on every machine. Splits never share a seed, and the test split alone holds
one drawing style, one hair style and one hair-colour region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from distill.corpus.drawn import palette
from models.face import CHIN_LINE_Y, EYE_LINE_Y, EYE_SPREAD_X, MOUTH_LINE_Y

SPLITS: Final = ("train", "val", "test")
STYLES: Final = ("soft", "ink", "gouache", "glow", "pastel")
HAIR_STYLES: Final = (
    "bald", "buzz", "side part", "quiff", "fringe bob", "long straight", "long wavy", "afro",
    "top bun", "space buns", "curls", "ponytail", "sleek lob",
)  # fmt: skip
HELD_OUT_STYLE: Final = STYLES.index("pastel")
HELD_OUT_HAIR: Final = HAIR_STYLES.index("space buns")
GLASSES: Final = ("none", "round", "square")
FACIAL_HAIR: Final = ("none", "stubble", "moustache", "goatee", "full beard")
CLOTHES: Final = ("crew neck", "v-neck", "turtleneck", "shirt", "hoodie")
BACKDROPS: Final = ("plain", "halo", "slant", "bokeh")
_DRAWS: Final = 96


@dataclass(frozen=True, slots=True)
class Identity:
    """A batch of B characters. Scalars are (B,), colours (B, 3) in [0, 1]; lengths in canvas pixels."""

    seed: Tensor  # (B,) int64, split included
    style: Tensor  # int64 index into STYLES
    hair_style: Tensor  # int64 index into HAIR_STYLES
    glasses: Tensor  # int64 index into GLASSES
    facial_hair: Tensor  # int64 index into FACIAL_HAIR
    clothes: Tensor  # int64 index into CLOTHES
    backdrop: Tensor  # int64 index into BACKDROPS
    light_x: Tensor  # -1..1, where the light comes from
    face_width: Tensor
    face_taper: Tensor
    face_square: Tensor
    face_top_y: Tensor
    chin_y: Tensor
    ear_size: Tensor
    eye_x: Tensor
    eye_y: Tensor
    eye_width: Tensor
    eye_height: Tensor
    eye_tilt: Tensor
    iris_radius: Tensor
    lash: Tensor
    brow_gap: Tensor
    brow_thickness: Tensor
    brow_arch: Tensor
    brow_tilt: Tensor
    nose_width: Tensor
    nose_length: Tensor
    nose_bridge: Tensor
    mouth_y: Tensor
    mouth_half_width: Tensor
    upper_lip: Tensor
    lower_lip: Tensor
    lip_bow: Tensor
    lip_corner: Tensor
    gap_px: Tensor
    lip_gloss: Tensor
    freckles: Tensor
    blush: Tensor
    neck_width: Tensor
    hair_volume: Tensor
    hair_part: Tensor
    hair_phase: Tensor
    skin: Tensor
    hair: Tensor
    iris: Tensor
    lip: Tensor
    cloth: Tensor
    accent: Tensor
    frame: Tensor
    back_a: Tensor
    back_b: Tensor
    light_tint: Tensor

    def __len__(self) -> int:
        return int(self.seed.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the traits lie."""
        return self.seed.device

    def select(self, index: Tensor | slice | Sequence[int]) -> Identity:
        """Return the characters at ``index`` (ints, bool mask or slice) along the batch dimension."""
        if not isinstance(index, (Tensor, slice)):
            index = torch.as_tensor(list(index), dtype=torch.int64)
        return Identity(*(getattr(self, f.name)[index] for f in fields(self)))

    def repeat(self, n: int) -> Identity:
        """Return each character ``n`` times in a row: (B,) becomes (B * n,)."""
        return Identity(*(getattr(self, f.name).repeat_interleave(n, 0) for f in fields(self)))

    def to(self, device: torch.device | str) -> Identity:
        """Return the batch on ``device``."""
        return Identity(*(getattr(self, f.name).to(device) for f in fields(self)))


class _Draws:
    """Uniform numbers of each seed, handed out column by column in a fixed order."""

    def __init__(self, seeds: Sequence[int]) -> None:
        rows = [
            torch.rand(_DRAWS, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds
        ]
        self._table = torch.stack(rows).float() if rows else torch.zeros(0, _DRAWS)
        self._next = 0

    def unit(self) -> Tensor:
        column = self._table[:, self._next]
        self._next += 1
        return column

    def within(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self.unit()

    def around(self, centre: float, spread: float) -> Tensor:
        """A draw in centre ± spread, denser in the middle."""
        return centre + spread * (self.unit() + self.unit() - 1.0)

    def choose(self, weights: Sequence[float]) -> Tensor:
        edges = torch.tensor(weights, dtype=torch.float64).cumsum(0)
        edges = (edges / edges[-1]).float()[:-1]
        return torch.bucketize(self.unit().contiguous(), edges, right=True)


def sample_identities(
    seeds: Tensor | Sequence[int], split: str = "train", device: torch.device | str = "cpu"
) -> Identity:
    """Sample the characters of ``seeds`` (B non-negative ints) in ``split``.

    Raises:
        ValueError: for an unknown split or a negative seed.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split of {SPLITS}, got {split!r}; choose one of these.")
    values = [int(s) for s in seeds]
    if any(s < 0 or s >= 2**60 for s in values):
        raise ValueError(
            f"Expected seeds in 0..2**60, got {min(values)}..{max(values)}; use non-negative seeds."
        )
    full_seeds = [s * len(SPLITS) + SPLITS.index(split) for s in values]
    return _draw_traits(full_seeds, held_out=split == "test").to(device)


def _draw_traits(full_seeds: list[int], held_out: bool) -> Identity:
    d = _Draws(full_seeds)
    style = d.choose((3, 3, 2, 2.5, 4 if held_out else 0))
    hair_style = d.choose((0.6, 1, 1.3, 1.2, 1.1, 1.2, 1.3, 1, 1, 5 if held_out else 0, 1.2, 1, 1.1))
    beardless = torch.isin(hair_style, torch.tensor([4, 5, 6, 8, 9, 11, 12]))
    facial_hair = torch.where(beardless, 0, d.choose((4, 1.6, 1, 1, 1.6)))
    lashes = torch.where(beardless, d.within(0.55, 1.0), d.within(0.0, 0.45))
    tone = d.unit()
    deep = tone * 0.75 + d.unit() * 0.5 > 0.72
    skin = palette.skin(tone, d.unit())
    hair = palette.hair(d.unit(), d.unit(), d.unit(), deep, held_out)
    back_a, back_b = palette.backdrop(d.unit(), d.unit(), d.unit())
    lip = palette.lip(skin, d.unit(), d.unit(), beardless)
    cloth, accent = palette.cloth(d.unit(), d.unit(), d.unit())
    side = torch.where(d.unit() < 0.5, -1.0, 1.0)
    shape = _draw_shape(d, side, lashes)
    return Identity(
        seed=torch.tensor(full_seeds, dtype=torch.int64),
        style=style,
        hair_style=hair_style,
        glasses=d.choose((3.2, 1, 1)),
        facial_hair=facial_hair,
        clothes=d.choose((1, 1, 0.8, 1, 1)),
        backdrop=d.choose((1, 1.4, 1, 1)),
        skin=skin,
        hair=hair,
        iris=palette.iris(d.unit(), d.unit(), deep),
        lip=lip,
        cloth=cloth,
        accent=accent,
        frame=palette.frame(d.unit(), accent),
        back_a=back_a,
        back_b=back_b,
        light_tint=palette.light(d.unit()),
        **shape,
    )


def _draw_shape(d: _Draws, side: Tensor, lashes: Tensor) -> dict[str, Tensor]:
    """Lengths and strengths of an `Identity` by field name."""
    return {
        "light_x": side * d.within(0.55, 1.0),
        "face_width": d.around(64.5, 4.5),
        "face_taper": d.within(0.12, 0.38),
        "face_square": d.within(0.0, 0.8),
        "face_top_y": d.around(47.0, 4.0),
        "chin_y": d.around(CHIN_LINE_Y - 0.5, 2.5),
        "ear_size": d.within(0.85, 1.2),
        "eye_x": d.around(EYE_SPREAD_X - 0.5, 2.5),
        "eye_y": d.around(EYE_LINE_Y, 4.0),
        "eye_width": d.within(15.0, 18.0),
        "eye_height": d.within(8.6, 12.0),
        "eye_tilt": d.around(0.6, 1.8),
        "iris_radius": d.within(8.2, 10.0),
        "lash": lashes,
        "brow_gap": d.within(22.0, 25.5),
        "brow_thickness": d.within(3.0, 5.6),
        "brow_arch": d.within(1.5, 5.0),
        "brow_tilt": d.around(0.0, 1.8),
        "nose_width": d.within(9.0, 14.0),
        "nose_length": d.within(29.0, 34.0),
        "nose_bridge": d.within(0.2, 1.0),
        "mouth_y": d.around(MOUTH_LINE_Y - 0.5, 3.0),
        "mouth_half_width": d.within(26.5, 32.0),
        "upper_lip": d.within(4.8, 8.0),
        "lower_lip": d.within(6.5, 10.0),
        "lip_bow": d.within(0.1, 0.4),
        "lip_corner": d.within(2.6, 5.6),
        "gap_px": d.within(30.0, 34.0),
        "lip_gloss": d.within(0.15, 0.6),
        "freckles": (d.unit() - 0.7).clamp_min(0.0) / 0.3,
        "blush": d.within(0.15, 0.75),
        "neck_width": d.within(28.0, 35.0),
        "hair_volume": d.within(0.75, 1.25),
        "hair_part": side * d.within(0.3, 1.0),
        "hair_phase": d.within(0.0, 6.28),
    }
