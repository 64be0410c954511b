"""`fada bench drift`: hours of a call in minutes, on a clock of its own: do sound and picture stay together?

In flow hours and the error of the microphone's clock; out flow skew, delay and what was repeated or left out. The
server's own timeline and face run with simulated packets (10 ms, jitter, loss, reordering), a simulated engine
(a hop of two frames, 20 to 45 ms), simulated hiccups of the event loop, and a standstill of the whole process half
way. Nothing here waits: every moment is set.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from bench.report import make_report, summarise
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
LATENCY_KEPT: Final = 1_000_000


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


@dataclass(slots=True)
class DriftFigures:
    """What came of it; times in seconds, one entry a slot or a minute."""

    skews_s: list[float] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)  # median of each minute, microphone to picture
    longest_freeze_s: float = 0.0
    held: int = 0
    moves: int = 0
    concealed_samples: int = 0
    most_buffered_s: float = 0.0  # sound heard and not yet sent


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


class _Call:
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


def simulate(case: DriftCase, progress: bool = False) -> DriftFigures:
    """Run one call."""
    call = _Call(case)
    clock, pacer, hiccups = call.clock, call.pacer, random.Random(case.seed + 2)
    figures, minute = DriftFigures(), []
    slots = round(case.hours * 3600 * FPS)
    shown_s, shown_frame = clock.now(), None
    for slot in tqdm(range(slots), disable=not progress, unit="slot", mininterval=5):
        if slot == slots // 2 and case.standstill_s:
            call.stand_still(case.standstill_s)
            pacer.follow_standstill(slot)
        call.live_until(pacer.due(slot) - PICTURE_LEAD_S)
        picture = pacer.picture(slot)
        call.live_until(max(clock.now_s, pacer.due(slot)))
        pacer.follow_standstill(slot)
        pacer.voice(slot)
        pacer.sent_voice(slot)
        clock.now_s += hiccups.random() * 0.001
        pacer.sent_picture(picture)
        if picture.media_frame != shown_frame:
            gap_s = clock.now_s - shown_s - (case.standstill_s if slot == slots // 2 else 0.0)
            if shown_frame is not None:
                figures.longest_freeze_s = max(figures.longest_freeze_s, gap_s)
            shown_s, shown_frame = clock.now_s, picture.media_frame
        if slot % FPS == 0:
            minute += _note_second(figures, call)
        if slot % (60 * FPS) == 60 * FPS - 1:
            figures.delays_s.append(float(np.median(minute)))
            minute = []
    figures.held, figures.moves = pacer.stats.held_frames, pacer.stats.moves
    figures.concealed_samples = call.timeline.concealed_samples
    return figures


def _note_second(figures: DriftFigures, call: _Call) -> list[float]:
    """Take the figures of one second; returns its delays."""
    delays, skews = call.pacer.stats.drain()
    figures.skews_s += skews
    buffered_s = call.timeline.length_samples / RATE_HZ - call.pacer.voice_sent_s
    figures.most_buffered_s = max(figures.most_buffered_s, buffered_s)
    return delays


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--ppm", type=float, nargs="+", default=[200.0, -200.0])


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Simulate every case."""
    cases = [
        *(DriftCase(hours=args.hours, ppm=ppm) for ppm in args.ppm),
        DriftCase(
            hours=min(1.0, args.hours), ppm=50.0, loss=0.05, jitter_s=0.03, reorder=0.02, standstill_s=0
        ),
    ]
    return make_report(
        "drift",
        method=" ".join((__doc__ or "").split()),
        shapes={"fps": FPS, "picture_lead_ms": 1000 * PICTURE_LEAD_S},
        figures={"cases": _in_parallel(cases)},
    )


def _in_parallel(cases: Sequence[DriftCase]) -> list[dict[str, Any]]:
    """Every case in a process of its own; the first one tells how far it is."""
    with ProcessPoolExecutor(max_workers=2) as pool:
        running = [pool.submit(_run_case, case, case is cases[0]) for case in cases]
        return [done.result() for done in running]


def _run_case(case: DriftCase, progress: bool) -> dict[str, Any]:
    return describe(case, simulate(case, progress))


def describe(case: DriftCase, figures: DriftFigures) -> dict[str, Any]:
    """One case in numbers."""
    skews_ms = 1000 * np.asarray(figures.skews_s)
    return {
        "hours": case.hours,
        "ppm": case.ppm,
        "loss": case.loss,
        "jitter_ms": 1000 * case.jitter_s,
        "reorder": case.reorder,
        "standstill_s": case.standstill_s,
        "skew_ms": summarise(skews_ms),
        "skew_abs_ms": summarise(np.abs(skews_ms)),
        "delay_first_minute_ms": round(1000 * figures.delays_s[0], 1),
        "delay_last_minute_ms": round(1000 * figures.delays_s[-1], 1),
        "delay_worst_minute_ms": round(1000 * max(figures.delays_s), 1),
        "longest_freeze_ms": round(1000 * figures.longest_freeze_s),
        "held_frames": figures.held,
        "whole_slot_moves": figures.moves,
        "concealed_s": round(figures.concealed_samples / RATE_HZ, 2),
        "most_buffered_ms": round(1000 * figures.most_buffered_s),
    }
