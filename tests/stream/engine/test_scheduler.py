"""Who is drawn when, and what a failure costs whom. A real engine thread around a fake engine."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from stream.clock import MonotonicClock
from stream.engine.engine_stream import Drawn, EngineStream
from stream.engine.protocol import Engine, StepRequest
from stream.engine.scheduler import Scheduler, SchedulerConfig
from stream.engine.windower import Window
from stream.errors import AdmissionError, EngineError
from tests.fakes import SMALL_SPEC, FakeClock, FakeEngine, FakeState

IMAGE = np.full((64, 64, 3), 50, np.uint8)


class Listener:
    """Collects what a session would hear."""

    def __init__(self) -> None:
        self.drawn: list[Drawn] = []
        self.dropped: list[int] = []
        self.failed: list[EngineError] = []
        self.thread: threading.Thread | None = None

    def on_drawn(self, drawn: Drawn) -> None:
        self.drawn.append(drawn)
        self.thread = threading.current_thread()

    def on_dropped(self, first_frame: int) -> None:
        self.dropped.append(first_frame)

    def on_failed(self, error: EngineError) -> None:
        self.failed.append(error)


class GatedEngine(FakeEngine):
    """Steps only when the test opens the gate; remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def step(self, requests: Sequence[StepRequest]) -> list:
        self.entered.release()
        assert self.gate.acquire(timeout=5)
        self.batches.append(
            [request.state.seed for request in requests if isinstance(request.state, FakeState)]
        )
        return super().step(requests)


def window(index: int) -> Window:
    return Window(index, index * 4, np.zeros(SMALL_SPEC.window_samples, np.float32))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


class Rig:
    def __init__(self, scheduler: Scheduler, engine: FakeEngine) -> None:
        self.scheduler = scheduler
        self.engine = engine

    async def stream(self, seed: int = 0) -> tuple[EngineStream, Listener]:
        listener = Listener()
        state = await self.scheduler.open_state(IMAGE, seed)
        return self.scheduler.add_stream(state, listener), listener


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    engine = FakeEngine()
    scheduler = Scheduler(lambda: engine, MonotonicClock(), SchedulerConfig(max_sessions=2))
    await scheduler.start()
    yield Rig(scheduler, engine)
    await scheduler.stop()


@pytest.fixture
async def gated() -> AsyncIterator[tuple[Rig, GatedEngine]]:
    engine = GatedEngine()
    scheduler = Scheduler(lambda: engine, MonotonicClock(), SchedulerConfig(max_sessions=8))
    await scheduler.start()
    yield Rig(scheduler, engine), engine
    for _ in range(50):
        engine.gate.release()
    await scheduler.stop()


async def test_windows_are_drawn_in_order_and_heard_of_on_the_loop(rig: Rig) -> None:
    stream, listener = await rig.stream()
    for index in range(3):
        stream.submit(window(index), float(index))
        await until(lambda wanted=index: len(listener.drawn) == wanted + 1)
    assert [drawn.first_frame for drawn in listener.drawn] == [0, 4, 8]
    assert listener.thread is threading.current_thread()
    assert rig.engine.thread is not threading.current_thread()
    assert rig.engine.warm
    assert isinstance(stream.state, FakeState)
    assert stream.state.windows == 3


async def test_one_batch_takes_the_most_urgent_window_of_each_session(gated: tuple[Rig, GatedEngine]) -> None:
    rig, engine = gated
    streams = [await rig.stream(seed) for seed in range(6)]
    streams[0][0].submit(window(0), 0.0)
    await asyncio.to_thread(engine.entered.acquire)  # the engine is busy with seed 0; the rest queue up
    for seed, deadline_s in ((1, 5.0), (2, 1.0), (3, 4.0), (4, 2.0), (5, 3.0)):
        streams[seed][0].submit(window(0), deadline_s)
        streams[seed][0].submit(window(1), deadline_s + 10)
    for _ in range(4):
        engine.gate.release()
    await until(lambda: len(streams[1][1].drawn) == 2)
    assert engine.batches[0] == [0]
    assert engine.batches[1] == [2, 4, 5, 3]  # max_batch 4, earliest deadline first, one window each
    assert engine.batches[2] == [1, 2, 4, 5]
    assert sorted(engine.batches[3]) == [1, 3]


async def test_a_full_queue_drops_its_oldest_window_and_says_so(gated: tuple[Rig, GatedEngine]) -> None:
    rig, engine = gated
    stream, listener = await rig.stream()
    stream.submit(window(0), 0.0)
    await asyncio.to_thread(engine.entered.acquire)
    for index in range(1, 5):
        stream.submit(window(index), float(index))
    assert listener.dropped == [4, 8]
    for _ in range(3):
        engine.gate.release()
    await until(lambda: len(listener.drawn) == 3)
    assert [drawn.first_frame for drawn in listener.drawn] == [0, 12, 16]


