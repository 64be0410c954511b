"""Is it a voice? Tells voiced speech from breath, keys, knocks and hiss, so that only a voice moves the mouth.

In: a window of 16 kHz sound. Out: the same window with what is no voice eased to silence. NumPy only, no state:
every frame's gain depends on the sound from `REACH_FRAMES` before it to `AHEAD_FRAMES` behind it, all of which
lies in the window at hand, so any chunking of a stream gives the same gains.

A frame is voiced where the band of the first formants repeats itself with a voice's pitch, for 60 ms at least. A
click rings shorter, breath and hiss do not repeat, a knock lies below the band. What is unvoiced in speech stands
beside what is voiced: the gain opens `AHEAD_FRAMES` before a voiced frame, for the bursts and hisses of its
onset, and holds for `HOLD_FRAMES` after it, for those of its end; then it closes over `FADE_FRAMES`. A whisper
has no pitch and counts as breath.

Source: the normalised cross-correlation of Talkin, "A robust algorithm for pitch tracking" (1995), section 2.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.face import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

FloatArray = npt.NDArray[np.float32]

AHEAD_FRAMES: Final = 2
HOLD_FRAMES: Final = 7
FADE_FRAMES: Final = 2
REACH_FRAMES: Final = HOLD_FRAMES + FADE_FRAMES

PERIODIC: Final = 0.5
"""Correlation with itself, a pitch period later, from which on sound counts as voiced."""
FLOOR_DBFS: Final = -62.0
"""Level of the band below which nothing counts as a voice."""
_PITCH_HZ: Final = (70.0, 420.0)
_BAND_HZ: Final = (150.0, 3000.0)
_DECIMATE: Final = 2
_STEP: Final = SAMPLES_PER_FRAME // 2  # 20 ms: two looks a frame
_LOOK: Final = SAMPLES_PER_FRAME  # 40 ms: two periods and more of the lowest pitch


def voice_gains(audio: FloatArray) -> FloatArray:
    """Gain 0..1 of each frame of sound (n * 640,): 1 in and around a voice.

    Frames whose reach goes beyond the sound's ends take what lies there for no voice.

    Returns:
        (n,) float32.

    Raises:
        ValueError: the sound is no whole number of frames.
    """
    if audio.ndim != 1 or audio.shape[0] % SAMPLES_PER_FRAME or not audio.shape[0]:
        raise ValueError(
            f"Expected mono audio of a multiple of {SAMPLES_PER_FRAME} samples, got shape {audio.shape}."
        )
    voiced = voiced_frames(audio)
    weights = [1.0] * (AHEAD_FRAMES + HOLD_FRAMES + 1)
    weights += [1.0 - (n + 1) / (FADE_FRAMES + 1) for n in range(FADE_FRAMES)]
    gains = np.zeros(voiced.shape[0], np.float32)
    for shift, weight in enumerate(weights, start=-AHEAD_FRAMES):
        moved = np.zeros_like(voiced)
        if shift < 0:
            moved[:shift] = voiced[-shift:]
        else:
            moved[shift:] = voiced[: voiced.shape[0] - shift]
        gains = np.maximum(gains, np.float32(weight) * moved)
    return gains


def voice_only(audio: FloatArray) -> FloatArray:
    """Sound (n * 640,) with everything but voices eased to silence; gains move on from frame to frame in lines.

    Raises:
        ValueError: the sound is no whole number of frames.
    """
    gains = voice_gains(audio)
    if gains.min() == 1.0:
        return audio
    before = np.concatenate((gains[:1], gains[:-1]))
    ramp = np.linspace(0.0, 1.0, SAMPLES_PER_FRAME, dtype=np.float32)
    each = before[:, None] + (gains - before)[:, None] * ramp
    return np.asarray(audio * each.reshape(-1), np.float32)


def voiced_frames(audio: FloatArray) -> npt.NDArray[np.bool_]:
    """Which frames (n,) of sound (n * 640,) hold 60 ms of something with a voice's pitch."""
    looks = _looks(audio)
    periodic = periodicity(looks) > PERIODIC
    # A look k covers [k, k + 2) half frames; frame n owns the looks that end in it: 2n - 1 and 2n.
    pairs = periodic[:-1] & periodic[1:]
    ends = np.concatenate(([False], pairs))  # pair k says that looks k - 1 and k are both periodic
    return np.asarray(ends[0::2] | ends[1::2])


def periodicity(looks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Highest normalised cross-correlation of each look (k, m) with itself a pitch period later; 0 where too quiet.

    Returns:
        (k,) in 0..1.
    """
    rate_hz = SAMPLE_RATE_HZ / _DECIMATE
    shortest, longest = (round(rate_hz / pitch) for pitch in (_PITCH_HZ[1], _PITCH_HZ[0]))
    length = looks.shape[1] - longest  # samples compared
    size = looks.shape[1]  # no lag wraps: the head and the longest lag fill it
    spectrum = np.fft.rfft(looks, size)
    head = np.fft.rfft(looks[:, :length], size)
    products = np.fft.irfft(spectrum * np.conj(head), size)[:, shortest : longest + 1]
    energy = np.concatenate((np.zeros((len(looks), 1)), np.cumsum(looks**2, axis=1)), axis=1)
    lags = np.arange(shortest, longest + 1)
    later = energy[:, lags + length] - energy[:, lags]
    first = energy[:, length : length + 1]
    quiet = energy[:, -1] / looks.shape[1] < 10 ** (FLOOR_DBFS / 10)
    # By the louder of the two, where Talkin takes their mean: a ringing click repeats itself too, but fades.
    best = (products / np.maximum(np.maximum(first, later), 1e-18)).max(axis=1)
    return np.where(quiet, 0.0, best.clip(0.0, 1.0))


def _looks(audio: FloatArray) -> npt.NDArray[np.float64]:
    """The band of the first formants at half the rate, in overlapping looks (2 n, 320).

    Each look is filtered by itself, so that what it shows depends on its own samples alone.
    """
    padded = np.concatenate((np.zeros(_STEP), audio.astype(np.float64)))
    looks = np.lib.stride_tricks.sliding_window_view(padded, _LOOK)[::_STEP]
    kept = _LOOK // _DECIMATE // 2 + 1  # frequencies up to a quarter of the rate: half of them
    frequency_hz = np.arange(kept) * (SAMPLE_RATE_HZ / _LOOK)
    low, high = _BAND_HZ
    rise = 1.0 / (1.0 + (low / np.maximum(frequency_hz, 1.0)) ** 8)
    fall = 1.0 / (1.0 + (frequency_hz / high) ** 8)
    spectrum = np.fft.rfft(looks, axis=1)[:, :kept] * (rise * fall)
    return np.fft.irfft(spectrum, _LOOK // _DECIMATE, axis=1) / _DECIMATE
