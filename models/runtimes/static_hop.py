"""A hop recorded once and replayed: static buffers, one graph for all evaluations, a second lane for the pictures.

In: `HopInputs`, by value. Out: latents, frames on the host, times. On CUDA each batch size is captured into two
CUDA graphs: sound, motion frames, every evaluation and the blend; then decoder, colour conversion and warp. The
second runs on a stream of its own and copies into pinned memory, so that while one part of a batch is painted the
next is denoised. On other devices `EagerLanes` does the same work call by call: nearly all of this file is tested
without a GPU. Runs on the engine's thread alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from models.hop import HopInputs
from models.streaming import Streamer

Work = Callable[[], None]
Lane = Literal["main", "pictures"]
PIECE_ROWS = 2
"""Rows of one piece of a batch: fewer leave the device idle, more leave nothing to overlap."""


class Lanes(Protocol):
    """Where recorded work runs: a main lane, and one for pictures that waits for the main one."""

    def record(self, work: Work, lane: Lane) -> Work:
        """Work on static buffers -> the same, replayed by a call on that lane."""
        ...

    def run_main(self, work: Work) -> None:
        """Queue work on the main lane."""
        ...

    def run_pictures(self, work: Work) -> None:
        """Queue work on the pictures' lane, after everything queued on the main lane so far."""
        ...

    def wait(self) -> None:
        """Return when both lanes are done."""
        ...

    def host_buffer(self, shape: tuple[int, ...]) -> Tensor:
        """uint8 on the host, which the pictures' lane can copy into without waiting."""
        ...


class EagerLanes:
    """Everything at once, in order: the twin for devices without graphs."""

    def record(self, work: Work, lane: Lane) -> Work:
        return work

    def run_main(self, work: Work) -> None:
        work()

    def run_pictures(self, work: Work) -> None:
        work()

    def wait(self) -> None:
        """Nothing is ever pending."""

    def host_buffer(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, dtype=torch.uint8)


class CudaLanes:
    """CUDA graphs on two streams."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._main, self._pictures = torch.cuda.Stream(device), torch.cuda.Stream(device)
        # Graphs of one pool share their scratch memory, so only those that never run at once may have one pool.
        self._pools = {"main": torch.cuda.graph_pool_handle(), "pictures": torch.cuda.graph_pool_handle()}

    def record(self, work: Work, lane: Lane) -> Work:
        """Run it three times, so that libraries choose their kernels, then capture it."""
        self._main.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._main):
            for _ in range(3):
                work()
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pools[lane], stream=self._main):
            work()
        return graph.replay

    def run_main(self, work: Work) -> None:
        self._main.wait_stream(torch.cuda.current_stream(self.device))  # the inputs are made there
        with torch.cuda.stream(self._main):
            work()

    def run_pictures(self, work: Work) -> None:
        self._pictures.wait_stream(self._main)
        with torch.cuda.stream(self._pictures):
            work()

    def wait(self) -> None:
        self._pictures.synchronize()
        self._main.synchronize()

    def host_buffer(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)


@dataclass(slots=True)
class _Recording:
    """One shape's static buffers and the two pieces of work on them."""

    inputs: HopInputs
    latents: Tensor
    pixels: Tensor
    host: Tensor
    denoise: Work
    paint: Work


