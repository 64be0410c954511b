"""What `fada eval` measures, as pure functions on tracks, frames and features.

In: tracks at 25 fps, frames (T, H, W, 3) uint8, features (N, F). Out: plain numbers. Nothing here knows a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.face import FPS, SAMPLES_PER_FRAME

Floats = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

QUIET_DB: Final = -32.0
"""A frame of this loudness or less, below the loud syllables, is part of a pause."""


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


def quiet_frames(true_opening: Floats, margin: int = 3) -> Bools:
    """Frames whose mouth is truly shut, ``margin`` frames away from any opening."""
    moving = true_opening > 1e-3
    spread = np.convolve(moving.astype(np.float64), np.ones(2 * margin + 1), mode="same") > 0
    return ~spread


def speech_envelope(audio: Floats, frames: int, floor_db: float = -40.0) -> Floats:
    """Loudness (frames,) in dB re the sound's loud syllables, cut off at ``floor_db``.

    Root mean square of 20 ms pieces; two make a frame of 25 fps; Gaussian smoothing of one frame's deviation;
    0 dB is the 95th percentile. Mouths follow loudness in dB more closely than amplitude.

    Args:
        audio: (N,) at 16 kHz; what is missing of ``frames`` * 640 samples counts as silence.
        frames: how many frames of 25 fps.
        floor_db: lowest value.
    """
    needed = frames * SAMPLES_PER_FRAME
    padded = np.pad(audio[:needed], (0, max(0, needed - audio.shape[0])))
    power = (padded.reshape(frames * 2, -1) ** 2).mean(1).reshape(frames, 2).mean(1)
    taps = np.exp(-0.5 * np.arange(-3, 4) ** 2.0)
    power = np.convolve(np.pad(power, 3, mode="edge"), taps / taps.sum(), mode="valid")
    top = max(float(np.percentile(power, 95)), 1e-9)
    return np.asarray(10 * np.log10(np.maximum(power / top, 10 ** (floor_db / 10))))


def pause_frames(
    envelope_db: Floats, quiet_db: float = QUIET_DB, settle: int = 4, ahead: int = 2, shortest: int = 6
) -> Bools:
    """Frames in pauses: ``shortest`` quiet frames or more in a row, less ``settle`` after the sound's end, in
    which lips still close, and ``ahead`` before the next sound, in which they already open."""
    quiet = envelope_db <= quiet_db
    out = np.zeros(quiet.shape, bool)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= shortest:
            first = begin + (settle if begin > 0 else 0)
            last = end - (ahead if end < quiet.shape[0] else 0)
            out[first:last] = True
    return out


def border_ratio(frames: UInt8, hop: int) -> float:
    """Mean absolute change across window borders over that within windows; frames (T, H, W, 3) from frame 0."""
    change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    border = (np.arange(1, len(frames)) % hop) == 0
    return float(change[border].mean() / max(change[~border].mean(), 1e-9))


def sharpness(frames: UInt8) -> float:
    """Mean squared second difference of luma (T, H, W, 3): drops when a picture is blurred."""
    luma = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    across = np.diff(luma, n=2, axis=2)
    down = np.diff(luma, n=2, axis=1)
    return float((across**2).mean(dtype=np.float64) + (down**2).mean(dtype=np.float64))


def psnr(made: UInt8, true: UInt8, where: Bools) -> float:
    """Peak signal-to-noise ratio in dB of frames (T, H, W, 3) over the pixels ``where`` (H, W); at most 99."""
    error = made[:, where].astype(np.float32) - true[:, where].astype(np.float32)
    mean = float((error**2).mean(dtype=np.float64))
    return min(99.0, 10 * float(np.log10(255.0**2 / max(mean, 1e-12))))


def jitter(frames: UInt8, where: Bools) -> float:
    """Mean absolute second difference in time, in levels of 255, over the pixels ``where`` (H, W)."""
    inside = frames[:, where].astype(np.int16)
    return float(np.abs(inside[2:] - 2 * inside[1:-1] + inside[:-2]).mean(dtype=np.float64))


def count_blinks(blink: Floats, high: float = 0.5, low: float = 0.25) -> int:
    """Blinks of a lid track (T,): rises past ``high`` after having been below ``low``."""
    count, armed = 0, True
    for value in blink:
        if armed and value > high:
            count, armed = count + 1, False
        elif value < low:
            armed = True
    return count


def frechet_distance(a: Floats, b: Floats) -> float:
    """Fréchet distance of two feature clouds (N, F), (M, F) taken as Gaussians.

    Covariances are shrunk towards their diagonal by F / (F + N): with few samples the off-diagonal part is
    mostly chance. Distances of clouds of the same size compare.

    Source: Dowson and Landau 1982, equation 4; used on features by Heusel et al. 2017.
    """
    return gaussian_frechet(a.mean(0), _covariance(a), b.mean(0), _covariance(b))


def _covariance(cloud: Floats) -> Floats:
    count, width = cloud.shape
    if count < 2:
        raise ValueError(f"Expected at least 2 feature vectors for a covariance, got {count}.")
    plain = np.atleast_2d(np.cov(cloud, rowvar=False))
    share = width / (width + count)
    return np.asarray((1 - share) * plain + share * np.diag(np.diag(plain)))


def gaussian_frechet(mean_a: Floats, cov_a: Floats, mean_b: Floats, cov_b: Floats) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) of two Gaussians with covariances A and B, float64."""
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return max(0.0, float(distance))


def spectrum(track: Floats) -> tuple[Floats, Floats]:
    """(frequencies in Hz, power) of a track (T,) at 25 fps, its mean taken off, under a Hann window."""
    power = np.abs(np.fft.rfft((track - track.mean()) * np.hanning(track.shape[0]))) ** 2
    return np.asarray(np.fft.rfftfreq(track.shape[0], 1 / FPS)), np.asarray(power, np.float64)


def spectral_centroid_hz(track: Floats) -> float:
    """Mean frequency of a track (T,) at 25 fps, weighted by power; 0 for a constant one."""
    frequency, power = spectrum(track)
    return float((frequency * power).sum() / power.sum()) if power.sum() > 1e-12 else 0.0


def spectral_peak_hz(track: Floats) -> float:
    """Frequency with the most power of a track (T,) at 25 fps."""
    frequency, power = spectrum(track)
    return float(frequency[int(power.argmax())])
