"""The engine's own thread, and what is known of its health.

In: pieces of work from anywhere (`call`), and rounds (`EngineRounds`) that say what to do when there are none.
Out: futures. All that touches the engine runs on this thread, so that whatever it keeps per thread is built once.

A thread can die, of an exception that nobody expected, or stand still in a driver for ever. `watch` notices both,
on the event loop. It counts its own waking instead of reading a clock: after a standstill of the whole process the
clock says that the thread was still for as long, and it was not its fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Final, Protocol

from stream.errors import EngineError

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
STUCK_LOOKS: Final = 20
"""Looks at the same piece of work after which the thread counts as stuck; more where warming up took longer."""
JOIN_WITHIN_S: Final = 5.0


class EngineRounds(Protocol):
    """What the thread does between two calls. Methods run on it."""

    def wanted(self) -> bool:
        """Whether there is something to do; under the lock."""
        ...

    def round(self) -> None:
        """Do one piece of it, without the lock."""
        ...

    def end(self) -> None:
        """The thread ends: free everything."""
        ...


@dataclass(slots=True)
class _Call:
    """Work for the thread; `undo` takes a result that nobody waits for any more."""

    work: Callable[[], object]
    undo: Callable[[object], None]
    future: Future[object] = field(default_factory=Future)

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except Exception as error:
            self.refuse(error)
            return
        try:
            self.future.set_result(result)
        except InvalidStateError:  # refused meanwhile
            self.undo(result)

    def refuse(self, error: Exception) -> None:
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


class EngineThread:
    """See the module's docstring.

    Args:
        wake: the lock under which `rounds.wanted` is asked; notified when there may be something to do.
        rounds: see `EngineRounds`.
    """

    def __init__(self, wake: threading.Condition, rounds: EngineRounds) -> None:
        self._wake = wake
        self._rounds = rounds
        self._calls: deque[_Call] = deque()
        self._now: _Call | None = None
        self._thread: threading.Thread | None = None
        self._pieces = 0  # of work begun
        self._working = False
        self.stopping = False
        self.problem: EngineError | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="fada-engine", daemon=True)
        self._thread.start()

    async def call(self, work: Callable[[], object], undo: Callable[[object], None]) -> object:
        """Run `work` between two rounds; `undo` gets its result if the asking task has gone meanwhile.

        Raises:
            EngineError: the server is shutting down, or the thread is dead or stuck.
        """
        call = _Call(work, undo)
        with self._wake:
            if self.stopping:
                raise shutting_down()
            if self.problem is not None:
                raise EngineError(self.problem.code, self.problem.message, self.problem.status)
            self._calls.append(call)
            self._wake.notify_all()
        try:
            return await asyncio.wrap_future(call.future)
        except asyncio.CancelledError:
            call.future.add_done_callback(lambda done: _undo_late(done, undo))
            raise

    async def watch(self, on_problem: Callable[[EngineError], None], stuck_looks: int = STUCK_LOOKS) -> None:
        """Look after the thread, for ever; `on_problem` hears of it once each time it dies or gets stuck."""
        seen, looks = -1, 0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with self._wake:
                alive = self._thread is not None and self._thread.is_alive()
                pieces, working = self._pieces, self._working
            looks = looks + 1 if working and pieces == seen else 0
            seen = pieces
            if not alive and not self.stopping:
                self._fail(died(), on_problem)
            elif looks >= stuck_looks:
                self._fail(stuck(looks * LOOK_EVERY_S), on_problem)
            elif alive and self.problem is not None:
                logger.warning("the engine came back; calls are taken again")
                self.problem = None

    def _fail(self, error: EngineError, on_problem: Callable[[EngineError], None]) -> None:
        if self.problem is not None:
            return
        logger.error("%s", error.message)
        self.problem = error
        with self._wake:
            waiting = [*self._calls, *([self._now] if self._now is not None else [])]
            self._calls.clear()
        for call in waiting:
            call.refuse(error)
        on_problem(error)

    async def stop(self) -> bool:
        """Finish the piece of work in flight and end the thread; False if it did not within `JOIN_WITHIN_S`."""
        with self._wake:
            self.stopping = True
            self._wake.notify_all()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        await asyncio.to_thread(thread.join, JOIN_WITHIN_S)
        if thread.is_alive():
            logger.error("the engine did not end within %g seconds; it is left behind", JOIN_WITHIN_S)
        return not thread.is_alive()

    # -- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._work()
        except BaseException:  # nothing may end this thread without a word
            logger.exception("the engine's thread died")
        finally:
            with self._wake:
                self._working = False
                waiting = list(self._calls)
                self._calls.clear()
            for call in waiting:
                call.refuse(shutting_down() if self.stopping else died())
            try:
                self._rounds.end()
            except Exception:
                logger.exception("the engine did not close cleanly")

    def _work(self) -> None:
        while True:
            with self._wake:
                self._working = False
                while not (self.stopping or self._calls or self._rounds.wanted()):
                    self._wake.wait()
                if self.stopping:
                    return
                self._now = self._calls.popleft() if self._calls else None
                self._working = True
                self._pieces += 1
            if self._now is not None:
                self._now.run()
                self._now = None
            else:
                self._rounds.round()


def shutting_down() -> EngineError:
    """What to raise while the server ends."""
    return EngineError("not_ready", "The server is shutting down.", status=503)


def died() -> EngineError:
    """What to raise once the thread has ended by itself."""
    return EngineError("engine_failed", "The engine has died; start the server again.", status=503)


def stuck(still_s: float) -> EngineError:
    """What to raise while one piece of work takes beyond reason."""
    sentence = (
        f"The engine has been at the same work for {still_s:.0f} seconds; wait, or start the server again."
    )
    return EngineError("engine_failed", sentence, status=503)


def _undo_late(done: Future[object], undo: Callable[[object], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())
