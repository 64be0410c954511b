"""What is behind the head: rooms, streets and gardens, out of focus, as a portrait lens draws them.

In: a random stream and a size. Out: a picture (3, H, W) in linear light. Scenes are simple arrangements of planes,
windows, shelves, foliage and lamps, blurred by a round aperture in linear light, so that small bright things
become discs; walls and studio paper lie nearer to focus. Nothing is meant to be recognised, only to be believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.drawing.skin import noise

Rng = np.random.Generator
_WORK: Final = 128
"""Scenes are laid out on a square of this many pixels and enlarged: they are blurred anyway."""


def paint_backdrop(rng: Rng, size: int) -> Tensor:
    """A backdrop (3, size, size), linear."""
    kinds: tuple[tuple[Callable[[Rng], Tensor], float, tuple[float, float]], ...] = (
        (_wall, 0.22, (1.0, 4.0)),
        (_paper, 0.16, (1.0, 3.0)),
        (_room, 0.24, (2.5, 7.0)),
        (_garden, 0.18, (3.0, 8.0)),
        (_street, 0.13, (3.0, 8.0)),
        (_evening, 0.07, (3.0, 7.0)),
    )
    chosen = int(rng.choice(len(kinds), p=[kind[1] for kind in kinds]))
    paint, _, (low, high) = kinds[chosen]
    scene = defocus(paint(rng), float(rng.uniform(low, high)))
    large = F.interpolate(scene[None], size=(size, size), mode="bicubic", align_corners=False)[0]
    return large.clamp(min=0.0)


def defocus(picture: Tensor, radius: float) -> Tensor:
    """Blur (3, H, W) by a disc with a soft edge, edges repeated."""
    reach = int(radius + 1.5)
    at = torch.arange(-reach, reach + 1).float()
    disc = (radius + 0.5 - torch.hypot(at.view(-1, 1), at.view(1, -1))).clamp(0, 1)
    disc = (disc / disc.sum()).expand(3, 1, -1, -1)
    return F.conv2d(F.pad(picture[None], (reach,) * 4, mode="replicate"), disc, groups=3)[0]


def _grid() -> tuple[Tensor, Tensor]:
    at = (torch.arange(_WORK) + 0.5) / _WORK
    y, x = torch.meshgrid(at, at, indexing="ij")
    return x, y


def _hue(rng: Rng, strength: float, low: float, high: float) -> Tensor:
    """A muted colour (3, 1, 1), linear."""
    level = float(rng.uniform(low, high))
    turn = float(rng.uniform(0, 2 * math.pi))
    around = torch.tensor([math.cos(turn), math.cos(turn - 2.09), math.cos(turn + 2.09)])
    return (level * (1 + strength * float(rng.random()) * around)).clamp(min=0.002).view(3, 1, 1)


def _warm(rng: Rng, level: float) -> Tensor:
    """The colour of daylight or lamps (3, 1, 1)."""
    tint = float(rng.normal(0.0, 0.12))
    return level * torch.tensor([1 + tint, 1.0, 1 - tint]).view(3, 1, 1)


def _shade(rng: Rng) -> Tensor:
    """A soft fall of light over a plane, (H, W)."""
    x, y = _grid()
    turn = float(rng.uniform(0, 2 * math.pi))
    slope = float(rng.uniform(0.1, 0.9))
    fall = 1 + slope * ((x - 0.5) * math.cos(turn) + (y - 0.5) * math.sin(turn))
    return fall * (1 + 0.03 * noise(rng, (_WORK, _WORK), 40))


def _box(rng: Rng, picture: Tensor, x: float, y: float, width: float, height: float, colour: Tensor) -> None:
    """Fill a rectangle, in shares of the picture, in place, a little darker at one side."""
    left, right = (int(np.clip(v, 0, 1) * _WORK) for v in (x, x + width))
    top, bottom = (int(np.clip(v, 0, 1) * _WORK) for v in (y, y + height))
    if right > left and bottom > top:
        fall = torch.linspace(1.0, float(rng.uniform(0.7, 1.2)), right - left)
        picture[:, top:bottom, left:right] = colour * fall


def _wall(rng: Rng) -> Tensor:
    """A wall, perhaps with a corner, a rail or a picture on it."""
    picture = _hue(rng, 0.35, 0.05, 0.6) * _shade(rng).expand(3, -1, -1)
    if rng.random() < 0.35:
        x, _ = _grid()
        corner = float(rng.uniform(0.05, 0.95))
        picture = torch.where(x > corner, picture * float(rng.uniform(0.5, 0.85)), picture)
    if rng.random() < 0.4:
        left = float(rng.choice((rng.uniform(-0.2, 0.1), rng.uniform(0.7, 0.95))))
        top = float(rng.uniform(0.0, 0.3))
        width, height = float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.2, 0.5))
        _box(rng, picture, left, top, width, height, _hue(rng, 0.2, 0.01, 0.3))
        _box(rng, picture, left + 0.02, top + 0.02, width - 0.04, height - 0.04, _hue(rng, 0.4, 0.1, 0.6))
    return picture


def _paper(rng: Rng) -> Tensor:
    """Studio paper with a pool of light on it."""
    x, y = _grid()
    base = _hue(rng, 0.25, 0.02, 0.75)
    away = torch.hypot(x - float(rng.uniform(0.2, 0.8)), y - float(rng.uniform(0.2, 0.8)))
    fall = (1.2 - float(rng.uniform(0.3, 1.1)) * away).clamp(min=0.15)
    cloud = 1 + float(rng.uniform(0.0, 0.12)) * noise(rng, (_WORK, _WORK), float(rng.uniform(12, 40)))
    return base * fall * cloud


def _room(rng: Rng) -> Tensor:
    """A room: wall, floor of another tone, a window or door, furniture, shelves with books."""
    picture = _hue(rng, 0.3, 0.12, 0.6) * _shade(rng).expand(3, -1, -1)
    if rng.random() < 0.55:
        x, y = float(rng.uniform(-0.2, 0.9)), float(rng.uniform(-0.2, 0.15))
        width, height = float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.35, 0.8))
        _box(rng, picture, x - 0.02, y - 0.02, width + 0.04, height + 0.04, _hue(rng, 0.1, 0.3, 0.7))
        _box(rng, picture, x, y, width, height, _warm(rng, float(rng.uniform(0.8, 2.5))))
        for share in (0.5,) if rng.random() < 0.6 else (0.33, 0.66):
            _box(rng, picture, x + share * width - 0.008, y, 0.016, height, _hue(rng, 0.1, 0.2, 0.5))
    if rng.random() < 0.5:
        _shelf(rng, picture)
    for _ in range(int(rng.integers(1, 4))):
        x, height = float(rng.uniform(-0.1, 0.95)), float(rng.uniform(0.15, 0.5))
        _box(rng, picture, x, 1 - height, float(rng.uniform(0.1, 0.4)), height, _hue(rng, 0.5, 0.02, 0.35))
    return picture


def _shelf(rng: Rng, picture: Tensor) -> None:
    """Boards with books between them, in place."""
    left, width = (
        float(rng.choice((rng.uniform(-0.1, 0.1), rng.uniform(0.6, 0.8)))),
        float(rng.uniform(0.25, 0.5)),
    )
    board = _hue(rng, 0.4, 0.05, 0.35)
    rows, top = int(rng.integers(2, 5)), float(rng.uniform(-0.1, 0.1))
    tall = float(rng.uniform(0.16, 0.26))
    for row in range(rows):
        bottom = top + (row + 1) * tall
        _box(rng, picture, left, bottom - tall, width, tall, board * 0.35)
        x = left + 0.01
        while x < left + width - 0.02:
            thick, height = float(rng.uniform(0.012, 0.04)), tall * float(rng.uniform(0.55, 0.9))
            if rng.random() < 0.88:
                _box(rng, picture, x, bottom - height, thick, height, _hue(rng, 0.7, 0.03, 0.5))
            x += thick
        _box(rng, picture, left, bottom - 0.012, width, 0.018, board)


def _garden(rng: Rng) -> Tensor:
    """Leaves in layers under a bright sky, with gaps of light."""
    y = _grid()[1]
    sky = _warm(rng, float(rng.uniform(0.6, 1.6))) * torch.tensor([0.88, 0.97, 1.08]).view(3, 1, 1)
    picture = sky * (1.1 - 0.4 * y)
    for layer in range(int(rng.integers(2, 5))):
        edge = float(rng.uniform(0.0, 0.5)) + 0.12 * layer
        leaves = noise(rng, (_WORK, _WORK), float(rng.uniform(4, 14))) * 0.25
        leaves = leaves + noise(rng, (_WORK, _WORK), 30) * 0.25 + (y - edge) * 2.2
        cover = (leaves * 3).clamp(0, 1)
        green = torch.tensor([float(rng.uniform(0.35, 0.9)), 1.0, float(rng.uniform(0.15, 0.45))]).view(
            3, 1, 1
        )
        colour = green * float(rng.uniform(0.03, 0.22)) * _shade(rng)
        speckle = (noise(rng, (_WORK, _WORK), 2.5) - 1.2).clamp(min=0) * float(rng.uniform(0.0, 0.5))
        picture = picture * (1 - cover) + cover * (colour + green * speckle * 0.3)
    return picture


def _street(rng: Rng) -> Tensor:
    """Fronts of houses with rows of windows, and pavement."""
    picture = _warm(rng, float(rng.uniform(0.5, 1.3))).expand(3, _WORK, _WORK).clone()
    left = -0.1
    while left < 1.0:
        width, top = float(rng.uniform(0.2, 0.55)), float(rng.uniform(-0.3, 0.35))
        front = _hue(rng, 0.3, 0.08, 0.45)
        _box(rng, picture, left, top, width, 1.3, front)
        pane, step = float(rng.uniform(0.03, 0.07)), float(rng.uniform(0.1, 0.18))
        glass = _hue(rng, 0.3, 0.02, 0.15) if rng.random() < 0.7 else _warm(rng, 0.9)
        for row in np.arange(top + 0.05, 0.85, step * 1.2):
            for column in np.arange(left + 0.04, left + width - pane, step):
                _box(rng, picture, float(column), float(row), pane, pane * 1.6, glass)
        left += width
    ground = _hue(rng, 0.15, 0.08, 0.35)
    _box(rng, picture, -0.1, float(rng.uniform(0.75, 1.0)), 1.2, 0.5, ground)
    return picture * (1 + 0.05 * noise(rng, (_WORK, _WORK), 20))


def _evening(rng: Rng) -> Tensor:
    """Lamps in the dark."""
    x, y = _grid()
    picture = _hue(rng, 0.5, 0.004, 0.05) * _shade(rng).expand(3, -1, -1)
    for _ in range(int(rng.integers(6, 30))):
        away = torch.hypot(x - float(rng.random()), y - float(rng.random()))
        lamp = torch.tensor(rng.uniform((0.8, 0.4, 0.1), (1.0, 0.9, 0.8)).astype(np.float32)).view(3, 1, 1)
        picture = picture + lamp * float(rng.uniform(0.5, 5.0)) * (away < float(rng.uniform(0.006, 0.02)))
    return picture
