"""Time as an object, so that tests own it. Seconds on a monotonic scale whose zero means nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock on which tasks wait for a moment, never for a length."""

    def now(self) -> float:
        """The present moment in seconds."""
        ...

    async def sleep_until(self, when_s: float) -> None:
        """Return once `now() >= when_s`; yields to other tasks even when that moment has passed."""
        ...


class MonotonicClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when_s: float) -> None:
        # asyncio may wake a hair early (its timers are rounded to the clock's resolution), hence the loop.
        delay_s = when_s - time.monotonic()
        while True:
            await asyncio.sleep(max(delay_s, 0.0))
            delay_s = when_s - time.monotonic()
            if delay_s <= 0.0:
                return
