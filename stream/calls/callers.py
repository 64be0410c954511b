"""The callers of one call, one after the other: lets each give its sound, and waits for the next.

In: callers that have been answered (`come`). Out: their sound into the face, and who pulls the call's tracks. A
caller that is lost leaves the face at rest and the call away; so does one whose place another takes, for a
moment. Event loop only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from stream.calls.broadcast import Broadcast
from stream.calls.session_state import SessionState
from stream.live.caller import Caller
from stream.live.face import Face

logger = logging.getLogger(__name__)

CONNECT_WITHIN_S: Final = 10.0


class Callers:
    """See the module's docstring.

    Args:
        face: hears them.
        broadcast: what they take.
        grace_s: how long the call waits for one to come back.
        go: told of the call's states.
    """

    def __init__(
        self, face: Face, broadcast: Broadcast, grace_s: float, go: Callable[[SessionState], None]
    ) -> None:
        self._face = face
        self._broadcast = broadcast
        self._grace_s = grace_s
        self._go = go
        self.now: Caller | None = None
        self.away_since_s: float | None = None
        self._next: Caller | None = None
        self._came = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()

    def come(self, caller: Caller, moved_on: Mapping[str, object]) -> None:
        """Take an answered caller as the next; who calls now hears `moved_on` and leaves."""
        if self._next is not None:
            self._dismiss(self._next)
        self._next = caller
        self._came.set()
        if self.now is not None:
            self.now.tell("error", moved_on)
            self.now.leave("replaced")

    async def attend(self) -> str:
        """Attend to one caller after the other.

        Returns:
            Why the last one has gone, when nobody came back in time, or the first never connected.
        """
        reason, lived = "", False
        while (caller := await self._await_next(lived)) is not None:
            self._go(SessionState.CONNECTING)
            self.now = caller
            reason, connected = await self._attend(
                caller
            )  # where this is cancelled, `close` sees to the caller
            self.now = None
            self._dismiss(caller)
            lived = lived or connected
            if not lived and self._next is None:
                return reason
            self._go(SessionState.AWAY)
            self._broadcast.pull_for(None)
            if connected:
                self._face.clear()
        return reason

    async def _await_next(self, lived: bool) -> Caller | None:
        """Who was answered last; None if nobody is in time."""
        if self._next is None and lived:
            self.away_since_s = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(self._grace_s):
                    await self._came.wait()
            except TimeoutError:
                return None
            finally:
                self.away_since_s = None
        self._came.clear()
        caller, self._next = self._next, None
        assert caller is not None, "a call begins with a caller"
        return caller

    async def _attend(self, caller: Caller) -> tuple[str, bool]:
        """Hear one caller until it has gone: why, and whether it had connected at all."""
        connected = asyncio.Event()
        serving = asyncio.create_task(self._serve(caller, connected))
        gone = asyncio.create_task(caller.gone())
        try:
            await asyncio.wait({serving, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return gone.result(), connected.is_set()
            serving.result()  # tells what failed
            return "connect_timeout", False
        finally:
            for task in (serving, gone):
                task.cancel()
            await asyncio.gather(serving, gone, return_exceptions=True)

    async def _serve(self, caller: Caller, connected: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await caller.connected()
        except TimeoutError:
            return
        connected.set()
        self._go(SessionState.LIVE)
        self._broadcast.pull_for(caller)
        await caller.feed(self._face.hear)

    def _dismiss(self, caller: Caller) -> None:
        """Close a caller beside everything else: the next one need not wait for it."""
        task = asyncio.create_task(_close(caller))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Close whoever is still there, and wait for those who are leaving."""
        for caller in (self.now, self._next):
            if caller is not None:
                self._dismiss(caller)
        self._next = None
        await asyncio.gather(*self._leaving)


async def _close(caller: Caller) -> None:
    try:
        await caller.close()
    except Exception:
        logger.exception("a caller did not close cleanly")
