"""One stream's line to the engine: the windows that wait, the state they go on from, the epoch that counts.

In, on the event loop: windows with deadlines, rests, new states. Out, on the engine thread: the job to draw next.
The stream owns its queue and what becomes of it: places for `EngineDesk.places` windows; when they are full the
oldest goes, since its frames would be the latest; work whose epoch has passed is dropped wherever it is. The
scheduler only asks: which window is the most urgent, take it, here is the state after it. All streams of one engine
share a desk, whose lock guards everything in it and in them.

States belong to the engine: each that it handed out is put on the desk's `spent` when nothing goes on from it any
more, and the engine's thread gives it back (`Engine.release`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stream.clock import Clock
from stream.engine.protocol import Controls, StepResult
from stream.engine.windower import Window
from stream.errors import EngineError
from stream.media import Float32Array, UInt8Array

logger = logging.getLogger(__name__)

STANDING_S = 0.5
"""A queue that stands so long is cut to its newest window."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One window's frames and the moments of its life, in the clock's seconds; a rest has no first frame."""

    first_frame: int | None
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
    """Who hears what became of a stream's windows, always on the event loop."""

    def on_drawn(self, drawn: Drawn) -> None:
        """A window of the present epoch was drawn."""
        ...

    def on_dropped(self, first_frame: int) -> None:
        """A waiting window was dropped, since the stream's places were full."""
        ...

    def on_failed(self, error: EngineError) -> None:
        """The engine failed on a window of this stream, or as a whole; it draws no more for it."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """A window waiting to be drawn; None is a rest."""

    window: Window | None
    epoch: int
    deadline_s: float
    submitted_s: float

    @property
    def audio(self) -> Float32Array | None:
        """What its window hears; None for a rest."""
        return None if self.window is None else self.window.audio

    def drawn(
        self, result: StepResult, nfe: int | None, batch: int, started_s: float, finished_s: float
    ) -> Drawn:
        """What became of it: drawn in a batch of so many windows, between two moments."""
        return Drawn(
            first_frame=None if self.window is None else self.window.first_frame,
            frames=result.frames,
            epoch=self.epoch,
            nfe=nfe,
            batch=batch,
            submitted_s=self.submitted_s,
            started_s=started_s,
            finished_s=finished_s,
            deadline_s=self.deadline_s,
            timings_ms=result.timings_ms,
        )


@dataclass(slots=True)
class EngineDesk:
    """What the streams of one engine share with its thread; `wake` guards it and them.

    Attributes:
        clock: the time.
        on_drop: told, under the lock, when a window was dropped from a full queue.
        places: windows of one stream that may wait.
        spent: states that nothing goes on from any more, to be given back by the engine's thread.
        wake: the lock; notified when there is something to do.
        loop: the event loop on which listeners hear.
    """

    clock: Clock
    on_drop: Callable[[float], None]
    places: int = 2
    spent: deque[object] = field(default_factory=deque)
    wake: threading.Condition = field(default_factory=threading.Condition)
    loop: asyncio.AbstractEventLoop | None = None

    def give_back(self, release: Callable[[object], None]) -> None:
        """Let the engine free what is spent; on its thread, without the lock."""
        while self.spent:
            try:
                release(self.spent.popleft())
            except Exception:  # it is the engine's own loss
                logger.exception("the engine could not release a state")


class EngineStream:
    """See the module's docstring. `controls` may be set at any time and counts from the next window.

    Args:
        desk: see `EngineDesk`.
        state: the engine's first state; the stream's from now on.
        listener: hears of its windows.
    """

    def __init__(self, desk: EngineDesk, state: object, listener: StreamListener) -> None:
        self._desk = desk
        self.listener = listener
        self.controls = Controls()
        self.epoch = 0
        self.state: object | None = state
        self.closed = False
        self._jobs: deque[Job] = deque()
        self._waiting_since_s: float | None = None  # since when no window was drawn soon after it came

    # -- event loop ---------------------------------------------------------------------------------------

    def submit(self, window: Window, deadline_s: float) -> None:
        """Queue a window whose first frame is due at `deadline_s`.

        Drops the oldest if the places are full; while the queue stands, there is one.
        """
        dropped: Job | None = None
        with self._desk.wake:
            if self.closed:
                return
            now_s = self._desk.clock.now()
            if len(self._jobs) >= self._places(now_s):
                dropped = self._jobs.popleft()
                self._desk.on_drop(now_s)
            self._jobs.append(Job(window, self.epoch, deadline_s, now_s))
            self._desk.wake.notify_all()
        if dropped is not None and dropped.window is not None:
            self.listener.on_dropped(dropped.window.first_frame)

    def restart(self, state: object) -> int:
        """Begin a new epoch from another state (a new avatar); returns its number."""
        with self._desk.wake:
            self.epoch += 1
            self._jobs.clear()
            self._desk.spent.append(state if self.closed else self.state)
            if not self.closed:
                self.state = state
            self._desk.wake.notify_all()
            return self.epoch

    def rest(self) -> int:
        """Begin a new epoch with a mouth that eases to rest, before anybody else's windows; returns its number."""
        with self._desk.wake:
            self.epoch += 1
            self._jobs.clear()
            if not self.closed:
                self._jobs.append(Job(None, self.epoch, -math.inf, self._desk.clock.now()))
                self._desk.wake.notify_all()
            return self.epoch

    def close(self) -> None:
        """Drop what waits and what is in flight, and give the state back; doing it again does nothing."""
        with self._desk.wake:
            if self.closed:
                return
            self.closed = True
            self._jobs.clear()
            self._desk.spent.append(self.state)
            self.state = None
            self._desk.wake.notify_all()

    def is_current(self, epoch: int) -> bool:
        """Whether work of that epoch still matters."""
        return epoch == self.epoch and not self.closed

    # -- engine thread, under the desk's lock --------------------------------------------------------------

    @property
    def waits(self) -> int:
        """Windows that wait to be drawn."""
        return len(self._jobs)

    @property
    def deadline_s(self) -> float:
        """When the first frame of the window that waits longest is due; later than all where none waits."""
        return self._jobs[0].deadline_s if self._jobs else math.inf

    def take(self, now_s: float, soon_s: float) -> Job:
        """The window that waits longest; one drawn within `soon_s` of its coming ends a standing queue."""
        job = self._jobs.popleft()
        if now_s - job.submitted_s <= soon_s:
            self._waiting_since_s = None
        elif self._waiting_since_s is None:
            self._waiting_since_s = job.submitted_s
        return job

    def go_on_from(self, state: object) -> None:
        """Take the state after the window just drawn; the one before it is spent."""
        if state is not self.state:
            self._desk.spent.append(self.state)
            self.state = state

    def post(self, epoch: int, tell: Callable[[], None]) -> None:
        """Tell the listener, on the event loop, unless the epoch passes before it gets there."""
        loop = self._desk.loop
        assert loop is not None

        def on_loop() -> None:
            if self.is_current(epoch):
                tell()

        if not loop.is_closed():
            loop.call_soon_threadsafe(on_loop)

    def _places(self, now_s: float) -> int:
        """Windows that may wait.

        A queue takes up a hiccup and is empty again. One that never empties means that the engine is too slow: it
        drops as many windows as a short queue would, and all that are drawn come later by its length. So there
        only the newest waits.
        """
        since_s = self._waiting_since_s
        return 1 if since_s is not None and now_s - since_s > STANDING_S else self._desk.places