class StaticRunner:
    """A `HopRunner` that records a hop per (rows, evaluations, place in the batch) and replays it."""

    def __init__(self, streamer: Streamer, lanes: Lanes, piece_rows: int = PIECE_ROWS) -> None:
        if piece_rows < 1:
            raise ValueError(f"piece_rows must be at least 1, got {piece_rows}.")
        self._streamer, self._lanes, self._piece_rows = streamer, lanes, piece_rows
        self._recordings: dict[tuple[int, int, int], _Recording] = {}

    def run(self, inputs: HopInputs, nfe: int) -> tuple[Tensor, np.ndarray, dict[str, float]]:
        """See `HopRunner`; the time is the whole hop's, since nothing is waited for inside."""
        began_s = time.perf_counter()
        rows, recordings = len(inputs.audio), []
        for place, start in enumerate(range(0, rows, self._piece_rows)):
            piece = slice_rows(inputs, start, min(rows, start + self._piece_rows))
            recording = self._recording(piece, nfe, place)
            self._lanes.run_main(_Replay(recording, piece))
            self._lanes.run_pictures(recording.paint)
            recordings.append(recording)
        self._lanes.wait()
        latents = [recording.latents.clone() for recording in recordings]
        frames = np.concatenate([recording.host.numpy() for recording in recordings])
        return torch.cat(latents), frames, {"hop": (time.perf_counter() - began_s) * 1e3}

    def forget(self) -> None:
        """Free all recordings, for instance when memory ran out."""
        self._recordings.clear()

    def _recording(self, piece: HopInputs, nfe: int, place: int) -> _Recording:
        """Buffers are a place's own: two pieces of one batch are under way at once."""
        key = (len(piece.audio), nfe, place)
        if key not in self._recordings:
            self._recordings[key] = self._record(piece, nfe)
        return self._recordings[key]

    def _record(self, piece: HopInputs, nfe: int) -> _Recording:
        streamer = self._streamer
        stream, place, rows = streamer.preset.stream, streamer.placement, len(piece.audio)
        static = map_tensors(piece, lambda x: x.clone())
        shape = (rows, stream.window_frames, *piece.reference.shape[1:])
        latents = torch.empty(shape, dtype=piece.noise.dtype, device=piece.noise.device)
        pixels = torch.empty(
            (rows * stream.hop_frames, place.height, place.width, place.channels),
            dtype=torch.uint8,
            device=latents.device,
        )
        host = self._lanes.host_buffer((rows, stream.hop_frames, *pixels.shape[1:]))

        def denoise() -> None:
            features = streamer.networks.audio_features(static.audio)
            latents.copy_(streamer.blend(static, streamer.sample(static, features, nfe)))

        def decode() -> None:
            pixels.copy_(streamer.paint(static, latents[:, : stream.hop_frames]))

        replay_denoise = self._lanes.record(denoise, "main")
        replay_decode = self._lanes.record(decode, "pictures")

        def paint() -> None:
            replay_decode()
            host.copy_(pixels.view(host.shape), non_blocking=True)

        return _Recording(static, latents, pixels, host, replay_denoise, paint)


class _Replay:
    """Bring one piece's values into its buffers, then denoise."""

    def __init__(self, recording: _Recording, piece: HopInputs) -> None:
        self._recording, self._piece = recording, piece

    def __call__(self) -> None:
        for ours, theirs in zip(tensors_of(self._recording.inputs), tensors_of(self._piece), strict=True):
            ours.copy_(theirs)
        self._recording.denoise()


def tensors_of(inputs: HopInputs) -> list[Tensor]:
    """All tensors, in a fixed order."""
    found: list[Tensor] = []
    for entry in fields(inputs):
        value = getattr(inputs, entry.name)
        found.extend(value if isinstance(value, tuple) else (value,))
    return found


def map_tensors(inputs: HopInputs, change: Callable[[Tensor], Tensor]) -> HopInputs:
    """The same fields with every tensor changed."""
    values: dict[str, Any] = {}
    for entry in fields(inputs):
        value = getattr(inputs, entry.name)
        values[entry.name] = tuple(map(change, value)) if isinstance(value, tuple) else change(value)
    return HopInputs(**values)


def slice_rows(inputs: HopInputs, start: int, stop: int) -> HopInputs:
    """Rows [start, stop) of a batch."""
    rows = len(inputs.audio)

    def cut(x: Tensor) -> Tensor:
        each = len(x) // rows  # poses have one line per frame
        return x[start * each : stop * each]

    return map_tensors(inputs, cut)


def record_on(streamer: Streamer) -> StaticRunner:
    """Let a streamer on CUDA replay its hops; returns the runner."""
    runner = StaticRunner(streamer, CudaLanes(streamer.device))
    streamer.use_runner(runner)
    return runner
