"""Light, colour and grain that no network shall learn as a style: drawn per row, laid alike over its pictures.

In: pictures (B, K, 3, H, W) in [0, 1] of B rows, K of one moment's light each. Out: the same pictures in another
light, another camera, another medium; within a row all change alike, so that what moves stays the only difference.
Values are changed pixel by pixel or by fields of low frequency: nothing moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.draws import Generators, rand, randn

_TO_YIQ: Final = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FIELD: Final = 4
"""Cells a side of the fields of light."""


@dataclass(frozen=True, slots=True)
class Light:
    """One drawn light and camera for each of B rows.

    Attributes:
        gamma: (B, 1, 1, 1, 1) exponent on the values, a film's or a sensor's curve.
        gain: (B, 1, 3, 4, 4) log of the light's strength and colour over the picture.
        colour: (B, 3, 3) turn and strength of the colours about grey.
        contrast: (B, 1, 1, 1, 1) how much of an S-curve is mixed in.
    """

    gamma: Tensor
    gain: Tensor
    colour: Tensor
    contrast: Tensor

    def over(self, pictures: Tensor) -> Tensor:
        """Lay it over pictures (B, K, 3, H, W) in [0, 1]."""
        rows, count, _, height, width = pictures.shape
        device = pictures.device
        field = F.interpolate(self.gain.flatten(0, 1), (height, width), mode="bilinear", align_corners=False)
        lit = pictures.clamp(1e-3, 1) ** self.gamma.to(device) * field.exp().unsqueeze(1).to(device)
        turned = torch.einsum("bij,bkjp->bkip", self.colour.to(device), lit.flatten(3))
        # a shoulder in place of a cut: bright skin keeps its shape
        toned = (1 - torch.exp(-1.5 * turned.clamp_min(0))) / (1 - math.exp(-1.5))
        toned = toned.clamp(0, 1).view(rows, count, 3, height, width)
        return torch.lerp(toned, toned * toned * (3 - 2 * toned), self.contrast.to(device)).clamp(0, 1)


def draw_light(generators: Generators, strength: float = 1.0) -> Light:
    """Draw a light for each generator's row.

    Args:
        generators: one a row.
        strength: 1 goes from dim and coloured to bleached, one row in seven without colour; 0 changes almost
            nothing.
    """
    rows = len(generators)
    normal = strength * randn(generators, 6)
    chance = rand(generators, 4)
    fields = strength * (
        0.25 * randn(generators, 1, 1, _FIELD, _FIELD) * (chance[:, 0] < 0.6).view(-1, 1, 1, 1, 1)
        + 0.12 * randn(generators, 1, 3, _FIELD, _FIELD) * (chance[:, 1] < 0.5).view(-1, 1, 1, 1, 1)
    )
    exposure = 0.24 * normal[:, 0].view(-1, 1, 1, 1, 1) + 0.12 * strength * randn(generators, 1, 3, 1, 1)
    hue = torch.where(chance[:, 2] < 0.06, math.pi * (2 * rand(generators) - 1), 0.12 * normal[:, 1])
    vivid = torch.where(chance[:, 3] < 0.15, torch.zeros(rows), 1 + strength * (rand(generators) - 0.5))
    turn = torch.zeros(rows, 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = hue.cos() * vivid
    turn[:, 1, 2], turn[:, 2, 1] = -hue.sin() * vivid, hue.sin() * vivid
    return Light(
        gamma=torch.exp(0.25 * normal[:, 2]).view(-1, 1, 1, 1, 1),
        gain=fields + exposure,
        colour=torch.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ,
        contrast=(strength * (0.8 * rand(generators) - 0.3)).view(-1, 1, 1, 1, 1),
    )


def draw_texture(generators: Generators, height: int, width: int) -> Tensor:
    """Log gain (B, 1, 3, H, W) of a texture that belongs to the surface: pores, brush strokes, paper.

    It is not fixed to the picture: move it by the same flow as the surface, or it teaches pixels to stay.
    """
    total = torch.zeros(len(generators), 3, height, width)
    for shrink, strength in ((1, 0.05), (2, 0.06), (4, 0.08)):
        size = (height // shrink, width // shrink)
        grain = randn(generators, 1, *size) + 0.4 * randn(generators, 3, *size)
        share = rand(generators, 1, 1, 1) * (rand(generators, 1, 1, 1) < 0.5)
        grain = strength * share * grain
        total = total + (
            grain
            if shrink == 1
            else F.interpolate(grain, (height, width), mode="bilinear", align_corners=False)
        )
    return total.unsqueeze(1)


def draw_softness(generators: Generators) -> Tensor:
    """(B, 1, 1, 1, 1) how much of a 3x3 mean a row's camera mixes in: two in five are not quite sharp."""
    share = rand(generators, 1, 1, 1, 1)
    return share * (rand(generators, 1, 1, 1, 1) < 0.4)


def softened(pictures: Tensor, share: Tensor) -> Tensor:
    """Pictures (B, K, 3, H, W) with that share of their 3x3 mean."""
    flat = pictures.flatten(0, 1)
    mean = F.avg_pool2d(F.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, 1).view_as(pictures)
    return torch.lerp(pictures, mean, share.to(pictures.device))
