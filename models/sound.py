"""Sound of several channels as one, and how a file of sound is named to FFmpeg. numpy alone; any thread.

In: pieces (C, n) float32 of any length. Out: (n,) float32 of the same moments. The cut into pieces changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

BLOCK_S: Final = 0.01
MEMORY: Final = 0.9
"""Share of the powers that a block of 10 ms leaves to the next: they are those of the last 100 ms."""
WEAKENED: Final = 1 / 8
"""A mean of less than this share of the loudest channel's power (-9 dB; one silent side alone makes it -6) is not
heard: the channels cancel each other."""
RECOVERED: Final = 1 / 5
SILENT: Final = 1e-8
"""Mean square below which nothing is decided anew (-80 dBFS)."""
MEAN: Final = -1


class DownMix:
    """One channel of several: their mean, or the loudest of them while the mean is much quieter.

    Microphones whose sides are out of phase (right = -left) have a mean of silence. What is heard decides, in
    blocks of 10 ms, each by the blocks before it; a change is faded over one block.

    Args:
        rate_hz: samples a second.
    """

    def __init__(self, rate_hz: int) -> None:
        self._block = max(1, round(rate_hz * BLOCK_S))
        self._filled = 0  # samples of the present block that have passed
        self._choice = self._before = MEAN
        self._sums: npt.NDArray[np.float64] = np.zeros(
            0
        )  # of squares in the present block: channels, then mean
        self._powers: npt.NDArray[np.float64] = np.zeros(0)

    def push(self, channels: Floats) -> Floats:
        """Mix (C, n) down to (n,)."""
        if channels.shape[0] == 1:
            return channels[0]
        if len(self._sums) != channels.shape[0] + 1:
            self._sums = np.zeros(channels.shape[0] + 1)
            self._powers = np.zeros(channels.shape[0] + 1)
            self._choice = self._before = MEAN
        mean = channels.mean(axis=0)
        if not len(mean):
            return mean
        out = mean.copy()
        starts = [0, *range(self._block - self._filled, len(mean), self._block)]
        squares = np.square(np.concatenate((channels, mean[None])), dtype=np.float64)
        sums = np.add.reduceat(squares, starts, axis=1)
        for start, stop, part_sums in zip(starts, [*starts[1:], len(mean)], sums.T, strict=True):
            if self._choice != MEAN or self._before != MEAN:
                out[start:stop] = self._mixed(channels[:, start:stop], mean[start:stop])
            self._sums += part_sums
            self._filled += stop - start
            if self._filled == self._block:
                self._decide()
        return out

    def _mixed(self, channels: Floats, mean: Floats) -> Floats:
        now = mean if self._choice == MEAN else channels[self._choice]
        if self._choice == self._before:
            return now
        before = mean if self._before == MEAN else channels[self._before]
        ramp = (self._filled + np.arange(1, len(mean) + 1, dtype=np.float32)) / np.float32(self._block)
        return before + ramp * (now - before)

    def _decide(self) -> None:
        self._powers = MEMORY * self._powers + (1 - MEMORY) * self._sums / self._block
        self._sums = np.zeros_like(self._sums)
        self._filled = 0
        self._before = self._choice
        sides, mean = self._powers[:-1], self._powers[-1]
        loudest = int(sides.argmax())
        if not sides[loudest] > SILENT:
            return
        if self._choice == MEAN:
            if mean < WEAKENED * sides[loudest]:
                self._choice = loudest
        elif mean > RECOVERED * sides[loudest]:
            self._choice = MEAN
        elif sides[self._choice] < sides[loudest] / 2:
            self._choice = loudest


def ffmpeg_url(path: Path) -> str:
    """A path as FFmpeg takes it: said to be a file, since `rec-10:20.wav` alone would be a protocol `rec-10`."""
    return "file:" + os.fspath(path)
