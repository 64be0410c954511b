"""Decides which sessions' windows the engine draws now, and owns the thread on which it draws them.

In, on the event loop: windows with deadlines, from any number of sessions. Out, on the event loop: drawn
frames, by callback. Between them one thread (`stream.engine.engine_thread`) runs load, warm-up, open, step and
release. The batch is the earliest-deadline windows of different sessions, at most one each (a session's next window
needs the state its last one left), up to `spec.max_batch`. What waits, and what is dropped, is each stream's own
matter (`stream.engine.engine_stream`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from stream.clock import Clock
from stream.engine.admission import Seat, Seats
from stream.engine.degradation import EffortLadder
from stream.engine.engine_stream import Drawn, EngineDesk, EngineStream, Job, StreamListener
from stream.engine.engine_thread import LOOK_EVERY_S, STUCK_LOOKS, EngineThread
from stream.engine.protocol import Engine, EngineSpec, StepRequest, StepResult
from stream.engine.stepping import step_each
from stream.errors import AdmissionError, EngineError
from stream.media import UInt8Array

logger = logging.getLogger(__name__)

SHORT_WAIT: Final = 0.5
"""Share of a hop that a window may wait without the queue being called a standing one."""
STILL_LOADING: Final = "The engine is still loading; try again in a few seconds."


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
    """A pool of one engine; see the module's docstring and `stream.engine.admission.Pool`.

    Args:
        load: builds the engine; runs on the engine thread.
        clock: for deadlines and timings.
        config: see `SchedulerConfig`.
    """

    def __init__(self, load: Callable[[], Engine], clock: Clock, config: SchedulerConfig) -> None:
        self._load = load
        self._clock = clock
        self._queue_s = config.queue_s
        self.seats = Seats(config.max_sessions)
        self._effort = EffortLadder(None, 1.0)
        self._engine: Engine | None = None
        self._desk = EngineDesk(clock, on_drop=lambda now_s: self._effort.note_drop(now_s))
        self._streams: list[EngineStream] = []
        self._unprepared: list[
            EngineStream
        ] = []  # drawn last; nothing was done ahead for their next window yet
        self._thread = EngineThread(self._desk.wake, self)
        self._watching: asyncio.Task[None] | None = None
        self._warm_up_s = 0.0

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> EngineSpec:
        """Load and warm up the engine on its thread; raises what the loader raises."""
        self._desk.loop = asyncio.get_running_loop()
        self._thread.start()
        await self._thread.call(self._load_engine, lambda nothing: None)
        looks = max(STUCK_LOOKS, round(2 * self._warm_up_s / LOOK_EVERY_S))
        self._watching = asyncio.create_task(self._thread.watch(self._on_problem, looks), name="engine-watch")
        return self.spec

    async def stop(self) -> bool:
        """Finish the step in flight, close the engine and end the thread; False if it could not be ended."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        return await self._thread.stop()

    @property
    def ready(self) -> bool:
        """Whether the engine is loaded, warm and well."""
        return self._engine is not None and not self._thread.stopping and self._thread.problem is None

    @property
    def problem(self) -> EngineError | None:
        """Why the engine draws nothing any more, if it has died or is stuck."""
        return self._thread.problem

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

    @property
    def nfe(self) -> int | None:
        """Evaluations a window may cost now."""
        return self._effort.nfe

    def busy_share(self) -> float:
        """Share of the last seconds that the engine spent drawing, 0 … 1."""
        with self._desk.wake:  # the engine's thread writes the same figures
            return self._effort.busy_share(self._clock.now())

    # -- sessions -----------------------------------------------------------------------------------------

    @property
    def seats_taken(self) -> int:
        """Seats that are taken now."""
        return self.seats.taken

    def take_seat(self) -> Seat:
        """Reserve a place, before the session is built.

        Raises:
            AdmissionError: not ready, broken, or full.
        """
        self.check_ready()
        return self.seats.take(self)

    def check_ready(self) -> None:
        """Find out whether the engine could draw for one more.

        Raises:
            AdmissionError: it is not loaded yet, or it has died or is stuck.
        """
        if self.problem is not None:
            raise AdmissionError(self.problem.code, self.problem.message)
        if not self.ready:
            raise AdmissionError("not_ready", STILL_LOADING)

    async def open_state(self, image: UInt8Array, seed: int) -> object:
        """Build a stream's first state from a picture, on the engine thread.

        Raises:
            EngineError: the engine refused or failed.
        """

        def open_on_thread() -> object:
            assert self._engine is not None
            return self._engine.open(image, seed)

        try:
            return await self._thread.call(open_on_thread, self._desk.spent.append)
        except EngineError:
            raise
        except Exception as error:
            logger.exception("the engine could not open a stream")
            message = f"The engine could not start from this picture: {error}"
            raise EngineError("engine_failed", message) from error

    def add_stream(self, state: object, listener: StreamListener) -> EngineStream:
        """Let a session's windows in; they go on from `state`, which is the stream's from now on."""
        stream = EngineStream(self._desk, state, listener)
        with self._desk.wake:
            self._streams.append(stream)
        return stream

    def _on_problem(self, error: EngineError) -> None:
        """The engine as a whole draws nothing any more: tell every stream."""
        with self._desk.wake:
            streams, self._streams = self._streams, []
        for stream in streams:
            if not stream.closed:
                stream.listener.on_failed(error)

    # -- engine thread ------------------------------------------------------------------------------------

    def _load_engine(self) -> None:
        engine = self._load()
        began_s = time.monotonic()
        engine.warm_up()
        self._warm_up_s = time.monotonic() - began_s
        self._effort = EffortLadder(engine.spec.nfe, engine.spec.hop_s)
        self._desk.places = max(2, round(self._queue_s / engine.spec.hop_s))
        self._engine = engine

    def wanted(self) -> bool:
        """Whether there is something to draw, to prepare or to give back; under the lock."""
        return bool(self._desk.spent or self._unprepared or any(stream.waits for stream in self._streams))

    def round(self) -> None:
        """Draw one batch, or, where nothing waits, prepare what comes next; then give spent states back."""
        with self._desk.wake:
            batch = self._take_batch()
        if batch:
            self._draw(batch)
        else:
            self._prepare()
        assert self._engine is not None
        self._desk.give_back(self._engine.release)

    def end(self) -> None:
        """Give everything back and close the engine."""
        if self._thread.stopping:  # else it has died, and `_on_problem` will tell them
            for stream in self._streams:
                stream.close()
        if self._engine is not None:
            self._desk.give_back(self._engine.release)
            self._engine.close()
            self._engine = None

    def _take_batch(self) -> list[tuple[EngineStream, Job]]:
        """The windows to draw next, the most urgent first; under the lock."""
        self._streams = [stream for stream in self._streams if not stream.closed]
        waiting = sorted(
            (stream for stream in self._streams if stream.waits), key=lambda stream: stream.deadline_s
        )
        if not waiting:
            return []
        assert self._engine is not None
        now_s, soon_s = self._clock.now(), SHORT_WAIT * self._engine.spec.hop_s
        return [(stream, stream.take(now_s, soon_s)) for stream in waiting[: self._engine.spec.max_batch]]

    def _draw(self, batch: list[tuple[EngineStream, Job]]) -> None:
        assert self._engine is not None
        with self._desk.wake:
            batch = [(stream, job) for stream, job in batch if stream.is_current(job.epoch)]
            requests = [
                StepRequest(stream.state, job.audio, self._effort.limit(stream.controls))
                for stream, job in batch
            ]
        started_s = self._clock.now()
        outcomes = step_each(self._engine, requests)
        finished_s = self._clock.now()
        with self._desk.wake:
            # A little lateness is the pacer's to absorb; half a hop of it is a lack of speed.
            limit_s = finished_s - self._engine.spec.hop_s / 2
            late = any(job.deadline_s < limit_s for _, job in batch if job.window is not None)
            self._effort.note_batch(finished_s, finished_s - started_s, late)
            for (stream, job), request, outcome in zip(batch, requests, outcomes, strict=True):
                if isinstance(outcome, StepResult):
                    drawn = job.drawn(outcome, request.controls.nfe, len(batch), started_s, finished_s)
                    self._hand_on(stream, drawn, request.state, outcome.state)
                elif stream.is_current(job.epoch) and stream in self._streams:
                    self._streams.remove(stream)
                    stream.post(job.epoch, partial(stream.listener.on_failed, outcome))

    def _hand_on(self, stream: EngineStream, drawn: Drawn, before: object, after: object) -> None:
        """Let a stream go on from what was drawn, and hear of it; under the lock."""
        if stream.is_current(drawn.epoch):
            stream.go_on_from(after)
            if stream not in self._unprepared:
                self._unprepared.append(stream)
            stream.post(drawn.epoch, partial(stream.listener.on_drawn, drawn))
        elif after is not before:
            self._desk.spent.append(after)

    def _prepare(self) -> None:
        """Nothing waits: do ahead what the next windows of the streams drawn last need."""
        assert self._engine is not None
        with self._desk.wake:
            most = self._engine.spec.max_batch
            streams, self._unprepared = self._unprepared[:most], self._unprepared[most:]
            streams = [stream for stream in streams if not stream.closed]
            before = [stream.state for stream in streams]
        try:
            after = self._engine.prepare(before) if before else []
        except Exception:  # the next window then does it itself, and says what fails
            logger.exception("the engine could not prepare %d streams", len(before))
            return
        with self._desk.wake:
            for stream, old, new in zip(streams, before, after, strict=True):
                if stream.state is old:
                    stream.go_on_from(new)
                elif new is not old:
                    self._desk.spent.append(new)
