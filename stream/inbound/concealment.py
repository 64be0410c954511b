"""Covers gaps in the voice: the last pitch period goes on, fading, and the next packet is faded into. Pure numpy.

In: every piece of the voice that came. Out: samples for what did not. No joint has a step: each repetition begins
with the difference at its seam, which decays, so that noise is covered as smoothly as vowels are.

Source: after the idea of ITU-T G.711 Appendix I (pitch waveform replication); search, seams and fades are our own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from stream.media import FADE_SAMPLES, Int16Array

Float64Array = npt.NDArray[np.float64]

SHORTEST_PERIOD: Final = 120  # 400 Hz at 48 kHz
LONGEST_PERIOD: Final = 720  # 67 Hz
COMPARED_SAMPLES: Final = 960  # 20 ms, in which the period is looked for
FULL_SAMPLES: Final = 480  # 10 ms at full loudness
HELD_SAMPLES: Final = 2880  # 60 ms, then silence


class Concealer:
    """One stream's memory for gaps."""

    def __init__(self) -> None:
        self._past: Int16Array = np.zeros(COMPARED_SAMPLES + LONGEST_PERIOD, np.int16)
        self._extension: Int16Array | None = None
        self._given = 0

    def remember(self, pcm: Int16Array) -> None:
        """Take in samples (n,) int16 that came; a gap ends with them."""
        size = len(self._past)
        self._past = pcm[-size:].copy() if len(pcm) >= size else np.concatenate((self._past[len(pcm) :], pcm))
        self._extension = None

    def extend(self, count: int) -> Int16Array:
        """The next `count` samples of the gap: the voice going on, fading, then silence."""
        ahead = self._ahead(count)
        self._given += count
        return ahead

    def join(self, pcm: Int16Array) -> Int16Array:
        """The first piece after a gap, its first 5 ms cross-faded from what would have followed."""
        edge = min(FADE_SAMPLES, len(pcm))
        ramp = np.linspace(0.0, 1.0, edge, endpoint=False)
        joined = pcm.copy()
        joined[:edge] = (self._ahead(edge) * (1.0 - ramp) + pcm[:edge] * ramp).astype(np.int16)
        return joined

    def _ahead(self, count: int) -> Int16Array:
        if self._extension is None:
            self._extension, self._given = self._continued(), 0
        out = np.zeros(count, np.int16)
        piece = self._extension[self._given : self._given + count]
        out[: len(piece)] = piece
        return out

    def _continued(self) -> Int16Array:
        past = self._past.astype(np.float64)
        if not past.any():
            return np.zeros(0, np.int16)
        period = find_period(past)
        cycle = past[-period:].copy()
        seam = min(period, SHORTEST_PERIOD)
        cycle[:seam] += (past[-1] - past[-period - 1]) * np.linspace(1.0, 0.0, seam)
        gain = np.clip((HELD_SAMPLES - np.arange(HELD_SAMPLES)) / (HELD_SAMPLES - FULL_SAMPLES), 0.0, 1.0)
        return np.clip(np.resize(cycle, HELD_SAMPLES) * gain, -32768, 32767).astype(np.int16)


def find_period(past: Float64Array) -> int:
    """Samples after which the end of `past`, of at least 35 ms, looks most like itself."""
    end = past[-COMPARED_SAMPLES:]
    span = past[-COMPARED_SAMPLES - LONGEST_PERIOD : -SHORTEST_PERIOD]
    products = np.correlate(span, end, mode="valid")  # index 0 is the longest period
    squares = np.concatenate(([0.0], np.cumsum(span**2)))
    energies = squares[COMPARED_SAMPLES:] - squares[:-COMPARED_SAMPLES]
    scores = products / np.sqrt(np.maximum(energies, 1.0))
    # Of periods that fit nearly as well the shortest: a multiple repeats more than one needs to.
    fits = np.flatnonzero(scores >= 0.95 * scores.max()) if scores.max() > 0 else np.array([len(scores) - 1])
    shortest = int(fits[-1])
    return LONGEST_PERIOD - _peak(scores, shortest)


def _peak(scores: Float64Array, index: int) -> int:
    """The top of the hill on which `index` lies, downhill from there to longer periods."""
    while index > 0 and scores[index - 1] > scores[index]:
        index -= 1
    return index
