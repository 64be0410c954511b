"""Admission (seats): how many calls there may be, those still being built included. Event loop only.

A *seat* is one call's place, and says which scheduler draws for it. A `Pool` is whoever gives seats out: one
scheduler with one engine, or several engines behind the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stream.engine.engine_stream import EngineStream, StreamListener
from stream.engine.protocol import EngineSpec
from stream.errors import AdmissionError, EngineError
from stream.media import UInt8Array


class Draws(Protocol):
    """Who draws for a seat; `stream.engine.scheduler.Scheduler` is the real one, and says what each word means."""

    @property
    def spec(self) -> EngineSpec: ...

    @property
    def nfe(self) -> int | None: ...

    def busy_share(self) -> float: ...

    async def open_state(self, image: UInt8Array, seed: int) -> object: ...

    def add_stream(self, state: object, listener: StreamListener) -> EngineStream: ...


class Seat:
    """One call's place; taken before anything is built for it, given back once.

    Args:
        scheduler: draws for who sits here.
        give_back: frees the place.
    """

    def __init__(self, scheduler: Draws, give_back: Callable[[], None]) -> None:
        self.scheduler = scheduler
        self._give_back: Callable[[], None] | None = give_back

    def release(self) -> None:
        """Give the place back; doing it again does nothing."""
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()


class Pool(Protocol):
    """Gives seats out. All of its engines draw the same, so that one `spec` holds for every seat."""

    @property
    def spec(self) -> EngineSpec:
        """What its engines draw.

        Raises:
            AdmissionError: none is loaded yet.
        """
        ...

    @property
    def seats_taken(self) -> int:
        """Seats that are taken now."""
        ...

    @property
    def problem(self) -> EngineError | None:
        """Why nothing is drawn any more, if that is so."""
        ...

    def check_ready(self) -> None:
        """Find out whether one more could be drawn, room aside.

        Raises:
            AdmissionError: no engine that could draw (`not_ready`, `engine_failed`).
        """
        ...

    def take_seat(self) -> Seat:
        """Reserve a place.

        Raises:
            AdmissionError: `server_full`, or no engine that could draw (`not_ready`, `engine_failed`).
        """
        ...


class Seats:
    """A fixed number of places.

    Args:
        limit: how many.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"Expected --max-sessions of at least 1, got {limit}.")
        self.limit = limit
        self.taken = 0

    def take(self, scheduler: Draws) -> Seat:
        """Reserve a place.

        Raises:
            AdmissionError: all are taken.
        """
        if self.taken >= self.limit:
            raise AdmissionError(
                "server_full",
                f"All {self.limit} places of this server are taken; wait until a session ends, or start "
                "the server with a larger --max-sessions.",
            )
        self.taken += 1
        return Seat(scheduler, self._give_back)

    def _give_back(self) -> None:
        self.taken -= 1
