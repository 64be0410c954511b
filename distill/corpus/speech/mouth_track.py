"""Phones and loudness in, the mouth's six dimensions at 25 frames a second out.

Every phone's viseme pulls the mouth towards its target with a dominance that falls off around the phone's
core (earlier than later: lips prepare), all pulls are averaged, smoothed (jaw and lips have mass), and then
the constraints that eyes notice are put back: p b m close, f v tuck, silence rests. The track is made at
100 Hz; a video frame is the mean of its four samples. Pure functions of NumPy arrays, any thread.

Source: Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993), equations 1-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from distill.corpus.speech.phones import PAUSE, Viseme, visemes_of
from models.face import FPS, SAMPLE_RATE_HZ

TRACK_HZ: Final = 100
_PER_FRAME: Final = TRACK_HZ // FPS

# Fall-off times of dominance before and after a phone's core, seconds, per MOUTH_DIMS.
_BEFORE_S: Final = np.array([0.045, 0.07, 0.08, 0.045, 0.035, 0.035])
_AFTER_S: Final = np.array([0.04, 0.055, 0.06, 0.045, 0.035, 0.035])
_SMOOTH_S: Final = np.array([0.018, 0.026, 0.026, 0.02, 0.016, 0.014])

_CLOSURE_MIN_S: Final = 0.074
_CLOSURE_RAMP_S: Final = 0.05
_ONSET_LEAD_S: Final = 0.1
_REST_AFTER_S: Final = 0.18
_SHORT_PAUSE_S: Final = 0.12

FloatArray = npt.NDArray[np.float32]
Array64 = npt.NDArray[np.float64]
Phone = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class _Segment:
    """One viseme in time, seconds."""

    viseme: Viseme
    start_s: float
    end_s: float


def mouth_track(
    phones: Sequence[tuple[str, str, float, float]], audio: FloatArray, frames: int
) -> FloatArray:
    """Return the mouth (frames, 6) float32; row n is the mean over [n/25, (n+1)/25) seconds.

    Args:
        phones: (symbol, engine, start_s, end_s) in time order, not overlapping; gaps are silence.
        audio: (N,) clean speech at 16 kHz that the phones describe; its loudness scales vowels.
        frames: number of video frames wanted.
    """
    return to_frames(mouth_track_100hz(phones, audio, frames * _PER_FRAME))


def to_frames(track: Array64) -> FloatArray:
    """Average a (4T, 6) track at 100 Hz to (T, 6) at 25 Hz."""
    frames = track.shape[0] // _PER_FRAME
    return np.asarray(track[: frames * _PER_FRAME].reshape(frames, _PER_FRAME, -1).mean(1), np.float32)


def mouth_track_100hz(
    phones: Sequence[tuple[str, str, float, float]], audio: FloatArray, count: int
) -> Array64:
    """Return the mouth (count, 6) at 100 Hz, sample k at (k + 0.5) / 100 seconds."""
    time_s = (np.arange(count) + 0.5) / TRACK_HZ
    segments = _segments_of(phones, count / TRACK_HZ)
    if not any(symbol != PAUSE for symbol, *_ in phones):
        return np.zeros((count, 6))
    track = _blend(segments, time_s)
    loud = loudness(audio, count)
    track[:, 0] *= 0.72 + 0.38 * loud
    track = _smooth(track, _SMOOTH_S)
    track *= _speech_gate(phones, time_s)[:, None]
    _constrain(track, segments, time_s)
    low = np.array([0.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    return np.clip(track, low, 1.0)


def loudness(audio: FloatArray, count: int) -> Array64:
    """Return loudness (count,) at 100 Hz, about 0 for soft and 1 for the clip's loud syllables."""
    step = SAMPLE_RATE_HZ // TRACK_HZ
    padded = np.zeros(count * step)
    used = min(audio.shape[0], padded.shape[0])
    padded[:used] = audio[:used]
    power = (padded.reshape(count, step) ** 2).mean(1)
    power = np.maximum(_gauss(power, 0.035 * TRACK_HZ), 0.0)
    level_db = 10 * np.log10(power + 1e-9)
    top_db = float(np.percentile(level_db, 95))
    return np.clip((level_db - (top_db - 22.0)) / 22.0, 0.0, 1.15)


def speaking_frames(phones: Sequence[tuple[str, str, float, float]], frames: int) -> npt.NDArray[np.bool_]:
    """Return (frames,) bool: a phone sounds in half of the frame or more; gaps under 0.2 s are speech."""
    spans: list[list[float]] = []
    for symbol, _, start, end in phones:
        if symbol == PAUSE:
            continue
        if spans and start - spans[-1][1] < 0.2:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    covered = np.zeros(frames)
    edges = np.arange(frames + 1) / FPS
    for start, end in spans:
        covered += np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0.0, None)
    return np.asarray(covered >= 0.5 / FPS)


