"""Reference pictures: any picture to a preset's square canvas.

In: pixels (H, W, 3) uint8. Out: (side, side, 3) uint8.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image


def fit_canvas(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Cut the middle square and scale it to (side, side, 3) with an antialiasing filter.

    Raises:
        ValueError: not (H, W, 3) uint8, or smaller than 16 px on a side.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"Expected a picture (H, W, 3) of uint8, got {image.shape} of {image.dtype}.")
    height, width = image.shape[:2]
    if min(height, width) < 16:
        raise ValueError(f"The picture is only {width}x{height} px; give one of at least 16x16.")
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = image[top : top + edge, left : left + edge]
    if edge == side:
        return np.ascontiguousarray(square)
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS))
