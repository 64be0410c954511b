"""A simulated call for `fada bench drift`: the server's own timeline and face, and everything around them.

In: a `DriftCase`. Out: a `DriftCall` whose clock stands where it is put. The microphone's packets, the engine's
time for a window and a standstill of the process are simulated; nothing waits.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.engine.engine_stream import Drawn
from stream.engine.protocol import Controls, EngineSpec, ScaleRange
from stream.engine.windower import Window
from stream.inbound.timeline import Timeline
from stream.live.face import Face
from stream.media import RATE_HZ, Heard, Int16Array

FPS: Final = 25
PACKET_SAMPLES: Final = 480
ENGINE_RATE_HZ: Final = 16_000
PICTURE_LEAD_S: Final = 0.004


@dataclass(frozen=True, slots=True)
class DriftCase:
    """What is simulated.

    Attributes:
        hours: length of the call.
        ppm: error of the microphone's clock, parts in a million; positive is fast.
        standstill_s: how long the process stands still half way.
        loss, reorder: shares of packets.
        jitter_s: delay of packets, uniform between 0 and this.
        hop_frames, lookahead_frames: of the windows.
        compute_s: (least, most) time of a window.
        seed: of all chance.
    """

    hours: float = 1.0
    ppm: float = 200.0
    standstill_s: float = 3.0
    loss: float = 0.0
    reorder: float = 0.0
    jitter_s: float = 0.002
    hop_frames: int = 2
    lookahead_frames: int = 2
    compute_s: tuple[float, float] = (0.020, 0.045)
    seed: int = 0


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def now(self) -> float:
        return self.now_s

    async def sleep_until(self, when_s: float) -> None:
        self.now_s = max(self.now_s, when_s)


class _Microphone:
    """Packets in order of arrival: (moment, position); what is spoken alternates between speech and pauses."""

    def __init__(self, case: DriftCase, start_s: float) -> None:
        self._case, self._start_s = case, start_s
        self._random = random.Random(case.seed)
        n = np.arange(PACKET_SAMPLES)
        self._speech = (6000 * np.sin(2 * np.pi * n * 5 / PACKET_SAMPLES)).astype(
            np.int16
        )  # 500 Hz, seamless
        self._pause: Int16Array = np.zeros(PACKET_SAMPLES, np.int16)
        self._heap: list[tuple[float, int]] = []
        self._next = 0
        self._last_s = start_s

    def until(self, now_s: float) -> Iterator[tuple[float, int, Int16Array]]:
        """What arrives up to a moment."""
        case = self._case
        packet_s = PACKET_SAMPLES / RATE_HZ / (1 + case.ppm * 1e-6)
        while (spoken_s := self._start_s + (self._next + 1) * packet_s) <= now_s:
            arrival_s = spoken_s + self._random.random() * case.jitter_s
            self._last_s = arrival_s = max(
                arrival_s, self._last_s
            )  # a network keeps order, but for the rare one
            if self._random.random() < case.reorder:
                arrival_s += 0.03
            if self._random.random() >= case.loss:
                heapq.heappush(self._heap, (arrival_s, self._next))
            self._next += 1
        while self._heap and self._heap[0][0] <= now_s:
            arrival_s, index = heapq.heappop(self._heap)
            second = index // 100
            yield arrival_s, index * PACKET_SAMPLES, self._pause if second % 5 == 4 else self._speech


class _Easel:
    """Stands for the engine: draws one window after the other, each in its own time."""

    def __init__(self, case: DriftCase) -> None:
        self.controls = Controls()
        self.heard_s = 0.0  # when the sound came that completes the next window
        self.drawn: list[tuple[float, int]] = []  # heap of (moment, first frame)
        self._case = case
        self._chance = random.Random(case.seed + 1)
        self._free_s = 0.0

    def submit(self, window: Window, deadline_s: float) -> None:
        self._free_s = max(self.heard_s, self._free_s) + self._chance.uniform(*self._case.compute_s)
        heapq.heappush(self.drawn, (self._free_s, window.first_frame))

    def restart(self, state: object) -> int:
        raise NotImplementedError("nobody changes faces here")

    def rest(self) -> int:
        raise NotImplementedError("nobody interrupts here")

    def close(self) -> None:
        self.drawn.clear()


class DriftCall:
    """The server's own timeline and face, and everything around them simulated."""

    def __init__(self, case: DriftCase) -> None:
        self.clock = SetClock()
        self.woken_s = self.clock.now()
        self.timeline = Timeline(self.clock.now())
        self.face = Face(self.clock, _spec(case), np.zeros((2, 2, 3), np.uint8))
        self.pacer = self.face.pacer
        self.pacer.picture_lead_s = PICTURE_LEAD_S
        self.pacer.due(0)
        self._easel = _Easel(case)
        self.face.draw_on(self._easel)
        self._microphone = _Microphone(case, self.clock.now())
        self._frames = np.zeros((case.hop_frames, 2, 2, 3), np.uint8)
        self._last_index = -1
        self._engine_samples = 0

    def stand_still(self, for_s: float) -> None:
        """The whole process stands still."""
        self.clock.now_s += for_s
        self.woken_s = self.clock.now_s

    def live_until(self, now_s: float) -> None:
        """Hear and draw everything that happens up to a moment."""
        self.clock.now_s = max(self.clock.now_s, now_s)
        for arrival_s, position, pcm in self._microphone.until(now_s):
            index = position // PACKET_SAMPLES
            if index > self._last_index:  # else it is too late, and the prompt buffer drops it
                self._last_index = index
                self._hear(arrival_s, position, pcm)
        drawn = self._easel.drawn
        while drawn and drawn[0][0] <= now_s:
            ready_s, first = heapq.heappop(drawn)
            self.clock.now_s = ready_s if ready_s >= self.woken_s else self.clock.now_s
            self.face.on_drawn(Drawn(first, self._frames, 0, None, 1, 0.0, 0.0, 0.0, 0.0, {}))
        self.clock.now_s = now_s

    def _hear(self, arrival_s: float, position: int, pcm: Int16Array) -> None:
        self._easel.heard_s = max(arrival_s, self.woken_s)
        before = self.timeline.length_samples
        for chunk in self.timeline.add(pcm, position, self._easel.heard_s):
            before += len(chunk)
            count = before // 3 - self._engine_samples
            self._engine_samples += count
            self.face.hear(Heard(arrival_s, chunk, np.zeros(count, np.float32)))


def _spec(case: DriftCase) -> EngineSpec:
    """Windows of the case; pictures of nothing."""
    scale = ScaleRange(1.0, 1.0, 1.0)
    return EngineSpec(
        fps=FPS,
        sample_rate_hz=ENGINE_RATE_HZ,
        width=2,
        height=2,
        hop_frames=case.hop_frames,
        overlap_frames=0,
        context_samples=0,
        lookahead_samples=case.lookahead_frames * ENGINE_RATE_HZ // FPS,
        max_batch=1,
        audio_scale=scale,
        reference_scale=scale,
    )
