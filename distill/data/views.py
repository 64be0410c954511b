"""How a clip's pictures come before the autoencoder that moves pixels: framed with an error, in some light.

In: a clip's pictures on the canvas, a face box, a generator. Out: the box's pictures, framed and lit alike; whether
they are mirrored. A face that was found in a photograph never lies quite on the lines, and is lit as it is lit:
latents say what moves in whatever light, and what learns from them shall have seen many.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from distill.data.jitter import Jitter, draw_places, sampled
from distill.data.photometric import draw_light
from models.face import EXPRESSION_DIMS

FRAMING: Final = Jitter(turn=0.03, scale=0.04, stretch=0.02, shift_px=3.0, still=0.0)
LIGHT: Final = 0.6
"""Strength of the light of a clip, 0..1."""


def draw_view(
    canvases: Tensor, box: tuple[int, int, int, int], generator: torch.Generator
) -> tuple[Tensor, bool]:
    """Cut the face box out of canvases, all framed and lit as one camera would.

    Args:
        canvases: (K, 3, S, S) in [0, 1].
        box: (left, top, width, height) canvas px.
        generator: what the view is drawn from.

    Returns:
        (K, 3, height, width) in [0, 1], and whether left and right have changed places.
    """
    places, linear = draw_places([generator], box, canvases.shape[-1], FRAMING)
    boxes = sampled(canvases, places.expand(len(canvases), -1, -1, -1))
    lit = draw_light([generator], LIGHT).over(boxes[None])[0]
    return lit, bool(torch.linalg.det(linear)[0] < 0)


def mirrored(expression: Tensor) -> Tensor:
    """Expressions (..., 4) as a mirror shows them."""
    turned = expression.clone()
    turned[..., EXPRESSION_DIMS.index("gaze_x")] *= -1
    return turned
