"""Things before a face: hands, microphones, masks, cups, leaves and cards, drawn anew for each row of a step.

In: pictures and where their pixels lie on the canvas. Out: the pictures with something before some of them, and how
much of each place is hidden. Each thing is a handful of superellipses, lit and textured; no photograph is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.draws import Generators, rand, randn
from models.face import CANVAS_PX, MOUTH_LINE_Y

PIECES: Final = 6
DRAWS: Final = 40
"""Uniform draws that a thing's shape takes."""
BEFORE_MOUTH: Final = 0.65
"""Share of things that are meant to be before the mouth; the rest lie anywhere."""


@dataclass(frozen=True, slots=True)
class Things:
    """One thing for each of B rows, in pieces, the hindmost first.

    Attributes:
        at: (B, K, 2) middles, canvas px; half: (B, K, 2) half axes; turn: (B, K) radians.
        power: (B, K) exponent: 2 is an ellipse, 8 nearly a rectangle.
        colour: (B, K, 3) in [0, 1]. there: (B, K) 0 or 1.
    """

    at: Tensor
    half: Tensor
    turn: Tensor
    power: Tensor
    colour: Tensor
    there: Tensor


def covered_by(
    pictures: Tensor, others: Tensor, places: Tensor, generators: Generators
) -> tuple[Tensor, Tensor]:
    """Lay a thing before each picture.

    Args:
        pictures: (B, 3, H, W) in [0, 1]. others: the same of other people: what some things show.
        places: (B, H, W, 2) where their pixels lie, canvas px.
        generators: one a row.

    Returns:
        (B, 3, H, W), and (B, H, W) how much of each pixel is hidden.
    """
    u = rand(generators, DRAWS + 12)
    u[:, 5:8] = torch.lerp(u[:, 5:8], u[:, 5:8].mean(1, keepdim=True), u[:, 39:40])  # few things are gaudy
    made = [maker(u, _skin(pictures, places, u)) for maker in MAKERS]
    which = (u[:, -1] * len(MAKERS)).long().clamp(max=len(MAKERS) - 1)
    rows = torch.arange(len(pictures))
    things = Things(
        *(torch.stack([getattr(one, name) for one in made])[which, rows] for name in Things.__slots__)
    )
    texture = _texture(others, places, generators, u[:, DRAWS:])
    return _laid_over(pictures, things, texture, places, u[:, DRAWS:])


def _skin(pictures: Tensor, places: Tensor, u: Tensor) -> Tensor:
    """(B, 3): of half of the rows about their own, of the rest anybody's."""
    away = (places - torch.tensor([CANVAS_PX / 2, MOUTH_LINE_Y - 6.0])) / torch.tensor([44.0, 30.0])
    ring = ((away.square().sum(-1) < 1) & (away.square().sum(-1) > 0.4)).float()[:, None]
    own = (pictures * ring).sum((2, 3)) / ring.sum((2, 3)).clamp_min(1)
    tone = torch.lerp(torch.tensor([0.22, 0.13, 0.10]), torch.tensor([0.95, 0.78, 0.68]), u[:, 36:37])
    return torch.where(u[:, 37:38] < 0.5, own, tone) * (0.75 + 0.5 * u[:, 38:39])


def _middle(u: Tensor) -> Tensor:
    """(B, 2) where a thing is held, canvas px."""
    near = torch.tensor([CANVAS_PX / 2, MOUTH_LINE_Y + 2.0]) + 26 * (u[:, 0:2] + u[:, 2:4] - 1)
    far = torch.tensor([20.0, 90.0]) + u[:, 0:2] * torch.tensor([216.0, 170.0])
    return torch.where(u[:, 4:5] < BEFORE_MOUTH, near, far)


def _nothing(u: Tensor) -> Things:
    rows, (one, pair) = len(u), ((PIECES,), (PIECES, 2))
    return Things(
        at=torch.zeros(rows, *pair),
        half=torch.ones(rows, *pair),
        turn=torch.zeros(rows, *one),
        power=torch.full((rows, *one), 2.0),
        colour=u[:, None, 5:8].expand(-1, PIECES, -1).clone(),
        there=torch.zeros(rows, *one),
    )


