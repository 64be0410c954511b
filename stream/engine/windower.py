"""Cuts a stream of 16 kHz samples into the engine's windows. Pure numpy; runs on the event loop.

In: samples in any chunking. Out: windows in order, each complete (context, hop, overlap, look-ahead). The
same samples give the same windows however they were cut, which is what makes `fada render` and the live
server draw the same frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream.engine.protocol import EngineSpec
from stream.media import Float32Array


@dataclass(frozen=True, slots=True)
class Window:
    """What the engine hears for one step.

    Attributes:
        index: 0, 1, 2, … without gaps, from 0 again after a restart.
        first_frame: index of the first frame it covers, `index * hop_frames` after the frame where it started.
        audio: (window_samples,) float32 in [-1, 1].
    """

    index: int
    first_frame: int
    audio: Float32Array


class Windower:
    """Holds at most one window and one hop of samples.

    A push longer than that is cut as it comes in, so the memory stays bounded for any chunking.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._buffer: Float32Array = np.zeros(spec.window_samples + spec.hop_samples, dtype=np.float32)
        self._filled = spec.context_samples  # the zeros before the stream's start
        self._next_index = 0
        self._start_frame = 0
        self._pushed_samples = 0
        self._skip_samples = 0  # until the next frame begins, after a restart
        self._ended = False

    @property
    def pushed_samples(self) -> int:
        """Samples taken in so far."""
        return self._pushed_samples

    @property
    def next_index(self) -> int:
        """Index of the window that comes out next."""
        return self._next_index

    def push(self, samples: npt.NDArray[np.float32]) -> list[Window]:
        """Take samples in.

        Args:
            samples: (n,) float32 in [-1, 1], any n, zero included.

        Returns:
            The windows these samples complete, oldest first; often none.

        Raises:
            ValueError: the array is not one-dimensional float32.
            RuntimeError: the stream was flushed before.
        """
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ValueError(f"samples must be (n,) float32, got {samples.shape} {samples.dtype}")
        if self._ended:
            raise RuntimeError("the stream was flushed; start a new Windower")
        self._pushed_samples += len(samples)
        skipped = min(self._skip_samples, len(samples))
        self._skip_samples -= skipped
        return self._take(samples[skipped:])

    def restart(self) -> int:
        """Forget what was heard: the next window starts at the next whole frame, after silence.

        Returns:
            That frame's index.
        """
        spf = self._spec.samples_per_frame
        self._start_frame = -(-self._pushed_samples // spf)
        self._skip_samples = self._start_frame * spf - self._pushed_samples
        self._next_index = 0
        self._buffer[:] = 0
        self._filled = self._spec.context_samples
        return self._start_frame

    def flush(self) -> list[Window]:
        """End the stream: the windows still needed to cover its last frame, padded with zeros.

        After it, the windows cover `ceil(pushed_samples / samples_per_frame)` frames or a little more.
        """
        frames = -(-self._pushed_samples // self._spec.samples_per_frame)
        missing = -(-(frames - self._start_frame) // self._spec.hop_frames) - self._next_index
        self._ended = True
        if missing <= 0:
            return []
        return self._take(np.zeros(missing * self._spec.hop_samples + self._spec.window_samples, np.float32))[
            :missing
        ]

    def _take(self, samples: Float32Array) -> list[Window]:
        spec = self._spec
        windows: list[Window] = []
        taken = 0
        while True:
            step = min(len(samples) - taken, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + step] = samples[taken : taken + step]
            self._filled += step
            taken += step
            while self._filled >= spec.window_samples:
                audio = self._buffer[: spec.window_samples].copy()
                first_frame = self._start_frame + self._next_index * spec.hop_frames
                windows.append(Window(self._next_index, first_frame, audio))
                self._next_index += 1
                self._filled -= spec.hop_samples
                self._buffer[: self._filled] = self._buffer[
                    spec.hop_samples : spec.hop_samples + self._filled
                ].copy()
            if taken == len(samples):
                return windows
