"""The call registry (lobby): starts calls, lets callers come back to them, finds them by id, and ends them all.

In: wishes and callers. Out: running sessions, each in a task of its own. Event loop only.
"""

from __future__ import annotations

import asyncio
import logging

from stream.avatars.catalogue import Avatar
from stream.calls.avatar_changes import unusable
from stream.calls.secret import new_secret
from stream.calls.session import Session
from stream.calls.session_parts import SessionParts
from stream.engine.admission import Seat
from stream.errors import AdmissionError, MediaError, StreamError, unknown_session
from stream.live.caller import Caller
from stream.live.wish import Wish
from stream.media import UInt8Array

logger = logging.getLogger(__name__)


class Lobby:
    """All calls of one server."""

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._calls: dict[str, Session] = {}  # by secret, those being built included
        parts.metrics.seats.set_function(lambda: parts.pool.seats_taken)

    def __len__(self) -> int:
        return len(self._sessions)

    async def admit(self, wish: Wish, caller: Caller, secret: str | None = None) -> Session:
        """Let a caller in: to the call of that secret, or to a new one.

        Args:
            wish: what is asked for; what it does not name stays as it is in a call that goes on.
            caller: not opened yet; closed here if it cannot be served.
            secret: of a call that is to go on, or that a new one shall have; see `stream.calls.secret`.

        Returns:
            The running call.

        Raises:
            StreamError: nothing was started, or what was started is gone again.
        """
        secret = secret or new_secret()
        try:
            session, new = await self._call_of(secret, wish)
        except BaseException:
            await caller.close()
            raise
        try:
            await session.admit(caller, None if new else wish)
        except BaseException as error:
            if new:
                session.end(error.code if isinstance(error, StreamError) else "internal")
                await session.run()
                self._forget(session)
            raise
        if new:
            self._sessions[session] = task = asyncio.create_task(session.run(), name=f"session-{session.id}")
            task.add_done_callback(lambda done: self._forget(session, done))
        return session

    def _going_on(self, secret: str) -> Session | None:
        session = self._calls.get(secret)
        return None if session is None or session.ending else session

    async def _call_of(self, secret: str, wish: Wish) -> tuple[Session, bool]:
        """The call of that secret, and whether it is a new one, which is still to be run."""
        if (session := self._going_on(secret)) is not None:
            return session, False
        parts = self._parts
        avatar = parts.named(wish) or parts.catalogue.find(None)
        seat = self._seat()
        try:
            canvas = await self._canvas(avatar, seat)
            if (session := self._going_on(secret)) is not None:  # its caller has asked twice
                seat.release()
                return session, False
            self._calls[secret] = session = Session(parts, seat, wish, avatar, canvas, secret)
        except BaseException:
            seat.release()
            raise
        return session, True

    def _seat(self) -> Seat:
        """A seat: a free one, or that of the call that has been away longest.

        Raises:
            AdmissionError: see `Pool.take_seat`.
        """
        try:
            return self._parts.pool.take_seat()
        except AdmissionError as error:
            if error.code != "server_full":
                raise
            away = [
                session
                for session in self._sessions
                if session.away_since_s is not None and not session.ending
            ]
            if not away:
                raise
        min(away, key=lambda session: session.away_since_s or 0.0).give_up_seat()
        return self._parts.pool.take_seat()

    def find(self, session_id: str) -> Session:
        """The running call of that id.

        Raises:
            SignalingError: there is none (404).
        """
        for session in self._sessions:
            if session.id == session_id:
                return session
        raise unknown_session(session_id)

    def find_watched(self, some_id: str) -> Session:
        """The running call of that watch id; its own id, which allows more, will do.

        Raises:
            SignalingError: there is none (404).
        """
        for session in self._sessions:
            if some_id in (session.watch_id, session.id) and not session.ending:
                return session
        raise unknown_session(some_id)

    async def close(self) -> None:
        """End every call and wait for it."""
        for session in list(self._sessions):
            session.end("shutdown")
        await asyncio.gather(*list(self._sessions.values()), return_exceptions=True)

    async def _canvas(self, avatar: Avatar, seat: Seat) -> UInt8Array:
        """The avatar's framed picture, as large as the engine draws."""
        try:
            return await asyncio.to_thread(self._parts.catalogue.canvas, avatar, seat.scheduler.spec.width)
        except MediaError as error:
            logger.warning("no call with this face: %s", error.message)
            raise unusable(avatar) from error

    def _forget(self, session: Session, task: asyncio.Task[None] | None = None) -> None:
        self._sessions.pop(session, None)
        if self._calls.get(session.secret) is session:
            del self._calls[session.secret]
        if task is not None and not task.cancelled() and (error := task.exception()) is not None:
            logger.error("session %s ended with an error", session.id, exc_info=error)