def _hand(u: Tensor, skin: Tensor) -> Things:
    """A palm, up to four fingers, a thumb."""
    out, middle = _nothing(u), _middle(u)
    aim = 2 * math.pi * u[:, 8]
    along = torch.stack((aim.cos(), aim.sin()), 1)
    across = along.flip(1) * torch.tensor([-1.0, 1.0])
    apart, length = 13 + 7 * u[:, 9], 26 + 18 * u[:, 10]
    held = middle + along * (26 * (u[:, 11:12] - 0.3))  # sometimes the palm is before the mouth
    out.at[:, 0] = held - along * (length + 18)[:, None]
    out.half[:, 0] = torch.stack((30 + 10 * u[:, 12], 2.1 * apart), 1)
    out.power[:, 0], out.turn[:, 0], out.there[:, 0] = 3.0, aim, 1.0
    for k in range(4):
        step = (k - 1.5) * apart
        out.at[:, 1 + k] = held + across * step[:, None] + along * (10 * (u[:, 13 + k : 14 + k] - 0.5))
        out.half[:, 1 + k] = torch.stack((length, apart * (0.44 + 0.12 * u[:, 17])), 1)
        out.turn[:, 1 + k] = aim + (k - 1.5) * 0.24 * (u[:, 18] - 0.4)
        out.there[:, 1 + k] = (u[:, 19] * 5 > k).float()
    out.power[:, 1:] = 2.6
    out.at[:, 5] = out.at[:, 0] + across * (2.2 * apart)[:, None] + along * 14
    out.half[:, 5] = torch.stack((length * 0.8, apart * 0.55), 1)
    out.turn[:, 5], out.there[:, 5] = aim + 0.5, (u[:, 20] < 0.5).float()
    out.colour[:] = skin[:, None] * (0.9 + 0.2 * u[:, 21:27, None])
    return out


def _microphone(u: Tensor, skin: Tensor) -> Things:
    """A handle, a head on it, and perhaps fingers round the handle."""
    out, middle = _nothing(u), _middle(u)
    aim = math.pi * (0.5 + 1.1 * (u[:, 8] - 0.5))
    along = torch.stack((aim.cos(), aim.sin()), 1)
    radius, thick = 16 + 16 * u[:, 9], 8 + 7 * u[:, 10]
    grey = torch.where(u[:, 11:12] < 0.7, (0.05 + 0.3 * u[:, 12:13]).expand(-1, 3), u[:, 5:8])
    out.at[:, 0] = middle + along * (radius + 60)[:, None]
    out.half[:, 0] = torch.stack((torch.full_like(thick, 66), thick), 1)
    out.power[:, 0], out.colour[:, 0] = 5.0, grey * 0.8
    out.at[:, 1] = middle
    out.half[:, 1] = torch.stack((radius * (1 + 0.4 * u[:, 13]), radius), 1)
    out.colour[:, 1] = grey + 0.25 * u[:, 14:15]
    for k in range(3):
        out.at[:, 2 + k] = middle + along * (radius + 26 + 17 * k)[:, None]
        out.half[:, 2 + k] = torch.tensor([8.5, 20.0])
        out.colour[:, 2 + k] = skin
        out.there[:, 2 + k] = (u[:, 15] < 0.5).float()
    out.turn[:] = aim[:, None]
    out.there[:, :2] = 1.0
    return out


