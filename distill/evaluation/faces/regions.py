"""Where a face is looked at: mouth, eyes and the rest of it, on a framed canvas of any side.

In: a side in pixels. Out: masks (S, S). Places are those of photographed faces (`models.face`, with the mouth
where `models.framing` finds it on photographs); the mouth's region holds a jaw that drops, the eyes' the brows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from distill.evaluation.measures import Bools
from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X

OUT_PX: Final = 512
"""Side at which faces are measured and shown."""
MOUTH: Final = (CANVAS_PX / 2, 190.0, 52.0, 46.0)
"""Middle x, middle y, radius across, radius down of mouth and jaw, canvas px."""
EYES: Final = tuple((CANVAS_PX / 2 + side * EYE_SPREAD_X, EYE_LINE_Y - 4.0, 30.0, 28.0) for side in (-1, 1))


@dataclass(frozen=True, slots=True)
class Regions:
    """Masks (S, S) of one face box.

    Attributes:
        mouth, eyes: each alone.
        rest: the face box without both.
        around: the whole canvas without both.
    """

    mouth: Bools
    eyes: Bools
    rest: Bools
    around: Bools


def regions_of(box: tuple[int, int, int, int], side: int = OUT_PX) -> Regions:
    """The regions on a canvas of that side; ``box`` (left, top, width, height) in canvas px."""
    mouth = _ellipse(MOUTH, side)
    eyes = _ellipse(EYES[0], side) | _ellipse(EYES[1], side)
    inside = np.zeros((side, side), bool)
    left, top, width, height = (round(edge * side / CANVAS_PX) for edge in box)
    inside[top : top + height, left : left + width] = True
    spared = ~(mouth | eyes)
    return Regions(mouth, eyes & ~mouth, inside & spared, spared)


def _ellipse(shape: tuple[float, float, float, float], side: int) -> Bools:
    x0, y0, across, down = (value * side / CANVAS_PX for value in shape)
    line = np.arange(side) + 0.5
    return np.asarray(((line[None] - x0) / across) ** 2 + ((line[:, None] - y0) / down) ** 2 <= 1)
