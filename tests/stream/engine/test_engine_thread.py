"""An engine thread that dies or gets stuck is noticed, told and survived; every state is given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream.clock import MonotonicClock
from stream.engine.protocol import StepRequest
from stream.engine.scheduler import Scheduler, SchedulerConfig
from stream.errors import AdmissionError, EngineError
from tests.fakes import FakeEngine, FakeState
from tests.stream.engine.test_scheduler import IMAGE, Listener, until, window
from tests.stream.rig import Caller, running_server


class Killed(BaseException):
    """What ends a thread that catches every Exception."""


class StuckEngine(FakeEngine):
    """Hangs in a step until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False
        self.hanging = threading.Event()
        self.let_go = threading.Event()

    def step(self, requests: Sequence[StepRequest]) -> list:
        if self.stuck:
            self.hanging.set()
            self.let_go.wait()
            self.stuck = False
        return super().step(requests)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("engine_thread", "scheduler"):
        monkeypatch.setattr(f"stream.engine.{place}.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("stream.engine.engine_thread.JOIN_WITHIN_S", 0.3)
    monkeypatch.setattr("stream.engine.scheduler.STUCK_LOOKS", 6)


@contextlib.asynccontextmanager
async def scheduling(engine: FakeEngine) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(lambda: engine, MonotonicClock(), SchedulerConfig(max_sessions=2))
    await scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.stop()


def kill(requests: Sequence[StepRequest]) -> None:
    raise Killed


async def test_a_thread_that_dies_is_told_to_everybody_and_takes_nobody_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = FakeEngine(fail=kill)
    async with scheduling(engine) as scheduler:
        listener, other = Listener(), Listener()
        stream = scheduler.add_stream(await scheduler.open_state(IMAGE, 0), listener)
        scheduler.add_stream(await scheduler.open_state(IMAGE, 1), other)
        with caplog.at_level(logging.ERROR):
            stream.submit(window(0), 0.0)
            await until(lambda: bool(listener.failed and other.failed))
        assert listener.failed[0].message == "The engine has died; start the server again."
        assert "the engine's thread died" in caplog.text
        assert not scheduler.ready
        with pytest.raises(AdmissionError, match="The engine has died") as raised:
            scheduler.take_seat()
        assert (raised.value.code, raised.value.status) == ("engine_failed", 503)
        with pytest.raises(EngineError, match="has died"):
            await scheduler.open_state(IMAGE, 2)
    assert len(listener.failed) == 1


async def test_a_stuck_thread_is_noticed_not_waited_for_and_taken_back_when_it_comes_round(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = StuckEngine()
    async with scheduling(engine) as scheduler:
        listener = Listener()
        stream = scheduler.add_stream(await scheduler.open_state(IMAGE, 0), listener)
        engine.stuck = True
        stream.submit(window(0), 0.0)
        await until(engine.hanging.is_set)
        opening = asyncio.create_task(scheduler.open_state(IMAGE, 1))
        await until(lambda: bool(listener.failed))
        assert "at the same work" in listener.failed[0].message
        with pytest.raises(EngineError, match="at the same work"):
            await opening
        with pytest.raises(AdmissionError):
            scheduler.take_seat()
        stream.close()
        engine.let_go.set()
        await until(lambda: scheduler.ready)
        assert "came back" in caplog.text
        scheduler.take_seat().release()
    assert not engine.held


async def test_stopping_does_not_wait_for_a_stuck_thread() -> None:
    engine = StuckEngine()
    scheduler = Scheduler(lambda: engine, MonotonicClock(), SchedulerConfig())
    await scheduler.start()
    stream = scheduler.add_stream(await scheduler.open_state(IMAGE, 0), Listener())
    engine.stuck = True
    stream.submit(window(0), 0.0)
    await asyncio.sleep(0.1)
    async with asyncio.timeout(3):
        assert not await scheduler.stop()
    engine.let_go.set()


async def test_a_long_step_is_no_stuck_thread_where_warming_up_took_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(FakeEngine):
        def warm_up(self) -> None:
            threading.Event().wait(0.5)

    engine = Slow(cost_s=0.6)
    async with scheduling(engine) as scheduler:
        listener = Listener()
        stream = scheduler.add_stream(await scheduler.open_state(IMAGE, 0), listener)
        stream.submit(window(0), 0.0)
        await until(lambda: bool(listener.drawn))
        assert not listener.failed


async def test_a_server_whose_engine_died_says_so_to_callers_and_probes(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_server(tmp_path, lambda: engine) as running:
        caller = Caller()
        await caller.call(running)
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        engine.fail = kill
        await caller.until(lambda: bool(caller.received.of_type("error")))
        assert caller.received.of_type("error")[0]["error"] == "engine_failed"
        late = Caller()
        for method, path, body in (("GET", "/readyz", None), ("POST", "/offer", await late.offer())):
            response = await running.http.request(method, path, json=body)
            assert (response.status_code, response.json()["error"]) == (503, "engine_failed")
            assert response.json()["message"] == "The engine has died; start the server again."
        await caller.until(lambda: len(running.server.lobby) == 0)
        for each in (caller, late):
            await each.hang_up()
    assert running.server.broken == "The engine has died; start the server again."


async def test_every_state_is_given_back_whatever_becomes_of_its_stream() -> None:
    engine = FakeEngine()

    def prepare(states: Sequence[object]) -> list[object]:
        return [engine._hand_out(replace(state)) for state in states if isinstance(state, FakeState)]

    engine.prepare = prepare  # type: ignore[method-assign]
    async with scheduling(engine) as scheduler:
        listener = Listener()
        stream = scheduler.add_stream(await scheduler.open_state(IMAGE, 0), listener)
        for index in range(5):
            stream.submit(window(index), 0.0)
            await until(lambda wanted=index: len(listener.drawn) > wanted)
        await until(lambda: len(engine.held) == 1)
        stream.submit(window(5), 0.0)
        stream.restart(await scheduler.open_state(IMAGE, 1))  # another picture, while one may be in flight
        stream.rest()
        await until(lambda: listener.drawn[-1].first_frame is None and len(engine.held) == 1)
        gone = asyncio.create_task(scheduler.open_state(IMAGE, 2))
        await asyncio.sleep(0)
        gone.cancel()  # a session that ends while its picture is opened
        stream.submit(window(6), 0.0)
        stream.close()
        stream.close()
        stream.restart(await scheduler.open_state(IMAGE, 3))
        await until(lambda: not engine.held)
        scheduler.add_stream(await scheduler.open_state(IMAGE, 4), listener)  # left open: freed at the end
    assert not engine.held


async def test_busy_share_is_asked_under_the_lock_that_the_engine_writes_under() -> None:
    engine = FakeEngine()
    async with scheduling(engine) as scheduler:
        asked = threading.Event()

        def ask() -> None:
            scheduler.busy_share()
            asked.set()

        with scheduler._desk.wake:
            asking = threading.Thread(target=ask)
            asking.start()
            assert not asked.wait(0.1), "it waits for the lock"
        assert asked.wait(2)
        asking.join()
    assert np.isfinite(scheduler.busy_share())
