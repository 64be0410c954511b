"""Stand-ins with the behaviour that matters and nothing else: a clock one turns by hand,
an engine without a network.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stream.engine.protocol import EngineSpec, ScaleRange, StepRequest, StepResult, check_canvas
from stream.media import Float32Array, UInt8Array


class FakeClock:
    """Stands still until `advance`.

    Waiters wake in order of their moments, each after the loop has settled.
    """

    def __init__(self, start_s: float = 1000.0) -> None:
        self._now_s = start_s
        self._waiters: list[tuple[float, int, asyncio.Future[None]]] = []
        self._counter = itertools.count()

    def now(self) -> float:
        return self._now_s

    async def sleep_until(self, when_s: float) -> None:
        if when_s <= self._now_s:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (when_s, next(self._counter), future))
        await future

    def set(self, now_s: float) -> None:
        """Jump without waking anybody: what a task sees after the process stood still."""
        self._now_s = now_s

    async def advance(self, by_s: float) -> None:
        """Move on, waking every waiter at its own moment."""
        end_s = self._now_s + by_s
        await settle()
        while self._waiters and self._waiters[0][0] <= end_s:
            when_s, _, future = heapq.heappop(self._waiters)
            self._now_s = max(self._now_s, when_s)
            if not future.done():
                future.set_result(None)
            await settle()
        self._now_s = end_s
        await settle()


async def settle(turns: int = 20) -> None:
    """Let every task that can run do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


SMALL_SPEC = EngineSpec(
    fps=25,
    sample_rate_hz=16_000,
    width=64,
    height=64,
    hop_frames=4,
    overlap_frames=1,
    context_samples=10_240,
    lookahead_samples=1_280,
    max_batch=4,
    audio_scale=ScaleRange(0.0, 2.5, 1.4),
    reference_scale=ScaleRange(0.5, 1.5, 1.0),
    nfe=4,
)


@dataclass(frozen=True, slots=True)
class FakeState:
    """What the fake carries from window to window."""

    still: UInt8Array
    seed: int
    windows: int


def mouth_brightness(spec: EngineSpec, audio: Float32Array) -> list[int]:
    """Brightness 0 … 255 of the mouth in each of the hop's frames: the level of that frame's own samples."""
    spf = spec.samples_per_frame
    levels = []
    for index in range(spec.hop_frames):
        start = spec.context_samples + index * spf
        level = float(np.sqrt(np.mean(np.square(audio[start : start + spf]))))
        levels.append(min(255, round(255 * min(1.0, 4 * level))))
    return levels


class FakeEngine:
    """Draws the reference picture with a mouth patch as bright as the voice is loud. Deterministic.

    Args:
        spec: what it pretends to be.
        cost_s: time one step takes (slept on the engine thread; scaled by nfe / spec.nfe).
        fail: called with every step's requests; may raise.
    """

    def __init__(
        self,
        spec: EngineSpec = SMALL_SPEC,
        cost_s: float = 0.0,
        fail: Callable[[Sequence[StepRequest]], None] | None = None,
    ) -> None:
        self.spec = spec
        self.cost_s = cost_s
        self.fail = fail
        self.steps: list[int] = []
        self.opened = 0
        self.held: dict[int, FakeState] = {}  # states handed out and not yet given back
        self.warm = False
        self.closed = False
        self.thread: threading.Thread | None = None

    def warm_up(self) -> None:
        self.warm = True
        self.thread = threading.current_thread()

    def open(self, image: UInt8Array, seed: int) -> FakeState:
        check_canvas(image, self.spec)
        self.opened += 1
        return self._hand_out(FakeState(image, seed, 0))

    def step(self, requests: Sequence[StepRequest]) -> list[StepResult]:
        self.steps.append(len(requests))
        if self.fail is not None:
            self.fail(requests)
        if self.cost_s:
            share = (requests[0].controls.nfe or self.spec.nfe or 1) / (self.spec.nfe or 1)
            time.sleep(self.cost_s * share)
        return [self._draw(request) for request in requests]

    def prepare(self, states: Sequence[object]) -> list[object]:
        return list(states)

    def release(self, state: object) -> None:
        assert isinstance(state, FakeState)
        assert self.held.pop(id(state), None) is state, "given back twice, or never handed out"

    def close(self) -> None:
        self.closed = True

    def _hand_out(self, state: FakeState) -> FakeState:
        self.held[id(state)] = state  # kept, so that no other state gets its id
        return state

    def _draw(self, request: StepRequest) -> StepResult:
        spec, state = self.spec, request.state
        assert isinstance(state, FakeState)
        assert request.audio is None or request.audio.shape == (spec.window_samples,)
        frames = np.repeat(state.still[None], spec.hop_frames, axis=0)
        if request.audio is None:
            return StepResult(self._next(state), frames, {"draw": 0.1})
        rows = slice(spec.height * 5 // 8, spec.height * 7 // 8)
        columns = slice(spec.width * 3 // 8, spec.width * 5 // 8)
        for frame, brightness in zip(frames, mouth_brightness(spec, request.audio), strict=True):
            frame[rows, columns] = brightness
        return StepResult(self._next(state), frames, {"draw": 0.1})

    def _next(self, state: FakeState) -> FakeState:
        return self._hand_out(FakeState(state.still, state.seed, state.windows + 1))


def mouth_of(image: UInt8Array) -> float:
    """Brightness of the fake's mouth patch in a picture, 0 … 255.

    Reads the middle, away from blurred edges.
    """
    height, width = image.shape[:2]
    rows = slice(height * 11 // 16, height * 13 // 16)
    return float(image[rows, width * 7 // 16 : width * 9 // 16].mean())
