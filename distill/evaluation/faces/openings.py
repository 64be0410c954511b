"""How far a mouth opens, told without any network: by the jaw's way and by how much the mouth changes.

In: frames (T, S, S, 3) of a still head and its framed picture. Out: tracks (T,). Nothing here was trained on
anything, so agreement with the probe is evidence for both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from distill.evaluation.measures import Bools, Floats, UInt8
from models.face import CANVAS_PX

PATCH: Final = (100, 198, 56, 26)
"""(left, top, width, height) in canvas px of what is followed: the lower lip's foot and the chin."""
UP_PX, DOWN_PX = 4, 22
"""How far the patch is looked for above and below its place, canvas px."""
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


def jaw_drop(frames: UInt8, framed: UInt8) -> Floats:
    """How far the chin lies below its place in the picture, (T,) canvas px, between pixels by a parabola.

    The patch of the framed picture (S, S, 3) is looked for straight above and below in each frame by normalised
    correlation. A chin without any texture cannot be followed: then the track is noise.
    """
    left, top, width, height = PATCH
    wanted = _standard(_small_luma(framed)[top : top + height, left : left + width][None])
    scores = np.empty((len(frames), UP_PX + DOWN_PX + 1))
    for number, frame in enumerate(frames):
        column = _small_luma(frame)[:, left : left + width]
        starts = np.arange(top - UP_PX, top + DOWN_PX + 1)
        patches = np.stack([column[start : start + height] for start in starts])
        scores[number] = (_standard(patches) * wanted).mean((1, 2))
    return _peaks(scores) - UP_PX


def _small_luma(frame: UInt8) -> npt.NDArray[np.float32]:
    if frame.shape[0] != CANVAS_PX:
        frame = np.asarray(Image.fromarray(frame).resize((CANVAS_PX, CANVAS_PX), Image.Resampling.BOX))
    return np.asarray(frame.astype(np.float32) @ LUMA)


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


def change_in(frames: UInt8, framed: UInt8, where: Bools) -> Floats:
    """Mean absolute difference from the framed picture (S, S, 3) over ``where``, (T,) in levels of 255."""
    still = framed[where].astype(np.int16)
    return np.array(
        [np.abs(frame[where].astype(np.int16) - still).mean(dtype=np.float64) for frame in frames]
    )
