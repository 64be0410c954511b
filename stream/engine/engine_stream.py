"""One session's line to the engine: its waiting windows, its state, its epoch.

Made by the scheduler, used by a session on the event loop. The fields below `state` belong to the scheduler
and are read and written under its lock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from stream.engine.protocol import Controls
from stream.engine.windower import Window
from stream.errors import EngineError
from stream.media import Float32Array, UInt8Array


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
    """What a session hears from the scheduler, always on the event loop."""

    def on_drawn(self, drawn: Drawn) -> None:
        """A window of the present epoch was drawn."""
        ...

    def on_dropped(self, first_frame: int) -> None:
        """A waiting window was dropped, since the session's places were full."""
        ...

    def on_failed(self, error: EngineError) -> None:
        """The engine failed on a window of this session; it draws no more for it."""
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


class StreamKeeper(Protocol):
    """What a stream asks of its scheduler."""

    def submit(self, stream: EngineStream, window: Window, deadline_s: float) -> None: ...

    def restart(self, stream: EngineStream, state: object) -> int: ...

    def rest(self, stream: EngineStream) -> int: ...

    def close_stream(self, stream: EngineStream) -> None: ...


class EngineStream:
    """See the module's docstring. `controls` may be set at any time and counts from the next window."""

    def __init__(self, keeper: StreamKeeper, state: object, listener: StreamListener) -> None:
        self._keeper = keeper
        self.listener = listener
        self.controls = Controls()
        self.epoch = 0
        self.state = state
        self.jobs: deque[Job] = deque()
        self.waiting_since_s: float | None = None  # since when no window was drawn soon after it came
        self.closed = False

    def submit(self, window: Window, deadline_s: float) -> None:
        """Queue a window whose first frame is due at `deadline_s`.

        Drops the oldest if the places are full; while the queue stands, there is one.
        """
        self._keeper.submit(self, window, deadline_s)

    def restart(self, state: object) -> int:
        """Begin a new epoch from another state (a new avatar); returns its number."""
        return self._keeper.restart(self, state)

    def rest(self) -> int:
        """Begin a new epoch with a mouth that eases to rest, before anybody else's windows; returns its number."""
        return self._keeper.rest(self)

    def close(self) -> None:
        """Drop what waits and what is in flight, and let go of the state."""
        self._keeper.close_stream(self)

    def is_current(self, epoch: int) -> bool:
        """Whether work of that epoch still matters."""
        return epoch == self.epoch and not self.closed
