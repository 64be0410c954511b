"""Moderate quality: what is wrong with most video of talking faces, drawn per clip and labelled.

In: one clip's pictures (F, 3, H, W) and the index that seeds it. Out: the same clip as poor video, and a list of
its defects. Pictures get noise, blur, compression, darkness, an off-centre crop, something in front of the face,
or a look that the corpus does not draw (cast, hard light, grain). Sound comes late, drifts, or belongs to another
mouth. Every defect keeps the frame count; only the sound's defects break the tie between sound and mouth.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

PICTURE_DEFECTS: Final = (
    "noise", "blur", "compression", "dark", "off_centre", "occluded", "cast", "hard_light", "grain",
)  # fmt: skip
SYNC_DEFECTS: Final = ("late_audio", "drifting_audio", "wrong_lips")
DEFECTS: Final = (*PICTURE_DEFECTS, *SYNC_DEFECTS)
VERSION: Final = 2
"""Bumped when the same index would give another clip, so that caches of old clips are not read."""
PICTURE_CHANCE: Final = 0.3
SYNC_CHANCE: Final = 0.35
LATE_FRAMES: Final = (2.0, 6.0)
DRIFT_FRAMES: Final = (2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Defects:
    """What is wrong with one clip. ``strength`` 0..1 says how much, alike for all picture defects."""

    names: tuple[str, ...]
    strength: float
    seed: int

    def __post_init__(self) -> None:
        strange = sorted(set(self.names) - set(DEFECTS))
        if strange:
            raise ValueError(f"Unknown defects {strange}; known are {', '.join(DEFECTS)}.")

    def has(self, name: str) -> bool:
        """Whether the clip suffers from ``name``."""
        return name in self.names


def draw_defects(seed: int, allowed: Sequence[str] = DEFECTS) -> Defects:
    """Defects of clip ``seed``: each of the picture's by chance, at most one of the sound's, never none.

    Raises:
        ValueError: ``allowed`` is empty or names an unknown defect.
    """
    if not allowed:
        raise ValueError("A moderate clip needs at least one allowed defect, got none.")
    generator = torch.Generator().manual_seed(7_368_787 * seed + 11)
    draw = torch.rand(len(DEFECTS), generator=generator).tolist()
    strength, which = torch.rand(2, generator=generator).tolist()
    names = [
        n
        for n, u in zip(PICTURE_DEFECTS, draw[: len(PICTURE_DEFECTS)], strict=True)
        if n in allowed and u < PICTURE_CHANCE
    ]
    sync = [name for name in SYNC_DEFECTS if name in allowed]
    if sync and draw[-1] < SYNC_CHANCE:
        names.append(sync[int(which * len(sync))])
    if not names:
        names = [allowed[int(which * len(allowed))]]
    return Defects(tuple(names), 0.3 + 0.7 * strength, seed)


def spoil_pictures(pictures: Tensor, defects: Defects) -> Tensor:
    """Apply the picture defects to one clip (F, 3, H, W) in [0, 1], in the order in which a camera meets them."""
    generator = torch.Generator().manual_seed(15_485_863 * defects.seed + 5)
    out = pictures
    for name in _ORDER:
        if defects.has(name):
            out = _SPOILERS[name](out, defects.strength, generator).clamp(0, 1)
    return out


def sound_delays(frames: int, defects: Defects) -> Tensor:
    """How late the sound is at each frame (frames,), in frames: 0 unless it is late or drifts."""
    generator = torch.Generator().manual_seed(32_452_843 * defects.seed + 3)
    u, sign = torch.rand(2, generator=generator).tolist()
    direction = 1.0 if sign < 0.7 else -1.0  # late sound is commoner than early sound
    if defects.has("late_audio"):
        return torch.full((frames,), direction * (LATE_FRAMES[0] + u * (LATE_FRAMES[1] - LATE_FRAMES[0])))
    if defects.has("drifting_audio"):
        reach = direction * (DRIFT_FRAMES[0] + u * (DRIFT_FRAMES[1] - DRIFT_FRAMES[0]))
        return torch.linspace(0.0, reach, frames)
    return torch.zeros(frames)


def delayed(track: Tensor, delays: Tensor, first: int) -> Tensor:
    """Rows first..first + len(delays) of ``track`` (T, D), each read ``delays`` frames later in linear steps.

    Sound that comes d frames late shows, at a frame, the mouth of the sound d frames ahead of what is heard.
    """
    at = (torch.arange(delays.shape[0]) + first + delays).clamp(0, track.shape[0] - 1)
    low = at.floor().long().clamp(max=track.shape[0] - 2)
    return torch.lerp(track[low], track[low + 1], (at - low).unsqueeze(1))


def _noise(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return x + torch.randn(x.shape, generator=generator) * 0.09 * strength


def _blur(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    size = 1.5 + 2.5 * strength
    small = F.interpolate(x, scale_factor=1 / size, mode="area")
    return F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Pictures (F, 3, H, W) in [0, 1] through a JPEG encoder at ``quality`` 1..95 and back."""
    out = []
    for picture in (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy():
        packed = io.BytesIO()
        Image.fromarray(picture).save(packed, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(packed)))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 255


