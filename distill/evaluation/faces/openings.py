"""How far a mouth opens, told without any network, by the jaw's way.

In: canvases (T, 256, 256, 3) of a still head and its framed picture. Out: tracks (T,). Nothing here was trained on
anything, so agreement with the probe is evidence for both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from distill.evaluation.measures import Floats, UInt8
from models.face import CANVAS_PX

PATCH: Final = (100, 198, 56, 26)
"""(left, top, width, height) in canvas px of what is followed: the lower lip's foot and the chin."""
UP_PX, DOWN_PX = 4, 22
"""How far the patch is looked for above and below its place, canvas px."""
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


def jaw_drop(canvases: UInt8, framed: UInt8) -> Floats:
    """How far the chin lies below its place in the picture, (T,) canvas px, between pixels by a parabola.

    The patch of the framed picture is looked for straight above and below in each frame by normalised correlation.
    A chin without any texture cannot be followed: then the track is noise.

    Args:
        canvases: (T, 256, 256, 3). framed: (256, 256, 3).
    """
    left, top, width, height = PATCH
    wanted = _standard((framed[top : top + height, left : left + width] @ LUMA)[None])
    first, last = top - UP_PX, top + DOWN_PX
    scores = np.empty((len(canvases), last - first + 1))
    for number, canvas in enumerate(canvases):
        column = canvas[first : last + height, left : left + width] @ LUMA
        patches = np.stack([column[start : start + height] for start in range(last - first + 1)])
        scores[number] = (_standard(patches) * wanted).mean((1, 2))
    return _peaks(scores) - UP_PX


def on_canvas(frame: UInt8) -> UInt8:
    """A square frame (S, S, 3), S a multiple of 256, at the canvas' size: means of squares."""
    times = frame.shape[0] // CANVAS_PX
    if times == 1:
        return frame
    side = frame.shape[0] // times
    total = frame.reshape(side, times, side, times, 3).sum((1, 3), dtype=np.uint16)
    return np.asarray((total + times * times // 2) // (times * times), np.uint8)


def _standard(patches: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Patches (N, h, w) with mean 0 and deviation 1 each."""
    centred = patches - patches.mean((1, 2), keepdims=True)
    return np.asarray(centred / np.maximum(centred.std((1, 2), keepdims=True), 1e-3))


def _peaks(scores: Floats) -> Floats:
    """Place of each row's highest score (T, K), between the entries by the parabola through three of them."""
    at = scores.argmax(1)
    inner = at.clip(1, scores.shape[1] - 2)
    rows = np.arange(len(scores))
    before, here, after = (scores[rows, inner + step] for step in (-1, 0, 1))
    bend = np.maximum(2 * here - before - after, 1e-9)
    shift = np.clip(0.5 * (after - before) / bend, -0.5, 0.5)
    return np.asarray(np.where(at == inner, inner + shift, at), np.float64)
