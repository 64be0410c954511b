"""Relays for a caller without an event loop: they live on a loop in a thread of their own.

In flow an answer's description, once per call; out flows the one that leads through a new
`bench.call.relay.Relay`, and what the latest relay saw. For `bench.call.browser.call`, whose thread
Playwright holds.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from bench.call.relay import Impairment, Relay, stand_between

T = TypeVar("T")

WITHIN_S = 10.0


class RelayThread:
    """A context manager; a description is left as it is where the network is not to do anything.

    Args:
        up, down: what happens on the way there and back; None is nothing.
    """

    def __init__(self, up: Impairment | None = None, down: Impairment | None = None) -> None:
        self._up = up
        self._down = down
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")
        self._relays: list[Relay] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ask(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lead(self, sdp: str) -> str:
        """The description, leading through a new relay."""
        if self._up is None and self._down is None:
            return sdp
        relay, led = self._ask(stand_between(sdp, self._up, self._down))
        self._relays.append(relay)
        return led

    def counts(self) -> dict[str, dict[str, int]]:
        """Of the latest call: see `Relay.counts`; empty without a relay."""
        return self._ask(self._count())

    async def _count(self) -> dict[str, dict[str, int]]:
        return self._relays[-1].counts() if self._relays else {}

    async def _close(self) -> None:
        for relay in self._relays:
            relay.close()

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN_S)
