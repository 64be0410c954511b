"""The session registry (lobby): builds sessions, runs each as one task, and ends them all. Event loop only."""

from __future__ import annotations

import asyncio
import logging

from stream.calls.session import Session
from stream.calls.session_parts import SessionParts
from stream.engine.controls import check_scales
from stream.errors import SignalingError, StreamError, unknown_session
from stream.rtc.offers import OfferRequest

logger = logging.getLogger(__name__)


class Lobby:
    """All sessions of one server."""

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts
        self._sessions: dict[Session, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def admit(self, request: OfferRequest) -> dict[str, str]:
        """Answer an offer and start its session.

        Returns:
            {"sdp", "type", "session_id", "watch_id"}.

        Raises:
            StreamError: nothing was started, or what was started is gone again.
        """
        parts = self._parts
        avatar = parts.catalogue.find(request.avatar)
        try:
            check_scales(request.controls, parts.scheduler.spec)
        except ValueError as error:
            raise SignalingError("invalid_request", str(error), 422) from error
        seat = parts.scheduler.take_seat()
        parts.metrics.seats.set(parts.scheduler.seats.taken)
        try:
            side = parts.scheduler.spec.width
            canvas = await asyncio.to_thread(parts.catalogue.canvas, avatar, side)
            session = Session(parts, seat, request, avatar, canvas)
        except BaseException:
            seat.release()
            parts.metrics.seats.set(parts.scheduler.seats.taken)
            raise
        try:
            answer = await session.answer()
        except BaseException as error:
            session.end(error.code if isinstance(error, StreamError) else "internal")
            await session.run()
            parts.metrics.seats.set(parts.scheduler.seats.taken)
            raise
        task = asyncio.create_task(session.run(), name=f"session-{session.id}")
        self._sessions[session] = task
        task.add_done_callback(lambda done: self._forget(session, done))
        return answer

    def find(self, session_id: str) -> Session:
        """The running session of that id.

        Raises:
            SignalingError: there is none (404).
        """
        for session in self._sessions:
            if session.id == session_id:
                return session
        raise unknown_session(session_id)

    def find_watched(self, some_id: str) -> Session:
        """The running session of that watch id; its own id, which allows more, will do.

        Raises:
            SignalingError: there is none (404).
        """
        for session in self._sessions:
            if some_id in (session.watch_id, session.id):
                return session
        raise unknown_session(some_id)

    async def close(self) -> None:
        """End every session and wait for it."""
        for session in list(self._sessions):
            session.end("shutdown")
        await asyncio.gather(*list(self._sessions.values()), return_exceptions=True)

    def _forget(self, session: Session, task: asyncio.Task[None]) -> None:
        self._sessions.pop(session, None)
        self._parts.metrics.seats.set(self._parts.scheduler.seats.taken)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("session %s ended with an error", session.id, exc_info=error)
