"""The open-set split: each seed is a way of picturing that no training data has.

In: a seed; out: an `OpenStyle`, a fixed function from our drawn canvases to canvases of another kind: with the
statistics of photographs, hatched, printed, painted, recoloured, with other proportions. The same style is
laid over the reference picture and over every true frame; it is fixed to the canvas, so the moving mouth passes
under it and the truth stays known. A change of proportions stretches the mouth too: `OpenStyle.opening_px`
gives the true gap after it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.drawn.open_filters import (
    Filter,
    halftone,
    hatching,
    ink_lines,
    oil_paint,
    pencil,
    photograph,
    posterised,
    recoloured,
)
from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, MOUTH_LINE_Y

KINDS: Final[dict[str, Callable[[random.Random, torch.Generator], Filter]]] = {
    "photograph": photograph,
    "hatching": hatching,
    "halftone": halftone,
    "ink": ink_lines,
    "posterised": posterised,
    "oil": oil_paint,
    "pencil": pencil,
    "recoloured": recoloured,
}
_TURNS: Final = (
    "photograph", "hatching", "recoloured", "photograph", "halftone", "ink",
    "photograph", "posterised", "oil", "photograph", "pencil", "recoloured",
)  # fmt: skip
"""Seeds take turns, so that every dozen of them has each kind: four photographs, six drawings, two palettes."""


@dataclass(frozen=True, slots=True)
class Proportions:
    """A smooth warp of the canvas; all lengths in canvas pixels, 1 and 0 change nothing."""

    face_width: float = 1.0
    eye_size: float = 1.0
    eye_shift_y: float = 0.0
    mouth_width: float = 1.0
    mouth_height: float = 1.0
    chin_drop: float = 0.0

    def __post_init__(self) -> None:
        scales = (self.face_width, self.eye_size, self.mouth_width, self.mouth_height)
        if not all(0.7 <= scale <= 1.4 for scale in scales):
            raise ValueError(f"Proportions: scales must lie in 0.7..1.4 so that nothing folds, got {scales}.")
        if abs(self.eye_shift_y) > 8 or not -10 <= self.chin_drop <= 5:
            raise ValueError("Proportions: need |eye_shift_y| <= 8 px and chin_drop in -10..5 px.")

    def source(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where the pixels at (x, y) come from; canvas pixels, broadcastable."""
        middle = CANVAS_PX / 2
        dx, dy = torch.zeros_like(x + y), torch.zeros_like(x + y)
        inside = torch.exp(-(((x - middle) / 95) ** 4) - ((y - 145) / 95) ** 4)
        dx = dx - (x - middle) * (1 - 1 / self.face_width) * inside
        for side in (-1, 1):
            eye_x, eye_y = middle + side * EYE_SPREAD_X, EYE_LINE_Y + self.eye_shift_y
            near = torch.exp(-(((x - eye_x) / 22) ** 2) - ((y - eye_y) / 20) ** 2) * (1 - 1 / self.eye_size)
            dx, dy = dx - (x - eye_x) * near, dy - (y - eye_y) * near
        dy = dy - self.eye_shift_y * torch.exp(-(((y - EYE_LINE_Y) / 30) ** 2)) * inside
        mouth_y = MOUTH_LINE_Y + 4
        near = torch.exp(-(((x - middle) / 44) ** 4) - ((y - mouth_y) / 30) ** 4)
        dx = dx - (x - middle) * (1 - 1 / self.mouth_width) * near
        dy = dy - (y - mouth_y) * (1 - 1 / self.mouth_height) * near
        down = torch.sigmoid((y - 200) / 5) * torch.sigmoid((240 - y) / 5)
        return x + dx, y + dy - self.chin_drop * down * inside

    def __call__(self, canvas: Tensor) -> Tensor:
        """Warp canvases (N, 3, S, S)."""
        line = torch.arange(CANVAS_PX, device=canvas.device) + 0.5
        x, y = self.source(line[None], line[:, None])
        grid = torch.stack((x, y), -1) / (CANVAS_PX / 2) - 1
        grid = grid.unsqueeze(0).expand(canvas.shape[0], -1, -1, -1)
        warped = F.grid_sample(canvas, grid, "bicubic", padding_mode="border", align_corners=False)
        return warped.clamp(0, 1)

    def target_y(self, source_y: Tensor) -> Tensor:
        """Row that a row of the middle column moves to, of any shape."""
        rows = torch.arange(0, CANVAS_PX, 0.25)
        _, taken = self.source(torch.full_like(rows, CANVAS_PX / 2), rows)
        taken = taken.cummax(0).values  # rising but for rounding
        after = torch.searchsorted(taken, source_y.contiguous()).clamp(1, rows.shape[0] - 1)
        low, high = taken[after - 1], taken[after]
        share = (source_y - low) / (high - low).clamp_min(1e-6)
        return rows[after - 1] + share * 0.25


@dataclass(frozen=True, slots=True)
class OpenStyle:
    """One way of picturing: proportions first, then filters in order."""

    seed: int
    name: str
    proportions: Proportions
    filters: tuple[Filter, ...]

    def __call__(self, canvas: Tensor) -> Tensor:
        """Restyle canvases (N, 3, S, S) in [0, 1]; frames of a clip and its reference picture alike.

        Raises:
            ValueError: not whole canvases; a face box alone has lost its surroundings.
        """
        if canvas.ndim != 4 or canvas.shape[1:] != (3, CANVAS_PX, CANVAS_PX):
            raise ValueError(
                f"Expected canvases (N, 3, {CANVAS_PX}, {CANVAS_PX}), got {tuple(canvas.shape)}; "
                "restyle the whole canvas, then cut the face box out."
            )
        out = canvas if self.proportions == Proportions() else self.proportions(canvas)
        for apply in self.filters:
            out = apply(out)
        return out

    def opening_px(self, gap_px: Tensor, mouth_y: Tensor) -> Tensor:
        """True gap after the change of proportions; gap and mouth line before it, canvas pixels, (N,)."""
        if self.proportions == Proportions():
            return gap_px
        # 0.34 of a drawn gap lies above the mouth line, the rest below (distill.corpus.drawn.mouth)
        upper, lower = mouth_y - 0.34 * gap_px, mouth_y + 0.66 * gap_px
        return self.proportions.target_y(lower) - self.proportions.target_y(upper)


def open_style(seed: int) -> OpenStyle:
    """The style of a non-negative seed, the same on every machine."""
    if seed < 0:
        raise ValueError(f"Expected a non-negative seed, got {seed}.")
    rng = random.Random(f"open style/{seed}")
    generator = torch.Generator().manual_seed(rng.getrandbits(48))
    kind = _TURNS[seed % len(_TURNS)]
    names, filters = [kind], [KINDS[kind](rng, generator)]
    if kind != "recoloured" and rng.random() < 0.3:
        names.insert(0, "recoloured")
        filters.insert(0, recoloured(rng, generator))
    proportions = Proportions()
    if rng.random() < 0.6:
        names.insert(0, "proportions")
        proportions = _proportions(rng)
    return OpenStyle(seed, " + ".join(names), proportions, tuple(filters))


def _proportions(rng: random.Random) -> Proportions:
    return Proportions(
        face_width=rng.uniform(0.86, 1.1),
        eye_size=rng.uniform(0.82, 1.28),
        eye_shift_y=rng.uniform(-5, 5),
        mouth_width=rng.uniform(0.82, 1.18),
        mouth_height=rng.uniform(0.82, 1.15),
        chin_drop=rng.uniform(-7, 3),
    )
