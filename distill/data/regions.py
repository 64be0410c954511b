"""Where mouth and eyes are in a face box: weight maps for losses and boxes for measures.

In: sizes and a box of the canvas. Out: maps over pixels or latent cells of the box, places in it. What a preset
*draws* is its own face box (`Preset.face_box`); what is *measured* is `MEASURED_BOX`, whatever a preset draws, so
that figures of presets can be compared and one probe reads them all.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, FACE_BOX, MOUTH_LINE_Y

Box = tuple[int, int, int, int]
Place = tuple[float, float]

MEASURED_BOX: Final[Box] = FACE_BOX
"""(left, top, width, height) of the canvas that the probe reads and evaluation measures: the lips of drawn and of
photographed faces lie well inside it, a photographed chin that drops may leave it."""
MOUTH_BOX: Final[Box] = (32, 84, 96, 72)
"""(left, top, width, height) of the mouth and chin inside `MEASURED_BOX`, px."""
PHOTOGRAPHED_MOUTH_Y: Final = 186
"""Canvas row about which mouths open, drawn and photographed: lips, teeth and tongue lie around it."""


def mouth_at(box: Box) -> Place:
    """(x, y) inside a box about which mouths open.

    Drawn faces lie in `FACE_BOX`. Another box is there for photographs, whose mouths lie lower.
    """
    row = MOUTH_LINE_Y + 6 if box == FACE_BOX else PHOTOGRAPHED_MOUTH_Y
    return CANVAS_PX / 2 - box[0], row - box[1]


def eyes_at(box: Box) -> tuple[Place, Place]:
    """(x, y) inside a box of each eye with its brow."""
    middle, row = CANVAS_PX / 2 - box[0], EYE_LINE_Y - box[1] - 6
    return (middle - EYE_SPREAD_X, row), (middle + EYE_SPREAD_X, row)


def weight_map(rows: int, columns: int, mouth: float, eyes: float, box: Box = FACE_BOX) -> Tensor:
    """Weights (rows, columns) over a face box: 1 + soft bumps at the mouth and the eyes, mean about 1.5-3.

    Args:
        rows, columns: cells that the box is divided into.
        mouth, eyes: heights of the bumps.
        box: (left, top, width, height) canvas px.
    """
    _, _, width, height = box
    y = (torch.arange(rows) + 0.5)[:, None] * (height / rows)
    x = (torch.arange(columns) + 0.5)[None] * (width / columns)

    def bump(at: tuple[float, float], radius_x: float, radius_y: float) -> Tensor:
        return torch.exp(-0.5 * (((x - at[0]) / radius_x) ** 2 + ((y - at[1]) / radius_y) ** 2))

    reach = (24, 17) if box == FACE_BOX else (26, 20)  # jaws of photographed faces drop further
    weights = 1 + mouth * bump(mouth_at(box), *reach)
    for at in eyes_at(box):
        weights = weights + eyes * bump(at, 15, 13)
    return weights
