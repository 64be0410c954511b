"""Decides which sessions' windows the engine draws now, and owns the thread on which it draws them.

In, on the event loop: windows with deadlines, from any number of sessions. Out, on the event loop: drawn frames,
by callback. Between them one thread runs load, warm-up, open and step, so that whatever the engine keeps per
thread is built once. The batch is the earliest-deadline windows of different sessions, at most one each (a
session's next window needs the state its last one left), up to `spec.max_batch`.

Queues: each session has `queue_windows` places; when they are full the oldest window is dropped, since its
frames would be the latest. Work whose epoch has passed is dropped wherever it is, in flight included.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from stream.clock import Clock
from stream.effort import EffortLadder
from stream.engine_protocol import Controls, Engine, EngineSpec, StepRequest, StepResult, UInt8Array
from stream.errors import AdmissionError, EngineError
from stream.windower import Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Attributes:
    max_sessions: seats, those of sessions still being built included.
    queue_windows: windows a session may have waiting.
    """

    max_sessions: int = 1
    queue_windows: int = 2

    def __post_init__(self) -> None:
        for name in ("max_sessions", "queue_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"SchedulerConfig.{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Drawn:
    """One window's frames and the moments of its life, in the clock's seconds."""

    first_frame: int
    frames: UInt8Array
    epoch: int
    nfe: int | None
    batch: int
    submitted_s: float
    started_s: float
    finished_s: float
    deadline_s: float
    timings_ms: dict[str, float]


class StreamListener(Protocol):
    """What a session hears from the scheduler, always on the event loop."""

    def on_drawn(self, drawn: Drawn) -> None: ...

    def on_dropped(self, first_frame: int) -> None: ...

    def on_failed(self, error: EngineError) -> None: ...


@dataclass(slots=True, eq=False)
class _Job:
    window: Window
    epoch: int
    deadline_s: float
    submitted_s: float


class Seat:
    """One session's place; taken before anything is built for it, given back once."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def release(self) -> None:
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()


class EngineStream:
    """One session's stream of windows through the engine. Methods are called on the event loop."""

    def __init__(self, scheduler: Scheduler, state: object, listener: StreamListener) -> None:
        self._scheduler = scheduler
        self.listener = listener
        self.controls = Controls()
        self.epoch = 0
        # The scheduler's own, under its lock.
        self.state = state
        self.jobs: deque[_Job] = deque()
        self.running = False
        self.closed = False

    def submit(self, window: Window, deadline_s: float) -> None:
        """Queue a window whose first frame is due at `deadline_s`; the oldest waiting one goes if it is full."""
        self._scheduler.submit(self, window, deadline_s)

    def restart(self, state: object) -> int:
        """Begin a new epoch from another state (new avatar, barge-in); returns its number."""
        return self._scheduler.restart(self, state)

    def close(self) -> None:
        """Drop what waits and what is in flight, and let go of the state."""
        self._scheduler.close_stream(self)


class Scheduler:
    """See the module's docstring.

    Args:
        load: builds the engine; runs on the engine thread.
        clock: for deadlines and timings.
        config: see `SchedulerConfig`.
    """

    def __init__(self, load: Callable[[], Engine], clock: Clock, config: SchedulerConfig) -> None:
        self._load = load
        self._clock = clock
        self._config = config
        self._engine: Engine | None = None
        self._wake = threading.Condition()
        self._calls: deque[tuple[Callable[[], object], Future[object]]] = deque()
        self._streams: list[EngineStream] = []
        self._seats = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.effort = EffortLadder(None, 1.0)
        self.dropped_windows = 0

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> EngineSpec:
        """Load and warm up the engine on its thread; raises what the loader raises."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="fada-engine", daemon=True)
        self._thread.start()
        spec = await self._call(self._load_engine)
        assert isinstance(spec, EngineSpec)
        self.effort = EffortLadder(spec.nfe, spec.hop_s)
        return spec

    async def stop(self) -> None:
        """Finish the step in flight, close the engine and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    @property
    def ready(self) -> bool:
        """Whether the engine is loaded and warm."""
        return self._engine is not None and not self._stopping

    @property
    def seats_taken(self) -> int:
        return self._seats

    @property
    def max_sessions(self) -> int:
        return self._config.max_sessions

    @property
    def spec(self) -> EngineSpec:
        if self._engine is None:
            raise AdmissionError("not_ready", "The engine is still loading; try again in a few seconds.")
        return self._engine.spec

    # -- sessions -----------------------------------------------------------------------------------------

    def take_seat(self) -> Seat:
        """Reserve a place, before the session is built.

        Raises:
            AdmissionError: not ready, or full.
        """
        if not self.ready:
            raise AdmissionError("not_ready", "The engine is still loading; try again in a few seconds.")
        if self._seats >= self._config.max_sessions:
            limit = self._config.max_sessions
            raise AdmissionError(
                "server_full",
                f"All {limit} places of this server are taken; wait until a session ends, or start the server "
                "with a larger --max-sessions.",
            )
        self._seats += 1
        return Seat(self._give_seat_back)

    async def open_state(self, image: UInt8Array, seed: int) -> object:
        """Build a stream's first state from a picture, on the engine thread.

        Raises:
            EngineError: the engine refused or failed.
        """
        engine = self._engine
        assert engine is not None
        try:
            return await self._call(lambda: engine.open(image, seed))
        except (EngineError, asyncio.CancelledError):
            raise
        except Exception as error:
            logger.exception("the engine could not open a stream")
            raise EngineError(
                "engine_failed", f"The engine could not start from this picture: {error}"
            ) from error

    def add_stream(self, state: object, listener: StreamListener) -> EngineStream:
        """Let a session's windows in."""
        stream = EngineStream(self, state, listener)
        with self._wake:
            self._streams.append(stream)
        return stream

    def submit(self, stream: EngineStream, window: Window, deadline_s: float) -> None:
        dropped: _Job | None = None
        with self._wake:
            if stream.closed:
                return
            if len(stream.jobs) >= self._config.queue_windows:
                dropped = stream.jobs.popleft()
                self.dropped_windows += 1
                self.effort.note_drop(self._clock.now())
            stream.jobs.append(_Job(window, stream.epoch, deadline_s, self._clock.now()))
            self._wake.notify_all()
        if dropped is not None:
            stream.listener.on_dropped(dropped.window.first_frame)

    def restart(self, stream: EngineStream, state: object) -> int:
        with self._wake:
            stream.epoch += 1
            stream.state = state
            stream.jobs.clear()
            return stream.epoch

    def close_stream(self, stream: EngineStream) -> None:
        with self._wake:
            stream.closed = True
            stream.epoch += 1
            stream.jobs.clear()
            stream.state = None
            if stream in self._streams:
                self._streams.remove(stream)

    def _give_seat_back(self) -> None:
        self._seats -= 1

    # -- engine thread ------------------------------------------------------------------------------------

    def _load_engine(self) -> EngineSpec:
        engine = self._load()
        engine.warm_up()
        self._engine = engine
        return engine.spec

    async def _call(self, work: Callable[[], object]) -> object:
        """Run `work` on the engine thread, between two batches."""
        future: Future[object] = Future()
        with self._wake:
            if self._stopping:
                raise EngineError("not_ready", "The server is shutting down.", status=503)
            self._calls.append((work, future))
            self._wake.notify_all()
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._stopping or self._calls or self._pick()):
                    self._wake.wait()
                if self._stopping:
                    break
                call = self._calls.popleft() if self._calls else None
                batch = self._pick()
                for stream, _ in batch:
                    stream.running = True
            if call is not None:
                _answer(*call)
            if batch:
                self._draw(batch)
        self._end()

    def _end(self) -> None:
        for _, future in self._calls:
            future.set_exception(EngineError("not_ready", "The server is shutting down.", status=503))
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _pick(self) -> list[tuple[EngineStream, _Job]]:
        """The batch to draw now; called under the lock. Leaves the jobs queued until `_draw` takes them."""
        if self._engine is None:
            return []
        waiting = [stream for stream in self._streams if stream.jobs and not stream.running]
        waiting.sort(key=lambda stream: stream.jobs[0].deadline_s)
        return [(stream, stream.jobs[0]) for stream in waiting[: self._engine.spec.max_batch]]

    def _draw(self, batch: list[tuple[EngineStream, _Job]]) -> None:
        with self._wake:
            taken = [(stream, job) for stream, job in batch if stream.jobs and stream.jobs[0] is job]
            for stream, _ in taken:
                stream.jobs.popleft()
            requests = [
                StepRequest(stream.state, job.window.audio, self.effort.limit(stream.controls))
                for stream, job in taken
            ]
        started_s = self._clock.now()
        outcomes = self._step(requests)
        finished_s = self._clock.now()
        late = any(finished_s > job.deadline_s for _, job in taken)
        with self._wake:
            self.effort.note_batch(finished_s, finished_s - started_s, late)
            for stream, _ in batch:
                stream.running = False
            for (stream, job), request, outcome in zip(taken, requests, outcomes, strict=True):
                current = job.epoch == stream.epoch and not stream.closed
                if current and isinstance(outcome, StepResult):
                    stream.state = outcome.state
                if current:
                    self._report(stream, job, request, outcome, (started_s, finished_s, len(taken)))

    def _step(self, requests: Sequence[StepRequest]) -> list[StepResult | EngineError]:
        """One engine step; when a batch fails, each of its windows alone, so that only the culprit pays."""
        engine = self._engine
        assert engine is not None
        if not requests:
            return []
        try:
            results = engine.step(requests)
            _check_results(results, len(requests), engine.spec)
            return list(results)
        except Exception as error:
            logger.exception("the engine failed on a batch of %d", len(requests))
            if len(requests) > 1:
                return [self._step([request])[0] for request in requests]
            return [EngineError("engine_failed", f"The engine failed while drawing this session: {error}")]

    def _report(
        self,
        stream: EngineStream,
        job: _Job,
        request: StepRequest,
        outcome: StepResult | EngineError,
        timing: tuple[float, float, int],
    ) -> None:
        assert self._loop is not None
        if isinstance(outcome, EngineError):
            self._post(stream, job.epoch, lambda: stream.listener.on_failed(outcome))
            return
        drawn = Drawn(
            first_frame=job.window.first_frame,
            frames=outcome.frames,
            epoch=job.epoch,
            nfe=request.controls.nfe,
            batch=timing[2],
            submitted_s=job.submitted_s,
            started_s=timing[0],
            finished_s=timing[1],
            deadline_s=job.deadline_s,
            timings_ms=outcome.timings_ms,
        )
        self._post(stream, job.epoch, lambda: stream.listener.on_drawn(drawn))

    def _post(self, stream: EngineStream, epoch: int, tell: Callable[[], None]) -> None:
        """Call the listener on the event loop, unless the epoch passes before it gets there."""
        assert self._loop is not None

        def on_loop() -> None:
            if stream.epoch == epoch and not stream.closed:
                tell()

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(on_loop)


def _answer(work: Callable[[], object], future: Future[object]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)


def _check_results(results: Sequence[StepResult], expected: int, spec: EngineSpec) -> None:
    if len(results) != expected:
        raise EngineError("engine_failed", f"expected {expected} results from the engine, got {len(results)}")
    shape = (spec.hop_frames, spec.height, spec.width, 3)
    for result in results:
        if result.frames.shape != shape or result.frames.dtype.name != "uint8":
            raise EngineError(
                "engine_failed",
                f"expected frames {shape} uint8 from the engine, got {result.frames.shape} {result.frames.dtype}",
            )