def _mask(u: Tensor, skin: Tensor) -> Things:
    """Cloth over nose, mouth and chin, or over mouth and chin alone, with its bands."""
    out = _nothing(u)
    middle = torch.tensor([CANVAS_PX / 2, MOUTH_LINE_Y + 12.0]) + 18 * (u[:, 0:2] - 0.5)
    middle[:, 1] += 46 * (u[:, 3] > 0.88).float()  # pulled down to the chin
    wide, high = 46 + 26 * u[:, 8], 32 + 20 * u[:, 9]
    pale = torch.tensor([0.75, 0.85, 0.92]) + 0.2 * (u[:, 5:8] - 0.5)
    dark = (0.04 + 0.12 * u[:, 5:6]).expand(-1, 3)
    kind = u[:, 10:11]
    colour = torch.where(kind < 0.45, pale, torch.where(kind < 0.65, dark, u[:, 5:8]))
    for k, side in enumerate((-1.0, 1.0, -1.0, 1.0)):
        slope = (-0.5 if k < 2 else 0.35) * side
        reach = torch.stack((side * (wide + 22), (wide + 22) * slope * side), 1)
        out.at[:, k], out.turn[:, k] = middle + reach, torch.full_like(wide, slope)
        out.half[:, k] = torch.tensor([30.0, 1.6])
        out.there[:, k] = (u[:, 11] < 0.7).float()
    out.at[:, 4] = middle - torch.stack((torch.zeros_like(high), high * 0.75), 1)
    out.half[:, 4] = torch.stack((wide * (0.35 + 0.25 * u[:, 12]), high * 0.6), 1)
    out.at[:, 5], out.half[:, 5] = middle, torch.stack((wide, high), 1)
    out.power[:, 5], out.turn[:, 5] = 2 + 2.5 * u[:, 13], 0.16 * (u[:, 14] - 0.5)
    out.there[:, 4], out.there[:, 5] = (u[:, 15] < 0.6).float(), 1.0
    out.colour[:] = colour.clamp(0, 1)[:, None]
    return out


def _cup(u: Tensor, skin: Tensor) -> Things:
    """A cup or a glass at the lips, its rim, and fingers at its side."""
    out, middle = _nothing(u), _middle(u)
    wide, high, lean = 24 + 22 * u[:, 8], 30 + 25 * u[:, 9], 0.5 * (u[:, 10] - 0.5)
    up = torch.stack((lean.sin(), -lean.cos()), 1)
    out.at[:, 0] = middle - up * (high - 12)[:, None]
    out.half[:, 0], out.power[:, 0] = torch.stack((wide, high), 1), 7.0
    out.at[:, 1] = out.at[:, 0] + up * high[:, None]
    out.half[:, 1] = torch.stack((wide, 3 + 6 * u[:, 11]), 1)
    out.colour[:, 1] = (out.colour[:, 1] * 0.6 + 0.35).clamp(0, 1)
    for k in range(3):
        side = torch.where(u[:, 12] < 0.5, -1.0, 1.0) * wide * 0.8
        out.at[:, 2 + k] = out.at[:, 0] + torch.stack((side, 17.0 * (k - 1) * torch.ones_like(side)), 1)
        out.half[:, 2 + k] = torch.tensor([22.0, 8.5])
        out.colour[:, 2 + k] = skin
        out.there[:, 2 + k] = (u[:, 13] < 0.6).float()
    out.turn[:], out.there[:, :2] = lean[:, None], 1.0
    return out


def _leaves(u: Tensor, skin: Tensor) -> Things:
    """Ellipses that lie about: leaves, flowers, locks, ice cream."""
    out, middle = _nothing(u), _middle(u)
    green = torch.tensor([0.15, 0.4, 0.12]) * (0.5 + u[:, 8:9])
    colour = torch.where(u[:, 9:10] < 0.4, green, u[:, 5:8])
    for k in range(PIECES):
        out.at[:, k] = middle + (50 if k else 0) * (u[:, 10 + 2 * k : 12 + 2 * k] - 0.5)
        out.half[:, k] = torch.stack((22 + 34 * u[:, 22 + k], 8 + 16 * u[:, 28 + k]), 1)
        out.turn[:, k] = 2 * math.pi * u[:, (11 + 5 * k) % DRAWS]
        out.colour[:, k] = colour * (0.75 + 0.5 * u[:, 34:35] * (k % 2))
        out.there[:, k] = (u[:, 35] * 6 > k - 1).float()
    return out


