"""From a portrait to the frames of a film: the whole picture at the film's size, the face's part of it drawn anew.

In: a portrait, the film's longer side, a colour to lie behind what is transparent. Out: a `Film`: what an engine is
opened with, where the canvas lies in that, and whole frames made of what it draws. The part reaches as far beyond
the canvas as the head's pose moves anything, so its border stands still and there is no seam. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from models.face import CANVAS_PX
from models.framing.placement import Placement, moving_part
from models.framing.similarity import Similarity
from models.presets import Preset
from stream.avatars.portrait import WHITE, Colour, Portrait, composed
from stream.media import UInt8Array

LONGEST_PX: Final = 1920
"""Longer side of a film where none is asked for and the picture is larger."""
LEAST_PX, MOST_PX = 64, 4096
LEAST_BASE_PX: Final = 256
"""Canvases smaller than that are no faces to networks of SD1.5's size."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """Attributes:
    still: (H, W, 3 or 4) uint8, the whole picture at the film's size, both sides even; never written to.
    left, top: of the part that is drawn.
    placement: that part's size, and where the canvas lies in it.
    """

    still: UInt8Array
    left: int
    top: int
    placement: Placement

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self.still.shape[1], self.still.shape[0]

    def picture(self) -> UInt8Array:
        """What an engine is opened with."""
        return np.ascontiguousarray(self.still[self._part()])

    def frame(self, drawn: UInt8Array) -> UInt8Array:
        """A whole frame with the part that an engine drew."""
        if drawn.shape == self.still.shape:
            return drawn
        whole = self.still.copy()
        whole[self._part()] = drawn
        return whole

    def canvas_side(self, preset: Preset) -> int | None:
        """How large a canvas a preset with a choice draws for this film; None for presets without."""
        if preset.layout != "sd15":
            return None
        seen_px = CANVAS_PX / abs(self.placement.similarity.turn)
        return min(preset.canvas_px, max(LEAST_BASE_PX, 64 * round(seen_px / 64)))

    def _part(self) -> tuple[slice, slice]:
        place = self.placement
        return slice(self.top, self.top + place.height), slice(self.left, self.left + place.width)


def film_of(portrait: Portrait, longer_px: int | None, alpha: bool = False, behind: Colour = WHITE) -> Film:
    """The film of a portrait.

    Args:
        portrait: the picture, and where its face lies.
        longer_px: longer side of the film; None takes the picture's own, at most `LONGEST_PX`.
        alpha: keep what is transparent so, where something is.
        behind: what lies behind it otherwise.
    """
    width, height = portrait.size
    scale = (longer_px or min(LONGEST_PX, max(width, height))) / max(width, height)
    alpha = alpha and portrait.pixels.alpha is not None
    still = _scaled(composed(portrait.pixels, WHITE if alpha else behind), scale)
    if alpha:
        assert portrait.pixels.alpha is not None
        still = np.dstack((still, _scaled(portrait.pixels.alpha, scale)))
    still.flags.writeable = False
    turn, shift = portrait.similarity.turn / scale, portrait.similarity.shift
    left, top, wide, high = moving_part(Similarity(turn, shift), still.shape[1], still.shape[0])
    inner = Similarity(turn, shift + turn * complex(left, top))
    return Film(still, left, top, Placement(wide, high, inner, alpha))


def check_longer(longer_px: int | None) -> None:
    """Hold a film's longer side to what is filmed.

    Raises:
        ValueError: it is odd, too small or too large.
    """
    if longer_px is not None and (longer_px % 2 or not LEAST_PX <= longer_px <= MOST_PX):
        raise ValueError(
            f"Expected --size to be an even number from {LEAST_PX} to {MOST_PX} px, got {longer_px}."
        )


def _scaled(image: UInt8Array, scale: float) -> UInt8Array:
    """An image (H, W) or (H, W, 3) scaled alike both ways, to even sides: less than two px of its end may go."""
    height, width = image.shape[:2]
    size = (_even(width * scale), _even(height * scale))
    if scale == 1.0:
        return image[: size[1], : size[0]].copy()
    box = (0.0, 0.0, min(width, size[0] / scale), min(height, size[1] / scale))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, box=box))


def _even(px: float) -> int:
    return max(16, 2 * int(px / 2 + 1e-6))