async def test_a_new_epoch_drops_what_waits_and_what_is_in_flight(gated: tuple[Rig, GatedEngine]) -> None:
    rig, engine = gated
    stream, listener = await rig.stream()
    stream.submit(window(0), 0.0)
    stream.submit(window(1), 1.0)
    await asyncio.to_thread(engine.entered.acquire)
    other = FakeState(IMAGE, 77, 0)
    assert stream.restart(other) == 1
    stream.submit(window(2), 2.0)
    engine.gate.release()
    engine.gate.release()
    await until(lambda: len(listener.drawn) == 1)
    assert listener.drawn[0].first_frame == 8
    assert listener.drawn[0].epoch == 1
    assert engine.batches == [[0], [77]]


async def test_a_result_on_its_way_to_the_loop_is_dropped_when_the_epoch_passes(rig: Rig) -> None:
    stream, listener = await rig.stream()
    stream.submit(window(0), 0.0)
    while not rig.engine.steps:  # the loop is kept busy: the result is posted but not yet heard of
        pass
    stream.restart(FakeState(IMAGE, 1, 0))
    await asyncio.sleep(0.05)
    assert listener.drawn == []


async def _mean_lag(rig: Rig, engine: GatedEngine) -> float:
    """Windows between the newest and the one just drawn, of an engine that draws three windows in four."""
    clock = FakeClock()
    rig.scheduler._clock = rig.scheduler._desk.clock = clock
    rig.scheduler._desk.places = 4
    stream, listener = await rig.stream()
    lags = []
    for index in range(60):
        clock.set(clock.now() + SMALL_SPEC.hop_s)
        stream.submit(window(index), clock.now())
        if index % 4 == 0:
            continue
        seen = len(listener.drawn) + 1
        await until(lambda: engine.entered.acquire(blocking=False))
        engine.gate.release()
        await until(lambda seen=seen: len(listener.drawn) == seen)
        shown = listener.drawn[-1].first_frame
        assert shown is not None
        lags.append(index - shown // SMALL_SPEC.hop_frames)
    assert listener.dropped  # what cannot be drawn is left out
    return sum(lags[-30:]) / 30


async def test_a_queue_that_never_empties_is_cut_to_its_newest_window(
    gated: tuple[Rig, GatedEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = await _mean_lag(*gated)
    monkeypatch.setattr("stream.engine.engine_stream.STANDING_S", math.inf)
    standing = await _mean_lag(*gated)
    assert cut < standing - 1.5
    assert cut < 2


async def test_work_is_done_ahead_only_while_nobody_waits(gated: tuple[Rig, GatedEngine]) -> None:
    rig, engine = gated
    told: list[list[int]] = []

    def prepare(states: Sequence[object]) -> list[object]:
        told.append([state.seed for state in states if isinstance(state, FakeState)])
        return [replace(state, windows=state.windows + 100) for state in states]  # type: ignore[type-var]

    engine.prepare = prepare  # type: ignore[method-assign]
    (first, heard), (second, others) = await rig.stream(1), await rig.stream(2)
    first.submit(window(0), 1.0)
    await until(lambda: engine.entered.acquire(blocking=False))
    second.submit(window(0), 2.0)
    engine.gate.release()
    await until(lambda: len(heard.drawn) == 1 and engine.entered.acquire(blocking=False))
    assert told == []
    engine.gate.release()
    await until(lambda: len(others.drawn) == 1 and len(told) == 1)
    assert told == [[1, 2]]
    await until(lambda: isinstance(first.state, FakeState) and first.state.windows == 101)


async def test_failing_to_work_ahead_costs_nobody_a_window(rig: Rig) -> None:
    def prepare(states: Sequence[object]) -> list[object]:
        raise RuntimeError("no memory")

    rig.engine.prepare = prepare  # type: ignore[method-assign]
    stream, heard = await rig.stream(1)
    for index in range(3):
        stream.submit(window(index), 1.0 + index)
        await until(lambda index=index: len(heard.drawn) == index + 1)
    assert not heard.failed


async def test_closing_a_stream_frees_its_state_and_silences_it(gated: tuple[Rig, GatedEngine]) -> None:
    rig, engine = gated
    stream, listener = await rig.stream()
    stream.submit(window(0), 0.0)
    await asyncio.to_thread(engine.entered.acquire)
    stream.close()
    engine.gate.release()
    stream.submit(window(1), 1.0)
    _, other = other_stream = await rig.stream(5)
    other_stream[0].submit(window(0), 0.0)
    engine.gate.release()
    await until(lambda: len(other.drawn) == 1)
    assert listener.drawn == []
    assert stream.state is None
    assert rig.scheduler._streams == [other_stream[0]]


async def test_a_failure_in_a_batch_costs_only_its_own_session(gated: tuple[Rig, GatedEngine]) -> None:
    rig, engine = gated

    def fail(requests: Sequence[StepRequest]) -> None:
        if any(request.state.seed == 2 for request in requests if isinstance(request.state, FakeState)):
            raise RuntimeError("seed 2 cannot be drawn")

    engine.fail = fail
    streams = [await rig.stream(seed) for seed in range(4)]
    streams[0][0].submit(window(0), 0.0)
    await asyncio.to_thread(engine.entered.acquire)
    for stream, _ in streams[1:]:
        stream.submit(window(0), 0.0)
    for _ in range(10):
        engine.gate.release()
    await until(lambda: all(listener.drawn or listener.failed for _, listener in streams))
    assert [len(listener.drawn) for _, listener in streams] == [1, 1, 0, 1]
    error = streams[2][1].failed[0]
    assert error.code == "engine_failed"
    assert "seed 2 cannot be drawn" in error.message
    streams[1][0].submit(window(1), 1.0)
    await until(lambda: len(streams[1][1].drawn) == 2)


async def test_frames_of_a_wrong_shape_are_a_failure_not_a_crash(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.engine, "open", lambda image, seed: FakeState(image[:, :32], seed, 0))
    stream, listener = await rig.stream()
    stream.submit(window(0), 0.0)
    await until(lambda: bool(listener.failed))
    assert "expected frames (4, 64, 64, 3) uint8" in listener.failed[0].message


async def test_a_picture_the_engine_refuses_is_an_error_of_that_session_only(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(image: np.ndarray, seed: int) -> FakeState:
        raise ValueError("no face in it")

    with monkeypatch.context() as patched:
        patched.setattr(rig.engine, "open", refuse)
        with pytest.raises(EngineError, match="could not start from this picture: no face in it"):
            await rig.scheduler.open_state(IMAGE, 0)
    await rig.stream()


async def test_seats_count_sessions_still_being_built(rig: Rig) -> None:
    first, _ = rig.scheduler.take_seat(), rig.scheduler.take_seat()
    with pytest.raises(AdmissionError, match="All 2 places") as raised:
        rig.scheduler.take_seat()
    assert (raised.value.code, raised.value.status) == ("server_full", 503)
    first.release()
    first.release()  # a second time must not free another's seat
    rig.scheduler.take_seat()
    with pytest.raises(AdmissionError):
        rig.scheduler.take_seat()


async def test_before_loading_nobody_gets_in() -> None:
    scheduler = Scheduler(FakeEngine, MonotonicClock(), SchedulerConfig())
    with pytest.raises(AdmissionError) as raised:
        scheduler.take_seat()
    assert raised.value.code == "not_ready"


async def test_a_loader_that_raises_is_heard_and_the_thread_ends() -> None:
    def load() -> Engine:
        raise EngineError("engine_not_loaded", "There are no weights.")

    scheduler = Scheduler(load, MonotonicClock(), SchedulerConfig())
    with pytest.raises(EngineError, match="no weights"):
        await scheduler.start()
    assert not scheduler.ready
    await scheduler.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "fada-engine"]


async def test_stopping_closes_the_engine_and_refuses_what_still_waits(
    gated: tuple[Rig, GatedEngine],
) -> None:
    rig, engine = gated
    stream, _ = await rig.stream()
    stream.submit(window(0), 0.0)
    await asyncio.to_thread(engine.entered.acquire)
    opening = asyncio.create_task(rig.scheduler.open_state(IMAGE, 1))
    await asyncio.sleep(0.01)
    stopping = asyncio.create_task(rig.scheduler.stop())
    await asyncio.sleep(0.01)
    engine.gate.release()
    await stopping
    with pytest.raises(EngineError, match="shutting down"):
        await opening
    assert engine.closed


async def test_an_engine_that_cannot_keep_up_is_asked_for_less(rig: Rig) -> None:
    stream, listener = await rig.stream()
    rig.engine.cost_s = 0.3  # a hop is 0.16 s
    for index in range(8):
        stream.submit(window(index), -1.0)  # every deadline has long passed
        await until(lambda wanted=index: len(listener.drawn) == wanted + 1)
    asked = [drawn.nfe for drawn in listener.drawn]
    assert asked[0] is None  # the preset's own
    assert asked[-1] == 2


async def test_a_rest_overtakes_everybody_and_drops_what_its_own_session_had(
    gated: tuple[Rig, GatedEngine],
) -> None:
    rig, engine = gated
    (first, heard), (second, other) = await rig.stream(1), await rig.stream(2)
    first.submit(window(0), 0.0)
    await asyncio.to_thread(engine.entered.acquire)
    first.submit(window(1), 1.0)
    second.submit(window(0), -5.0)
    epoch = first.rest()
    for _ in range(3):
        engine.gate.release()
    await until(lambda: bool(heard.drawn) and bool(other.drawn))
    assert [drawn.first_frame for drawn in heard.drawn] == [None], "neither in flight nor waiting"
    assert (heard.drawn[0].epoch, heard.dropped, heard.failed) == (epoch, [], [])
    assert engine.batches[1] == [1, 2]
    first.submit(window(2), 3.0)
    engine.gate.release()
    await until(lambda: len(heard.drawn) == 2)
    assert heard.drawn[1].first_frame == 8
    first.close()
    first.rest()
    assert not first.waits, "a closed stream rests for good"
