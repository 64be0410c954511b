"""The returned voice on its way: 48 kHz samples by media position, bounded. Pure numpy."""

from __future__ import annotations

import math

import numpy as np

from stream.media import FADE_SAMPLES, RATE_HZ, Int16Array


class VoiceBuffer:
    """Keeps the last `seconds` of the media timeline; older samples make room for newer ones."""

    def __init__(self, seconds: float = 4.0) -> None:
        self._ring: Int16Array = np.zeros(int(seconds * RATE_HZ), dtype=np.int16)
        self._end = 0

    @property
    def end_samples(self) -> int:
        """Media position after the newest sample."""
        return self._end

    def push(self, pcm: Int16Array) -> None:
        """Append samples; only the newest `seconds` of them are kept."""
        size = len(self._ring)
        kept = pcm[-size:]
        start = (self._end + len(pcm) - len(kept)) % size
        head = min(len(kept), size - start)
        self._ring[start : start + head] = kept[:head]
        self._ring[: len(kept) - head] = kept[head:]
        self._end += len(pcm)

    def read(self, start: int, count: int) -> Int16Array:
        """Samples [start, start + count), zeros where they are gone or not there yet."""
        out = np.zeros(count, dtype=np.int16)
        size = len(self._ring)
        first = max(start, self._end - size, 0)
        last = min(start + count, self._end)
        if last > first:
            begin, count = first % size, last - first
            head = min(count, size - begin)
            out[first - start : first - start + head] = self._ring[begin : begin + head]
            out[first - start + head : last - start] = self._ring[: count - head]
        return out

    def has(self, start: int, count: int) -> bool:
        """Whether all of [start, start + count) is there."""
        return max(0, self._end - len(self._ring)) <= start and start + count <= self._end


def joined(continuation: Int16Array, pcm: Int16Array) -> Int16Array:
    """`pcm`, its first 5 ms cross-faded from what would have followed the samples sent before it."""
    edge = min(FADE_SAMPLES, len(pcm), len(continuation))
    ramp = np.linspace(0.0, 1.0, edge, endpoint=False)
    out = pcm.copy()
    out[:edge] = np.rint(continuation[:edge] * (1.0 - ramp) + pcm[:edge] * ramp).astype(np.int16)
    return out


def loudness(pcm: Int16Array) -> float:
    """Root mean square, 0 … 1."""
    if len(pcm) == 0:
        return 0.0
    values = pcm.astype(np.float32)
    return math.sqrt(float(values @ values) / len(values)) / 32768.0
