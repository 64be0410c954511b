"""How large the pictures are that a preset's stream takes and gives: its own size, or the one asked for.

In: a preset and a side in pixels, or none. Out: a side, or one sentence that says which there are. No torch here: a
wrong size is told before anything heavy.
"""

from __future__ import annotations

from typing import Final

from models.face import LEAST_PX, MOST_PX, SERVED_PX
from models.presets import Preset

STEP_PX: Final = 2
"""Video in 4:2:0 has one colour for two pixels each way."""


def served_side(preset: Preset, size: int | None = None) -> int:
    """The side of a preset's pictures as it is served: what is asked for, or the preset's own.

    Raises:
        ValueError: the preset draws at no such size.
    """
    if preset.layout == "sd15":
        return preset.canvas_px if size is None else preset.resized(size).canvas_px
    if not preset.moves:
        if size not in (None, preset.canvas_px):
            raise ValueError(
                f"Expected --size {preset.canvas_px} or none: the networks of preset '{preset.name}' are tied to "
                f"{preset.canvas_px} px; got {size}."
            )
        return preset.canvas_px
    return SERVED_PX if size is None else checked_side(size)


def checked_side(size: int) -> int:
    """A side that pictures may have.

    Raises:
        ValueError: it is odd, too small or too large.
    """
    if size % STEP_PX or not LEAST_PX <= size <= MOST_PX:
        raise ValueError(f"Expected --size to be an even number from {LEAST_PX} to {MOST_PX} px, got {size}.")
    return size
