"""Admission (seats): how many sessions there may be, those still being built included. Event loop only."""

from __future__ import annotations

from collections.abc import Callable

from stream.errors import AdmissionError


class Seat:
    """One session's place; taken before anything is built for it, given back once."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def release(self) -> None:
        """Give the place back; doing it again does nothing."""
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()


class Seats:
    """A fixed number of places."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"Expected --max-sessions of at least 1, got {limit}.")
        self.limit = limit
        self.taken = 0

    def take(self) -> Seat:
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
        return Seat(self._give_back)

    def _give_back(self) -> None:
        self.taken -= 1