def _compression(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return jpeg(x, round(45 - 37 * strength))


def _dark(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return x ** (1 + 0.8 * strength) * (1 - 0.45 * strength)


def moved(x: Tensor, shift_x: float, shift_y: float, zoom: float) -> Tensor:
    """Pictures (F, 3, H, W) shifted by pixels and zoomed about their middle; the border repeats."""
    rows, columns = x.shape[-2:]
    matrix = torch.tensor([[1 / zoom, 0, -2 * shift_x / columns], [0, 1 / zoom, -2 * shift_y / rows]])
    grid = F.affine_grid(matrix.expand(x.shape[0], 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _off_centre(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    draw = (torch.rand(3, generator=generator) * 2 - 1).tolist()
    return moved(x, 7 * strength * draw[0], 7 * strength * draw[1], 1 + 0.06 * strength * draw[2])


def _occluded(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """A soft-edged bar or disc (a microphone, a hand, a caption) in front of some part, for some frames."""
    frames, _, rows, columns = x.shape
    u = torch.rand(9, generator=generator)
    y, xs = torch.arange(rows)[:, None] / rows - u[0], torch.arange(columns)[None] / columns - u[1]
    angle = u[2] * 3.14159
    along, across = xs * angle.cos() + y * angle.sin(), y * angle.cos() - xs * angle.sin()
    length, width = 0.10 + 0.25 * u[3], 0.04 + 0.10 * strength * u[4]
    inside = torch.sigmoid((1 - ((along / length) ** 2 + (across / width) ** 2)) * 6)
    begin = int(u[5] * frames * 0.6)
    shown = torch.zeros(frames, 1, 1, 1)
    shown[begin : begin + max(3, int((0.3 + 0.7 * strength) * frames))] = 1
    return torch.lerp(x, u[6:9].view(1, 3, 1, 1).expand_as(x), inside * shown)


def _cast(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    gains = 1 + (torch.rand(3, generator=generator) - 0.5) * 0.7 * strength
    return x * gains.view(1, 3, 1, 1)


def _hard_light(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    rows, columns = x.shape[-2:]
    angle, edge = (torch.rand(2, generator=generator) * torch.tensor([6.28318, 0.5])).tolist()
    y, xs = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    lit = torch.sigmoid((xs * np.cos(angle) + y * np.sin(angle) + edge - 0.25) * 4)
    return x * (1 - 0.55 * strength * (1 - lit) + 0.15 * strength * lit)


def _grain(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """A coarse fixed texture over the picture, as cloth, paper or skin has."""
    rows, columns = x.shape[-2:]
    layers = torch.zeros(1, 1, rows, columns)
    for cell in (2, 5, 11):
        coarse = torch.randn(1, 1, rows // cell + 2, columns // cell + 2, generator=generator)
        layers += F.interpolate(coarse, size=(rows, columns), mode="bilinear", align_corners=False) / 3
    return x * (1 + 0.22 * strength * layers)


_SPOILERS: Final[dict[str, Callable[[Tensor, float, torch.Generator], Tensor]]] = {
    "noise": _noise, "blur": _blur, "compression": _compression, "dark": _dark, "off_centre": _off_centre,
    "occluded": _occluded, "cast": _cast, "hard_light": _hard_light, "grain": _grain,
}  # fmt: skip
_ORDER: Final = (
    "grain", "hard_light", "occluded", "off_centre", "cast", "dark", "blur", "noise", "compression",
)  # fmt: skip
