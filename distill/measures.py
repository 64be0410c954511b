"""What `fada eval` measures, as pure functions on tracks and frames.

In: tracks at 25 fps and frames. Out: plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def pearson(a: Floats, b: Floats) -> float:
    """Pearson correlation of two tracks (T,); 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 1e-9 else 0.0


def best_lag(measured: Sequence[Floats], true: Sequence[Floats], reach: int = 6) -> tuple[int, float]:
    """(lag, r) with the highest mean correlation over clips; a positive lag means a late picture, in frames."""
    best = (0, -1.0)
    for lag in sorted(range(-reach, reach + 1), key=abs):
        scores = [
            pearson(m[max(lag, 0) : len(m) + min(lag, 0)], t[max(-lag, 0) : len(t) - max(lag, 0)])
            for m, t in zip(measured, true, strict=True)
        ]
        mean = float(np.mean(scores))
        if mean > best[1] + 1e-9:
            best = (lag, mean)
    return best


def quiet_frames(true_opening: Floats, margin: int = 3) -> npt.NDArray[np.bool_]:
    """Frames whose mouth is truly shut, ``margin`` frames away from any opening."""
    moving = true_opening > 1e-3
    spread = np.convolve(moving.astype(np.float64), np.ones(2 * margin + 1), mode="same") > 0
    return ~spread


def border_ratio(frames: npt.NDArray[np.uint8], hop: int) -> float:
    """Mean absolute change across window borders over that within windows; frames (T, H, W, 3) from frame 0."""
    change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    border = (np.arange(1, len(frames)) % hop) == 0
    return float(change[border].mean() / max(change[~border].mean(), 1e-9))


def sharpness(frames: npt.NDArray[np.uint8]) -> float:
    """Mean squared second difference of luma (T, H, W, 3): drops when a picture is blurred."""
    luma = frames.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    across = np.diff(luma, n=2, axis=2)
    down = np.diff(luma, n=2, axis=1)
    return float((across**2).mean() + (down**2).mean())
