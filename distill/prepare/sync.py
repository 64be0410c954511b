"""Lip-sync of a recording: does the mouth move with the sound, and how much later or earlier?

In: pictures of the mouth and the sound at 25 fps. Out: the correlation of the two at each lag. Nothing is trained:
the mouth is a few principal components of its pictures, the sound its loudness in five bands, and their first
canonical correlation says how well one is predicted by the other. Chance is what lags of seconds reach.

Source: Hotelling 1936, canonical correlation; the search over lags follows Chung and Zisserman's SyncNet (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from distill.data.regions import MEASURED_BOX, MOUTH_BOX
from distill.prepare.media import UInt8
from distill.prepare.quality import LUMA
from models.face import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

Floats = npt.NDArray[np.float64]

COMPONENTS = 5
BANDS_HZ = (80, 400, 900, 2000, 3600, 7600)
REACH = 15
"""Lags of up to 0.6 s either way are told apart."""
RIDGE = 0.05
NATURAL_LAG = 0.0
"""Where the peak lies for sound that fits, in frames; measured on the drawn corpus, whose sync is exact."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What was found.

    Attributes:
        lag_frames: how much later the sound is than the picture (negative: earlier).
        above_chance: correlation at that lag less the mean at lags of 1.2 s and more.
        spread: deviation of the correlation at those far lags.
        curve: correlation at lags -REACH..REACH.
    """

    lag_frames: float
    above_chance: float
    spread: float
    curve: tuple[float, ...]

    @property
    def found(self) -> bool:
        """Whether the peak stands out enough to name a lag."""
        return self.above_chance > max(3 * self.spread, 0.12)


def mouth_picture(canvas: UInt8) -> npt.NDArray[np.float32]:
    """The mouth's region of a canvas, small and grey: (18, 24), 0..1."""
    left, top = MEASURED_BOX[0] + MOUTH_BOX[0], MEASURED_BOX[1] + MOUTH_BOX[1]
    box = canvas[top : top + MOUTH_BOX[3], left : left + MOUTH_BOX[2]].astype(np.float32)
    cells = box.reshape(18, MOUTH_BOX[3] // 18, 24, MOUTH_BOX[2] // 24, 3).mean((1, 3))
    return np.asarray(cells @ (LUMA / 255).astype(np.float32), np.float32)


def mouth_tracks(pictures: Sequence[npt.NDArray[np.float32]]) -> list[Floats]:
    """Principal components of several clips' mouth pictures (T, 18, 24), one basis for all: (T, 5) each."""
    centred = [(p - p.mean(0)).reshape(len(p), -1).astype(np.float64) for p in pictures]
    _, _, basis = np.linalg.svd(
        np.concatenate(centred)[:: max(1, sum(map(len, centred)) // 3000)], full_matrices=False
    )
    return [p @ basis[:COMPONENTS].T for p in centred]


def sound_tracks(audio: npt.NDArray[np.float32], frames: int) -> Floats:
    """Loudness in bands (frames, bands), in log power above a floor of the clip's own, smoothed over 3 frames."""
    padded = np.zeros(frames * SAMPLES_PER_FRAME, np.float64)
    padded[: min(len(audio), len(padded))] = audio[: len(padded)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(padded, 320), 1280)[::SAMPLES_PER_FRAME][
        :frames
    ]
    power = np.abs(np.fft.rfft(windows * np.hanning(1280), axis=1)) ** 2
    hz = np.fft.rfftfreq(1280, 1 / SAMPLE_RATE_HZ)
    edges = pairwise(BANDS_HZ)
    bands = np.stack([power[:, (hz >= low) & (hz < high)].sum(1) for low, high in edges], 1)
    floor = np.percentile(bands, 95, axis=0) * 1e-4 + 1e-9
    return np.log(bands + floor)


def measure_sync(mouths: Sequence[Floats], sounds: Sequence[Floats]) -> Sync | None:
    """Find the lag of clips of one recording, (T, m) and (T, s) each; None when there is too little to see."""
    longest = max((len(m) for m in mouths), default=0)
    if longest < 2 * REACH + 30:
        return None
    near = np.array([correlation_at(mouths, sounds, lag) for lag in range(-REACH, REACH + 1)])
    far_lags = [lag for lag in range(30, min(longest - 25, 90), 4) for lag in (lag, -lag)]
    far = np.array([correlation_at(mouths, sounds, lag) for lag in far_lags] or [0.0])
    peak = int(near.argmax())
    shift = 0.0
    if 0 < peak < len(near) - 1:
        a, b, c = near[peak - 1 : peak + 2]
        shift = 0.5 * (a - c) / min(a - 2 * b + c, -1e-9)
    lag = peak - REACH + shift - NATURAL_LAG
    return Sync(float(lag), float(near[peak] - far.mean()), float(far.std()), tuple(near.round(4).tolist()))


def correlation_at(mouths: Sequence[Floats], sounds: Sequence[Floats], lag: int) -> float:
    """First canonical correlation of mouth at t with sound at t + lag, over all clips together."""
    pairs = []
    for mouth, sound in zip(mouths, sounds, strict=True):
        count = len(mouth) - abs(lag)
        if count > 20:
            m, s = mouth[max(-lag, 0) :][:count], sound[max(lag, 0) :][:count]
            pairs.append((m - m.mean(0), s - s.mean(0)))
    if not pairs:
        return 0.0
    m, s = np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])
    mixed = _whitener(m) @ (m.T @ s / len(m)) @ _whitener(s)
    return float(np.linalg.svd(mixed, compute_uv=False)[0])


def _whitener(x: Floats) -> Floats:
    """Inverse square root of a covariance (n, n), with a ridge."""
    cov = x.T @ x / len(x)
    values, vectors = np.linalg.eigh(cov + np.eye(len(cov)) * (RIDGE * np.trace(cov) / len(cov) + 1e-12))
    return np.asarray(vectors @ np.diag(values**-0.5) @ vectors.T)
