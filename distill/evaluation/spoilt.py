"""Spoilt reference pictures: what people really open a stream with.

In: a clean canvas (1, 3, S, S) in [0, 1], a kind and a seed. Out: the spoilt canvas and its `Framing`, the part
of the damage that moves things about; truth is framed alike, all else is measured against the clean picture.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from distill.corpus.drawn.open_filters import soften
from models.face import CANVAS_PX, EYE_LINE_Y

SPOILING: Final = ("jpeg", "blur", "noise", "dark", "small", "framing", "covered", "several")


@dataclass(frozen=True, slots=True)
class Framing:
    """A person off-centre: scale about the canvas' middle, then a shift right and down in pixels."""

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.scale <= 2.0:
            raise ValueError(f"Framing: scale must lie in 0.5..2, got {self.scale:g}.")

    def __call__(self, canvas: Tensor) -> Tensor:
        """Frame canvases (N, 3, S, S); edges are repeated."""
        if self == Framing():
            return canvas
        line = (torch.arange(CANVAS_PX, device=canvas.device) + 0.5) * (2 / CANVAS_PX) - 1
        x = (line - self.shift_x * 2 / CANVAS_PX) / self.scale
        y = (line - self.shift_y * 2 / CANVAS_PX) / self.scale
        grid = torch.stack(torch.broadcast_tensors(x[None], y[:, None]), -1)
        grid = grid.unsqueeze(0).expand(canvas.shape[0], -1, -1, -1)
        moved = F.grid_sample(canvas, grid, "bicubic", padding_mode="border", align_corners=False)
        return moved.clamp(0, 1)


def spoil(canvas: Tensor, kind: str, seed: int) -> tuple[Tensor, Framing]:
    """Spoil one canvas (1, 3, S, S); the same seed gives the same damage.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in SPOILING:
        raise ValueError(f"Expected a kind of damage of {SPOILING}, got '{kind}'.")
    rng = random.Random(f"spoilt/{kind}/{seed}")
    generator = torch.Generator().manual_seed(rng.getrandbits(48))
    kinds = ("framing", *rng.sample(("jpeg", "blur", "noise", "dark", "small"), 2))
    framing = Framing()
    for one in kinds if kind == "several" else (kind,):
        if one == "framing":
            framing = _draw_framing(rng)
            canvas = framing(canvas)
        else:
            canvas = _damage(canvas, one, rng, generator)
    return canvas.clamp(0, 1), framing


def _draw_framing(rng: random.Random) -> Framing:
    return Framing(rng.uniform(0.95, 1.05), rng.uniform(-6, 6), rng.uniform(-6, 6))


def _damage(canvas: Tensor, kind: str, rng: random.Random, generator: torch.Generator) -> Tensor:
    if kind == "jpeg":
        return _jpeg(canvas, rng.randint(8, 22))
    if kind == "blur":
        return soften(canvas, rng.uniform(1.2, 2.4))
    if kind == "noise":
        return canvas + torch.randn(canvas.shape, generator=generator) * rng.uniform(0.05, 0.12)
    if kind == "dark":
        dim = canvas**1.3 * rng.uniform(0.25, 0.5)
        return dim + torch.randn(canvas.shape, generator=generator) * 0.015
    if kind == "small":
        side = rng.randint(72, 128)
        tiny = F.interpolate(canvas, size=(side, side), mode="area")
        return F.interpolate(tiny, size=canvas.shape[-2:], mode="bilinear", align_corners=False)
    return _cover(canvas, rng)


def _jpeg(canvas: Tensor, quality: int) -> Tensor:
    pixels = (canvas[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=quality)
    read = np.asarray(Image.open(stored).convert("RGB"), np.float32) / 255
    return torch.from_numpy(read).permute(2, 0, 1)[None]


def _cover(canvas: Tensor, rng: random.Random) -> Tensor:
    """Something flat before a cheek or the forehead, as a strand, a finger or a logo; the mouth stays free."""
    line = torch.arange(CANVAS_PX) + 0.5
    at_x = CANVAS_PX / 2 + rng.choice((-1, 1)) * rng.uniform(34, 56)
    at_y = EYE_LINE_Y + rng.uniform(-44, 34)
    angle = torch.tensor(rng.uniform(-0.7, 0.7))
    x, y = line[None] - at_x, line[:, None] - at_y
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    shape = ((along / rng.uniform(8, 12)) ** 4 + (across / rng.uniform(16, 26)) ** 4) ** 0.25
    alpha = ((1 - shape) * 8 + 0.5).clamp(0, 1)
    colour = torch.tensor([rng.random() for _ in range(3)]).view(1, 3, 1, 1)
    return torch.lerp(canvas, colour.expand_as(canvas), alpha)
