"""A portrait: the user's picture, whole, and where its face lies on the canvas.

In: pixels and a similarity. Out: canvases of any side and the way back. This is the one place that hands out a
framed canvas; engines and networks only check its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.framing.similarity import Complexes, Similarity, cut, middle_square, put_back
from stream.avatars.picture_files import Pixels
from stream.media import UInt8Array

MIN_SQUARE = 16
STRIP_ROWS = 256
Colour = tuple[int, int, int]
WHITE: Final[Colour] = (255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A framed picture.

    Attributes:
        pixels: the whole picture at its own resolution, RGB with transparency beside it; never written to.
        similarity: from the picture to the canvas of `models.face`.
        notes: what a person should know of how it was framed, a sentence each.
        marks: (3,) the left eye, the right eye and the mouth as they were found or set, px of `pixels`; None where
            the picture is laid out as the canvas.
    """

    pixels: Pixels
    similarity: Similarity
    notes: tuple[str, ...] = ()
    marks: Complexes | None = None

    @classmethod
    def laid_out(cls, pixels: Pixels) -> Portrait:
        """A picture that is laid out as the canvas already, as the house's drawn faces are: its middle square.

        Raises:
            ValueError: the square is smaller than 16 px.
        """
        height, width = pixels.rgb.shape[:2]
        if min(height, width) < MIN_SQUARE:
            raise ValueError(f"it is only {width}x{height} pixels, at least {MIN_SQUARE} each way are needed")
        return cls(pixels, middle_square(width, height))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture."""
        height, width = self.pixels.rgb.shape[:2]
        return width, height

    def canvas(self, side: int) -> UInt8Array:
        """The canvas (side, side, 3) uint8 RGB; what is transparent lies on white."""
        return _read_only(cut(composed(self.pixels, WHITE), self.similarity, side))

    def matte(self, side: int) -> UInt8Array:
        """How much of each pixel of the canvas is there, (side, side) uint8."""
        if self.pixels.alpha is None:
            return _read_only(np.full((side, side), 255, np.uint8))
        return _read_only(cut(self.pixels.alpha, self.similarity, side))

    def put_back(self, canvas: UInt8Array) -> UInt8Array:
        """The whole picture (H, W, 3) with its canvas (side, side, 3) drawn anew."""
        return put_back(composed(self.pixels, WHITE), canvas, self.similarity)


def composed(pixels: Pixels, behind: Colour) -> UInt8Array:
    """A picture (H, W, 3) with a colour behind what is transparent; the picture's own pixels where nothing is."""
    if pixels.alpha is None:
        return pixels.rgb
    out, colour = np.empty_like(pixels.rgb), np.array(behind, np.uint16)
    for top in range(0, len(out), STRIP_ROWS):  # in strips: 16 bits for a whole large picture are much memory
        strip = slice(top, top + STRIP_ROWS)
        share = pixels.alpha[strip, :, None].astype(np.uint16)
        out[strip] = (pixels.rgb[strip] * share + colour * (255 - share) + 127) // 255
    return out


def _read_only(image: UInt8Array) -> UInt8Array:
    out = np.ascontiguousarray(image)
    if out.flags.writeable:
        out.flags.writeable = False
    return out
