"""What else a stranger's picture may be: shadowed, reduced, soft, sharpened, packed, noisy, cut off at its edge.

In: pictures (B, 3, H, W) in [0, 1] and a generator for each row. Out: the same, spoilt; nothing moves.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.degrade import jpeg
from distill.data.draws import Generators, rand, randn

REDUCED_TO: Final = (44, 32, 22, 15)
"""Sides to which pictures of 64 px are reduced: the last is a face with 14 px between its eyes."""


def draw_shadow(pictures: Tensor, places: Tensor, generators: Generators) -> Tensor:
    """A shadow with an edge over a third of the pictures, places (B, H, W, 2) canvas px: it hides nothing."""
    u = rand(generators, 6)[..., None, None]
    turn = 2 * math.pi * u[:, 0]
    along = (places[..., 0] - 128 - 60 * (u[:, 1] - 0.5)) * turn.cos()
    along = along + (places[..., 1] - 178 - 60 * (u[:, 2] - 0.5)) * turn.sin()
    edge = torch.sigmoid(along / (1 + 15 * u[:, 3]))
    dark = 0.75 * u[:, 4] * (u[:, 5] < 0.33)
    return pictures * (1 - dark * edge)[:, None]


def spoilt(pictures: Tensor, generators: Generators) -> Tensor:
    """Spoil each picture by its own draws."""
    u = rand(generators, 12)
    side = pictures.shape[-1]
    out = _cut_off(pictures, u[:, 0], u[:, 1])
    mean = F.avg_pool2d(F.pad(out, (1, 1, 1, 1), mode="replicate"), 3, 1)
    soft = torch.where(u[:, 2] < 0.3, u[:, 3], torch.where(u[:, 2] < 0.6, -0.9 * u[:, 3], torch.zeros(())))
    out = torch.lerp(out, mean, soft[:, None, None, None])
    which = (u[:, 4] * 2 * len(REDUCED_TO)).long()
    for number, small in enumerate(REDUCED_TO):
        rows = which == number
        if rows.any():
            reduced = F.interpolate(out[rows], (small, small), mode="bilinear", antialias=True)
            reduced = _packed(reduced, u[rows, 5])
            out[rows] = F.interpolate(reduced, (side, side), mode="bicubic")
    rest = which >= len(REDUCED_TO)
    if rest.any():
        out[rest] = _packed(out[rest], u[rest, 5])
    strength = 0.05 * u[:, 6].square()[:, None, None, None]
    grain = randn(generators, *pictures.shape[1:])
    return (out + strength * grain).clamp(0, 1)


def _packed(pictures: Tensor, u: Tensor) -> Tensor:
    """Every sixth of the pictures (B, 3, H, W) through a JPEG encoder, by one draw each (B,)."""
    out = pictures.clamp(0, 1)
    for row in (u < 1 / 6).nonzero()[:, 0].tolist():
        out[row] = jpeg(out[row : row + 1], round(15 + 400 * float(u[row])))[0]
    return out


def _cut_off(pictures: Tensor, chance: Tensor, where: Tensor) -> Tensor:
    """Every seventh picture ends at its lower part: its last row is repeated, as beyond a picture's edge."""
    height = pictures.shape[2]
    last = (height * (0.68 + 0.3 * where)).long()
    last = torch.where(chance < 1 / 7, last, height - 1)
    rows = torch.minimum(torch.arange(height)[None], last[:, None])
    return pictures.gather(2, rows[:, None, :, None].expand_as(pictures))
