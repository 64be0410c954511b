"""Decides which sessions' windows the engine draws now, and owns the thread on which it draws them.

In, on the event loop: windows with deadlines, from any number of sessions. Out, on the event loop: drawn
frames, by callback. Between them one thread runs load, warm-up, open and step, so that whatever the engine
keeps per thread is built once. The batch is the earliest-deadline windows of different sessions, at most one
each (a session's next window needs the state its last one left), up to `spec.max_batch`.

Queues: each session has places for `queue_s` of windows; when they are full the oldest is dropped, since its
frames would be the latest. Work whose epoch has passed is dropped wherever it is, in flight included.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from stream.clock import Clock
from stream.engine.admission import Seat, Seats
from stream.engine.degradation import EffortLadder
from stream.engine.engine_stream import Drawn, EngineStream, Job, StreamListener
from stream.engine.protocol import Engine, EngineSpec, StepRequest, StepResult
from stream.engine.stepping import step_each
from stream.engine.windower import Window
from stream.errors import AdmissionError, EngineError
from stream.media import UInt8Array

logger = logging.getLogger(__name__)

SHORT_WAIT = 0.5
"""Share of a hop that a window may wait without the queue being called a standing one."""
STANDING_S = 0.5
"""A queue that stands so long is cut to its newest window."""
STILL_LOADING = "The engine is still loading; try again in a few seconds."


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Attributes:
    max_sessions: seats, those of sessions still being built included.
    queue_s: time that a session's waiting windows may cover; two of them may always wait.
    """

    max_sessions: int = 1
    queue_s: float = 0.32

    def __post_init__(self) -> None:
        if self.queue_s <= 0:
            raise ValueError(f"SchedulerConfig.queue_s must be positive, got {self.queue_s}")


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
        self._queue_s = config.queue_s
        self._queue_windows = 2
        self.seats = Seats(config.max_sessions)
        self.effort = EffortLadder(None, 1.0)
        self._engine: Engine | None = None
        self._wake = threading.Condition()
        self._calls: deque[tuple[Callable[[], object], Future[object]]] = deque()
        self._streams: list[EngineStream] = []
        self._unprepared: list[
            EngineStream
        ] = []  # drawn last, with nothing done ahead for their next window yet
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> EngineSpec:
        """Load and warm up the engine on its thread; raises what the loader raises."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="fada-engine", daemon=True)
        self._thread.start()
        await self._call(self._load_engine)
        return self.spec

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
    def spec(self) -> EngineSpec:
        """What the engine draws.

        Raises:
            AdmissionError: it is not loaded yet.
        """
        engine = self._engine
        if engine is None:
            raise AdmissionError("not_ready", STILL_LOADING)
        return engine.spec

    # -- sessions -----------------------------------------------------------------------------------------

    def take_seat(self) -> Seat:
        """Reserve a place, before the session is built.

        Raises:
            AdmissionError: not ready, or full.
        """
        if not self.ready:
            raise AdmissionError("not_ready", STILL_LOADING)
        return self.seats.take()

    async def open_state(self, image: UInt8Array, seed: int) -> object:
        """Build a stream's first state from a picture, on the engine thread.

        Raises:
            EngineError: the engine refused or failed.
        """

        def open_on_thread() -> object:
            assert self._engine is not None
            return self._engine.open(image, seed)

        try:
            return await self._call(open_on_thread)
        except EngineError:
            raise
        except Exception as error:
            logger.exception("the engine could not open a stream")
            message = f"The engine could not start from this picture: {error}"
            raise EngineError("engine_failed", message) from error

    def add_stream(self, state: object, listener: StreamListener) -> EngineStream:
        """Let a session's windows in."""
        stream = EngineStream(self, state, listener)
        with self._wake:
            self._streams.append(stream)
        return stream

    def submit(self, stream: EngineStream, window: Window, deadline_s: float) -> None:
        """See `EngineStream.submit`."""
        dropped: Job | None = None
        with self._wake:
            if stream.closed:
                return
            now_s = self._clock.now()
            if len(stream.jobs) >= self._places(stream, now_s):
                dropped = stream.jobs.popleft()
                self.effort.note_drop(now_s)
            stream.jobs.append(Job(window, stream.epoch, deadline_s, now_s))
            self._wake.notify_all()
        if dropped is not None and dropped.window is not None:
            stream.listener.on_dropped(dropped.window.first_frame)

    def _places(self, stream: EngineStream, now_s: float) -> int:
        """Windows of a stream that may wait; under the lock.

        A queue takes up a hiccup and is empty again. One that never empties means that the engine is too slow: it
        drops as many windows as a short queue would, and all that are drawn come later by its length. So there
        only the newest waits.
        """
        since_s = stream.waiting_since_s
        return 1 if since_s is not None and now_s - since_s > STANDING_S else self._queue_windows

    def restart(self, stream: EngineStream, state: object) -> int:
        """See `EngineStream.restart`."""
        with self._wake:
            stream.epoch += 1
            stream.state = state
            stream.jobs.clear()
            return stream.epoch

    def rest(self, stream: EngineStream) -> int:
        """See `EngineStream.rest`."""
        with self._wake:
            stream.epoch += 1
            stream.jobs.clear()
            if not stream.closed:
                now_s = self._clock.now()
                stream.jobs.append(Job(None, stream.epoch, -math.inf, now_s))
                self._wake.notify_all()
            return stream.epoch

    def close_stream(self, stream: EngineStream) -> None:
        """See `EngineStream.close`."""
        with self._wake:
            stream.closed = True
            stream.state = None
            stream.jobs.clear()
            if stream in self._streams:
                self._streams.remove(stream)
            if stream in self._unprepared:
                self._unprepared.remove(stream)

    # -- engine thread ------------------------------------------------------------------------------------

    def _load_engine(self) -> None:
        engine = self._load()
        engine.warm_up()
        self.effort = EffortLadder(engine.spec.nfe, engine.spec.hop_s)
        self._queue_windows = max(2, round(self._queue_s / engine.spec.hop_s))
        self._engine = engine

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
                while not (self._stopping or self._calls or self._waiting() or self._unprepared):
                    self._wake.wait()
                if self._stopping:
                    break
                call = self._calls.popleft() if self._calls else None
                batch = [] if call is not None else self._take_batch()
            if call is not None:
                _answer(*call)
            elif batch:
                self._draw(batch)
            else:
                self._prepare()
        for _, future in self._calls:
            future.set_exception(EngineError("not_ready", "The server is shutting down.", status=503))
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _waiting(self) -> list[EngineStream]:
        """Streams with a window that may be drawn now, the most urgent first; under the lock."""
        waiting = [stream for stream in self._streams if stream.jobs]
        return sorted(waiting, key=lambda stream: stream.jobs[0].deadline_s)

    def _take_batch(self) -> list[tuple[EngineStream, Job]]:
        """The windows to draw next; under the lock."""
        assert self._engine is not None
        chosen = self._waiting()[: self._engine.spec.max_batch]
        batch = [(stream, stream.jobs.popleft()) for stream in chosen]
        now_s, short_s = self._clock.now(), SHORT_WAIT * self._engine.spec.hop_s
        for stream, job in batch:
            if now_s - job.submitted_s <= short_s:
                stream.waiting_since_s = None
            elif stream.waiting_since_s is None:
                stream.waiting_since_s = job.submitted_s
        return batch

    def _draw(self, batch: list[tuple[EngineStream, Job]]) -> None:
        assert self._engine is not None
        with self._wake:
            requests = [
                StepRequest(stream.state, job.audio, self.effort.limit(stream.controls))
                for stream, job in batch
                if stream.is_current(job.epoch)
            ]
            batch = [(stream, job) for stream, job in batch if stream.is_current(job.epoch)]
        started_s = self._clock.now()
        outcomes = step_each(self._engine, requests)
        finished_s = self._clock.now()
        with self._wake:
            # A little lateness is the pacer's to absorb; half a hop of it is a lack of speed.
            limit_s = finished_s - self._engine.spec.hop_s / 2
            late = any(job.deadline_s < limit_s for _, job in batch if job.window is not None)
            self.effort.note_batch(finished_s, finished_s - started_s, late)
            for (stream, job), request, outcome in zip(batch, requests, outcomes, strict=True):
                if not stream.is_current(job.epoch):
                    continue
                if isinstance(outcome, StepResult):
                    stream.state = outcome.state
                    if stream not in self._unprepared:
                        self._unprepared.append(stream)
                    drawn = _drawn(job, request, outcome, (started_s, finished_s, len(batch)))
                    self._post(stream, job.epoch, partial(stream.listener.on_drawn, drawn))
                else:
                    self._streams.remove(stream)
                    self._post(stream, job.epoch, partial(stream.listener.on_failed, outcome))

    def _prepare(self) -> None:
        """Nothing waits: do ahead what the next windows of the streams drawn last need."""
        assert self._engine is not None
        with self._wake:
            most = self._engine.spec.max_batch
            streams, self._unprepared = self._unprepared[:most], self._unprepared[most:]
            streams = [stream for stream in streams if not stream.closed]
            before = [stream.state for stream in streams]
        try:
            after = self._engine.prepare(before) if before else []
        except Exception:  # the next window then does it itself, and says what fails
            logger.exception("the engine could not prepare %d streams", len(before))
            return
        with self._wake:
            for stream, old, new in zip(streams, before, after, strict=True):
                if stream.state is old:
                    stream.state = new

    def _post(self, stream: EngineStream, epoch: int, tell: Callable[[], None]) -> None:
        """Call the listener on the event loop, unless the epoch passes before it gets there."""
        assert self._loop is not None

        def on_loop() -> None:
            if stream.is_current(epoch):
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


def _drawn(job: Job, request: StepRequest, result: StepResult, timing: tuple[float, float, int]) -> Drawn:
    return Drawn(
        first_frame=None if job.window is None else job.window.first_frame,
        frames=result.frames,
        epoch=job.epoch,
        nfe=request.controls.nfe,
        batch=timing[2],
        submitted_s=job.submitted_s,
        started_s=timing[0],
        finished_s=timing[1],
        deadline_s=job.deadline_s,
        timings_ms=result.timings_ms,
    )
