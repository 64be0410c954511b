"""How a face is framed: never quite as it was meant, and now and then mirrored.

In: a step's or a clip's generators. Out: where the pixels of the face box lie on the canvas.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.draws import Generators, rand, randn


@dataclass(frozen=True, slots=True)
class Jitter:
    """How far a framing may be off.

    Attributes:
        turn, scale, stretch: standard deviations, radians and shares.
        shift_px: standard deviation of the shift, at most 2.5 of it.
        still: share of rows whose target is the reference itself.
    """

    turn: float = 0.05
    scale: float = 0.05
    stretch: float = 0.03
    shift_px: float = 4.0
    still: float = 0.04


def draw_places(
    generators: Generators, box: tuple[int, int, int, int], side: int, jitter: Jitter
) -> tuple[Tensor, Tensor]:
    """Draw a framing for each generator's row.

    Args:
        generators: one a row.
        box: (left, top, width, height) of the face box, canvas px.
        side: of the canvas, px.
        jitter: how far off framings may be.

    Returns:
        Where the box's pixels lie on the canvas, (B, H, W, 2) in -1..1; and the linear part (B, 2, 2) from box to
        canvas, whose determinant is negative where the row is mirrored.
    """
    left, top, width, height = box
    normal = randn(generators, 5)
    turn, scale, stretch = (
        amount * normal[:, index] for index, amount in enumerate((jitter.turn, jitter.scale, jitter.stretch))
    )
    shift = (jitter.shift_px * normal[:, 3:]).clamp(-2.5 * jitter.shift_px, 2.5 * jitter.shift_px)
    cos, sin = turn.cos() * (1 + scale), turn.sin() * (1 + scale)
    mirrored = torch.where(rand(generators) < 0.5, -1.0, 1.0)
    columns = (cos * (1 + stretch) * mirrored, -sin, sin * mirrored, cos * (1 - stretch))
    linear = torch.stack(columns, dim=-1).view(-1, 2, 2)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    own = torch.stack((x - width / 2, y - height / 2), dim=-1).view(1, -1, 2)
    centre = torch.tensor([left + width / 2, top + height / 2])
    on_canvas = own @ linear.transpose(1, 2) + shift.unsqueeze(1) + centre
    return (on_canvas * (2 / side) - 1).view(-1, height, width, 2), linear


def sampled(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (B, C, S, S) at places (B, H, W, 2) in -1..1, bilinear; the border repeats."""
    return F.grid_sample(maps, places, mode="bilinear", padding_mode="border", align_corners=False)
