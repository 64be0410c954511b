"""48 kHz to the engine's rate, with nothing held back. Pure numpy; event loop only."""

from __future__ import annotations

import numpy as np

from stream.media import RATE_HZ, Float32Array, Int16Array


class EngineResampler:
    """48 kHz int16 mono to the engine's rate in float32 mono; keeps its filter's past between calls.

    Of n samples in, n // factor are out at once: a window is complete with the packet that completes it. (A
    resampler that centres its filter gives the last samples with the next packet, 20 ms later, every time.) The
    price is a sound that is late by the filter's half, `delay_s`, 1 ms.

    Args:
        rate_hz: the engine's; must divide 48000.

    Raises:
        ValueError: it does not.

    Source: J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function", ISCAS 1974.
    """

    def __init__(self, rate_hz: int) -> None:
        if rate_hz <= 0 or RATE_HZ % rate_hz:
            raise ValueError(f"Expected a rate that divides {RATE_HZ} Hz, got {rate_hz}.")
        self._factor = RATE_HZ // rate_hz
        self._taps = _low_pass(0.46 * rate_hz / RATE_HZ)
        self._past: Float32Array = np.zeros(len(self._taps) - 1, np.float32)
        self._count = 0  # samples taken in
        self.delay_s = (len(self._taps) // 2) / RATE_HZ

    def push(self, pcm: Int16Array) -> Float32Array:
        """Resample (n,) int16 at 48 kHz; returns (m,) float32, m = n / factor where n is a multiple of it."""
        heard = np.concatenate((self._past, pcm.astype(np.float32) / 32768.0))
        self._past = heard[len(heard) - len(self._past) :]
        first = -(self._count + 1) % self._factor  # the next sample that completes a group
        self._count += len(pcm)
        if len(pcm) <= first:
            return np.zeros(0, np.float32)
        filtered = np.convolve(heard, self._taps, mode="valid")
        return np.asarray(filtered[first :: self._factor], dtype=np.float32)


def _low_pass(cutoff: float, taps: int = 95) -> Float32Array:
    """A linear-phase low pass of unit gain; `cutoff` in cycles a sample, where it has fallen by 6 dB."""
    n = np.arange(taps) - taps // 2
    response = np.sinc(2 * cutoff * n) * np.kaiser(taps, 5.6)  # 60 dB
    return np.asarray(response / response.sum(), np.float32)
