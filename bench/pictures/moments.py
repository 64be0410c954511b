"""Which of many pictures of a speaking face is a good still.

In: pictures of one size and where the face's parts are in them. Out: one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

LIVELY = 0.75

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FaceBoxes:
    """Left, top, right and bottom of a face's parts, in widths of the picture."""

    eyes: Box
    mouth: Box


def liveliest(pictures: Sequence[Image.Image], boxes: FaceBoxes) -> Image.Image:
    """A picture with open eyes, and a mouth well on its way without being the widest of all.

    Args:
        pictures: at least one. Eyes are open in most of them, so a blink is what differs from the usual.
        boxes: where the face is.
    """
    blinking, speaking = (_unlike_the_usual(pictures, box) for box in (boxes.eyes, boxes.mouth))
    awake = np.flatnonzero(blinking <= np.median(blinking))
    by_mouth = awake[np.argsort(speaking[awake])]
    return pictures[int(by_mouth[round((len(by_mouth) - 1) * LIVELY)])]


def _unlike_the_usual(pictures: Sequence[Image.Image], box: Box) -> npt.NDArray[np.float32]:
    parts = np.stack([_luma(picture, box) for picture in pictures])
    differences: npt.NDArray[np.float32] = np.abs(parts - np.median(parts, axis=0)).mean(axis=(1, 2))
    return differences


def _luma(picture: Image.Image, box: Box) -> npt.NDArray[np.float32]:
    left, top, right, bottom = (round(share * picture.width) for share in box)
    return np.asarray(picture.crop((left, top, right, bottom)).convert("L"), dtype=np.float32)
