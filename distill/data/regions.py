"""Where mouth and eyes are in the face box: weight maps for losses and boxes for measures.

In: sizes. Out: maps over pixels or latent cells of the face box.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, FACE_BOX, MOUTH_LINE_Y

MIDDLE_X: Final = CANVAS_PX / 2 - FACE_BOX[0]
MOUTH_AT: Final = (MIDDLE_X, MOUTH_LINE_Y - FACE_BOX[1] + 6)
EYES_AT: Final = tuple((MIDDLE_X + side * EYE_SPREAD_X, EYE_LINE_Y - FACE_BOX[1] - 6) for side in (-1, 1))
MOUTH_BOX: Final = (32, 84, 96, 72)
"""(left, top, width, height) of the mouth and chin inside the face box, px."""


def weight_map(rows: int, columns: int, mouth: float, eyes: float) -> Tensor:
    """Weights (rows, columns) over the face box: 1 + soft bumps at the mouth and the eyes, mean about 1.5-3."""
    height, width = FACE_BOX[3], FACE_BOX[2]
    y = (torch.arange(rows) + 0.5)[:, None] * (height / rows)
    x = (torch.arange(columns) + 0.5)[None] * (width / columns)

    def bump(at: tuple[float, float], radius_x: float, radius_y: float) -> Tensor:
        return torch.exp(-0.5 * (((x - at[0]) / radius_x) ** 2 + ((y - at[1]) / radius_y) ** 2))

    weights = 1 + mouth * bump(MOUTH_AT, 24, 17)
    for at in EYES_AT:
        weights = weights + eyes * bump(at, 15, 13)
    return weights
