"""Where the canvas lies in the frames that leave: as large as they are, or a part of a larger picture.

In: a similarity and a size. Out: a `Placement`, and the part of a picture that moves with the face. Any thread; no
torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.face import CANVAS_PX, REACH_PX
from models.framing.similarity import Similarity


@dataclass(frozen=True, slots=True)
class Placement:
    """Frames of one size, and where the canvas lies in them.

    Attributes:
        width, height: of the frames, px.
        similarity: from a frame to the canvas of `models.face`.
        alpha: pictures and frames say how much of each pixel is there.
    """

    width: int
    height: int
    similarity: Similarity
    alpha: bool = False

    def __post_init__(self) -> None:
        if self.width < 16 or self.height < 16:
            raise ValueError(f"Expected frames of at least 16x16 pixels, got {self.width}x{self.height}.")

    @classmethod
    def canvas(cls, side: int) -> Placement:
        """Frames that are the canvas, at another size."""
        return cls(side, side, Similarity(CANVAS_PX / side + 0j, 0j))

    @property
    def is_canvas(self) -> bool:
        """Whether the frames are the canvas and nothing else."""
        return not self.alpha and self == Placement.canvas(self.width)

    @property
    def channels(self) -> int:
        """Bytes a pixel, of pictures and frames."""
        return 4 if self.alpha else 3


def moving_part(similarity: Similarity, width: int, height: int) -> tuple[int, int, int, int]:
    """What of a picture moves with the face: the canvas and what is near it.

    Args:
        similarity: from the picture to the canvas.
        width, height: of the picture, px.

    Returns:
        (left, top, width, height) inside of the picture, on even pixels, at least 16 each way where it is so large.
    """
    first, last = -REACH_PX, CANVAS_PX + REACH_PX
    corners = np.array([first * (1 + 1j), last + 1j * first, first + 1j * last, last * (1 + 1j)])
    seen = similarity.to_picture(corners)
    left, part_width = _between(seen.real.min(), seen.real.max(), width)
    top, part_height = _between(seen.imag.min(), seen.imag.max(), height)
    return left, top, part_width, part_height


def _between(first: float, last: float, size: int) -> tuple[int, int]:
    begin = min(max(2 * math.floor(first / 2), 0), max(0, size - 16) // 2 * 2)
    end = min(max(2 * math.ceil(last / 2), begin + 16), size)
    return begin, end - begin