def _segments_of(phones: Sequence[tuple[str, str, float, float]], end_s: float) -> list[_Segment]:
    """Visemes in time; gaps, and everything before and after, become rest."""
    segments: list[_Segment] = []
    rest = visemes_of(PAUSE, "espeak")[0][0]
    cursor = -1.0
    for symbol, engine, start, end in phones:
        if start > cursor + 1e-6:
            segments.append(_Segment(rest, cursor, start))
        cursor = start
        for viseme, share in visemes_of(symbol, engine):
            stop = cursor + share * (end - start)
            segments.append(_Segment(viseme, cursor, stop))
            cursor = stop
    if cursor < end_s + 1.0:
        segments.append(_Segment(rest, cursor, end_s + 1.0))
    return segments


def _blend(segments: list[_Segment], time_s: Array64) -> Array64:
    """Dominance-weighted mean of targets, (count, 6)."""
    total = np.zeros((time_s.shape[0], 6))
    weight = np.full((time_s.shape[0], 6), 1e-9)
    reach = 0.45
    for segment in segments:
        first, last = np.searchsorted(time_s, (segment.start_s - reach, segment.end_s + reach))
        if first == last:
            continue
        at = time_s[first:last, None]
        length = segment.end_s - segment.start_s
        core_start = segment.start_s + 0.25 * min(length, 0.12)
        core_end = segment.end_s - 0.4 * min(length, 0.12)
        early = np.maximum(core_start - at, 0.0) / _BEFORE_S
        late = np.maximum(at - core_end, 0.0) / _AFTER_S
        pull = np.asarray(segment.viseme.dominance) * np.exp(-(early**1.3) - late**1.3)
        total[first:last] += pull * np.asarray(segment.viseme.target)
        weight[first:last] += pull
    return np.asarray(total / weight)


def _gauss(values: Array64, sigma: float) -> Array64:
    """Gaussian smoothing of (count,) with repeated edges; sigma in samples."""
    radius = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    padded = np.pad(values, radius, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _smooth(track: Array64, sigma_s: Array64) -> Array64:
    return np.stack([_gauss(track[:, d], float(sigma_s[d]) * TRACK_HZ) for d in range(6)], axis=1)


def _ease(x: Array64) -> Array64:
    """Smoothstep of x clipped to 0..1."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _speech_gate(phones: Sequence[tuple[str, str, float, float]], time_s: Array64) -> Array64:
    """(count,) 1 in speech and exactly 0 in rest, eased in before the sound and out after it."""
    gate = np.zeros(time_s.shape[0])
    spans: list[list[float]] = []
    for symbol, _, start, end in phones:
        if symbol == PAUSE:
            continue
        if spans and start - spans[-1][1] < _SHORT_PAUSE_S:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    for start, end in spans:
        rising = _ease((time_s - (start - _ONSET_LEAD_S)) / (_ONSET_LEAD_S + 0.02))
        falling = _ease((end + _REST_AFTER_S - time_s) / (_REST_AFTER_S + 0.02))
        gate = np.maximum(gate, np.minimum(rising, falling))
    return gate


def _constrain(track: Array64, segments: list[_Segment], time_s: Array64) -> None:
    """Put closures and tucks back, in place: open under a cap, tuck over a floor."""
    for segment in segments:
        viseme = segment.viseme
        if (viseme.open_cap >= 1.0 and viseme.tuck_floor <= 0.0) or viseme.target == (0.0,) * 6:
            continue
        start, end = segment.start_s, segment.end_s
        if viseme.open_cap == 0.0:
            spare = max(0.0, _CLOSURE_MIN_S - (end - start))
            start, end = start - 0.7 * spare, end + 0.3 * spare
        away = np.maximum(np.maximum(start - time_s, time_s - end), 0.0) / _CLOSURE_RAMP_S
        near = away < 1.0
        cap = viseme.open_cap + (1.0 - viseme.open_cap) * _ease(away[near])
        track[near, 0] = np.minimum(track[near, 0], cap)
        if viseme.tuck_floor > 0.0:
            floor = viseme.tuck_floor * (1.0 - _ease(away[near]))
            track[near, 5] = np.maximum(track[near, 5], floor)
        if viseme.open_cap == 0.0:
            track[near, 3] = np.minimum(track[near, 3], _ease(away[near]))