def _card(u: Tensor, skin: Tensor) -> Things:
    """A sheet, a telephone, a book, a sleeve: one large thing with edges."""
    out, middle = _nothing(u), _middle(u)
    out.half[:, 0] = torch.stack((24 + 70 * u[:, 8], 18 + 50 * u[:, 9]), 1)
    out.turn[:, 0] = math.pi * (u[:, 10] - 0.5)
    side = torch.stack((out.turn[:, 0].cos(), out.turn[:, 0].sin()), 1)
    out.at[:, 0] = middle + side * (out.half[:, 0, :1] * 0.9 * (2 * u[:, 11:12] - 1))
    out.power[:, 0], out.there[:, 0] = 3 + 7 * u[:, 12], 1.0
    return out


MAKERS: Final[tuple[Callable[[Tensor, Tensor], Things], ...]] = (
    _hand, _hand, _microphone, _mask, _mask, _cup, _leaves, _card,
)  # fmt: skip


def _texture(others: Tensor, places: Tensor, generators: Generators, u: Tensor) -> Tensor:
    """(B, 3, H, W) by which a thing's colour is multiplied, 1 in the mean: plain, cloud, weave, or a picture."""
    height, width = others.shape[-2:]
    cloud = torch.zeros_like(others)
    for cells, strength in ((4, 0.22), (8, 0.14), (16, 0.1), (32, 0.08)):
        grain = strength * randn(generators, 3, cells, cells)
        grain = torch.lerp(grain, grain.mean(1, keepdim=True) * 1.7, 0.8)
        cloud = cloud + F.interpolate(grain, (height, width), mode="bicubic", align_corners=False)
    turn = (u[:, 0] * math.pi)[:, None, None]
    x, y = places.unbind(-1)
    first, second = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    pitch = (0.15 + 1.2 * u[:, 1].square())[:, None, None]
    weave = (first * pitch).sin() * torch.where(
        u[:, 2, None, None] < 0.5, (second * pitch).sin(), torch.ones(())
    )
    shown = others / others.mean((2, 3), keepdim=True).clamp_min(0.05) - 1
    kind = u[:, 3, None, None, None]
    pattern = torch.where(kind < 0.3, 0.25 * weave[:, None], torch.where(kind < 0.55, shown, torch.zeros(())))
    return (1 + (0.1 + 0.8 * u[:, 4, None, None, None]) * cloud + pattern).clamp(0.1, 2.5)


def _laid_over(
    pictures: Tensor, things: Things, texture: Tensor, places: Tensor, u: Tensor
) -> tuple[Tensor, Tensor]:
    """Piece by piece: its shadow, then itself, lit from a side and round as it is."""
    out, hidden = pictures.clone(), torch.zeros_like(places[..., 0])
    for k in range(PIECES):
        rows = things.there[:, k].nonzero()[:, 0]
        v = u[rows, 5:12, None, None]
        turn, power = things.turn[rows, k, None, None], things.power[rows, k, None, None]
        half_x, half_y = things.half[rows, k, :, None, None].unbind(1)
        away_x, away_y = (places[rows] - things.at[rows, None, None, k]).unbind(-1)
        p = (away_x * turn.cos() + away_y * turn.sin()) / half_x
        q = (away_y * turn.cos() - away_x * turn.sin()) / half_y
        reach = ((p.abs() + 1e-4) ** power + (q.abs() + 1e-4) ** power) ** (1 / power)
        inside = (1 - reach) * torch.minimum(half_x, half_y)  # about the distance to the rim, px
        alpha = torch.sigmoid(inside / (0.4 + 1.6 * v[:, 0]))
        rounded = (1 - reach.square()).clamp_min(0).sqrt() - 0.6
        lit = 0.7 + 0.3 * v[:, 2] + 0.7 * ((v[:, 3] - 0.5) * p + (v[:, 4] - 0.5) * q + v[:, 5] * rounded)
        colour = things.colour[rows, k, :, None, None] * texture[rows] * lit.clamp(0.05, 1.6)[:, None]
        shadowed = out[rows] * (1 - 0.5 * v[:, 1] * torch.sigmoid((inside + 3) / 3))[:, None]
        out[rows] = torch.lerp(shadowed, colour.clamp(0, 1), alpha[:, None])
        hidden[rows] = torch.maximum(hidden[rows], alpha)
    return out, hidden
