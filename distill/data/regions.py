"""Where mouth and eyes are in the face box: weight maps for losses and boxes for measures.

In: sizes. Out: maps over pixels or latent cells of a preset's face box. The constants are of `FACE_BOX`, in which
drawn faces lie and in which faces are measured, whatever box a preset draws.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, FACE_BOX, MOUTH_LINE_Y

Box = tuple[int, int, int, int]

MIDDLE_X: Final = CANVAS_PX / 2 - FACE_BOX[0]
MOUTH_AT: Final = (MIDDLE_X, MOUTH_LINE_Y - FACE_BOX[1] + 6)
EYES_AT: Final = tuple((MIDDLE_X + side * EYE_SPREAD_X, EYE_LINE_Y - FACE_BOX[1] - 6) for side in (-1, 1))
MOUTH_BOX: Final = (32, 84, 96, 72)
"""(left, top, width, height) of the mouth and chin inside `FACE_BOX`, px."""


PHOTOGRAPHED_MOUTH_Y: Final = 186
"""Canvas row about which mouths open, drawn and photographed: lips, teeth and tongue lie around it."""


def weight_map(rows: int, columns: int, mouth: float, eyes: float, box: Box = FACE_BOX) -> Tensor:
    """Weights (rows, columns) over a face box: 1 + soft bumps at the mouth and the eyes, mean about 1.5-3.

    Args:
        rows, columns: cells that the box is divided into.
        mouth, eyes: heights of the bumps.
        box: (left, top, width, height) canvas px. Another one than that of drawn faces has its mouth where
            photographs have it too, lower and with more room for the jaw.
    """
    left, top, width, height = box
    y = (torch.arange(rows) + 0.5)[:, None] * (height / rows)
    x = (torch.arange(columns) + 0.5)[None] * (width / columns)

    def bump(at: tuple[float, float], radius_x: float, radius_y: float) -> Tensor:
        return torch.exp(-0.5 * (((x - at[0]) / radius_x) ** 2 + ((y - at[1]) / radius_y) ** 2))

    if box == FACE_BOX:
        weights, eyes_at = 1 + mouth * bump(MOUTH_AT, 24, 17), EYES_AT
    else:
        middle, eye_y = CANVAS_PX / 2 - left, EYE_LINE_Y - top - 2
        weights = 1 + mouth * bump((middle, PHOTOGRAPHED_MOUTH_Y - top), 26, 20)
        eyes_at = tuple((middle + side * EYE_SPREAD_X, eye_y) for side in (-1, 1))
    for at in eyes_at:
        weights = weights + eyes * bump(at, 15, 13)
    return weights
