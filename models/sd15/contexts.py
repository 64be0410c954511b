"""Context windows of a whole clip: which frames one call of the denoiser sees.

In: the number of frames. Out: lists of frame numbers. The clip is a closed loop: the last windows reach round to
its first frames, and every step all windows move on by two frames, so that no border stays where it is.
"""

from __future__ import annotations

from typing import Final

CONTEXT_FRAMES: Final = 12
CONTEXT_OVERLAP: Final = 3
SHIFT: Final = 2
"""Frames by which the windows move on with each step."""


def context_windows(
    frames: int, step: int = 0, size: int = CONTEXT_FRAMES, overlap: int = CONTEXT_OVERLAP
) -> list[list[int]]:
    """The windows of one step; together they cover every frame.

    Raises:
        ValueError: no frames, or an overlap that leaves no way forward.
    """
    if frames < 1 or not 0 <= overlap < size:
        raise ValueError(
            f"Expected at least 1 frame and 0 <= overlap < size, got {frames} frames, {overlap} and {size}."
        )
    starts = range(0, 1) if frames <= size else range(0, frames, size - overlap)
    return [[(start + i + SHIFT * step) % frames for i in range(min(size, frames))] for start in starts]
