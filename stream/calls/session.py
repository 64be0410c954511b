"""One call: ties a face to whoever calls, and frees everything when it is over.

    NEW -> CONNECTING -> LIVE -> DRAINING -> CLOSED
              ↑   └──→ AWAY ←──┘

In: a seat, a wish, and callers, one at a time. Out: the face, to the caller and to viewers, until somebody ends the
call. It outlives its callers' connections: when one is lost the call is *away* for `SessionParts.grace_s`; the face
rests, viewers see it, and who knows the call's secret comes back to it. Meanwhile it keeps its seat and its state
in the engine, so that coming back costs nothing, and draws nothing, so that waiting costs nothing; the lobby
takes the seat (`give_up_seat`) when a newcomer would find none. All tasks of a call run under one TaskGroup
inside `run`; nothing of it outlives `run`. Event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final

from stream.avatars.catalogue import Avatar
from stream.calls.avatar_changes import AvatarChanges
from stream.calls.broadcast import Broadcast
from stream.calls.callers import Callers
from stream.calls.secret import watch_id_of
from stream.calls.session_parts import SessionParts
from stream.calls.session_state import SessionState, checked_transition
from stream.calls.telemetry import Telemetry
from stream.engine.admission import Seat
from stream.engine.engine_stream import Drawn
from stream.errors import EngineError, StreamError, unknown_session
from stream.live.caller import Caller
from stream.live.face import Face
from stream.live.wish import Wish
from stream.media import UInt8Array
from stream.outbound.pacer import PacerConfig
from stream.outbound.tracks import VOICE_LEAD_S
from stream.rtc.channel import greeting

logger = logging.getLogger(__name__)

CLOSE_WITHIN_S: Final = 5.0
STATS_S: Final = 1.0
MOVED_ON: Final = {
    "error": "replaced",
    "message": "This call went on over another connection of its caller's.",
}


class _Ended(Exception):
    """Raised inside the TaskGroup to end it."""


class Session:
    """See the module's docstring.

    Args:
        parts: the server's shared parts.
        seat: this call's place; released when it closes.
        wish: what the first caller asked for.
        avatar: the face asked for.
        canvas: its framed picture, as large as the engine draws, (S, S, 3) uint8 RGB.
        secret: lets the caller come back; see `stream.calls.secret`.
    """

    def __init__(
        self, parts: SessionParts, seat: Seat, wish: Wish, avatar: Avatar, canvas: UInt8Array, secret: str
    ) -> None:
        self.id = secrets.token_hex(8)
        self.secret = secret
        self.watch_id = watch_id_of(secret)  # lets others see it, and nothing else
        self.state = SessionState.NEW
        self.reason = ""
        self._parts = parts
        self._clock = parts.clock
        self._seat = seat
        spec = seat.scheduler.spec
        pacing = PacerConfig(voice_lead_s=VOICE_LEAD_S)
        self._face = Face(parts.clock, spec, canvas, wish.seed, wish.controls, pacing, self)
        self._broadcast = Broadcast(self.watch_id, parts, self._face)
        self._changes = AvatarChanges(self._face, avatar, parts.catalogue, self.tell)
        self._callers = Callers(self._face, self._broadcast, parts.grace_s, self._go)
        self._telemetry = Telemetry(parts.metrics, spec.hop_frames)
        self._admitting = asyncio.Lock()
        self._ending = asyncio.Event()
        parts.metrics.sessions.labels(self.state.value).inc()

    @property
    def scales(self) -> dict[str, float]:
        """The guidance scales in force, and whether the face listens."""
        return self._face.in_force

    @property
    def ending(self) -> bool:
        """Whether its end was asked for."""
        return self._ending.is_set()

    @property
    def away_since_s(self) -> float | None:
        """Since when it waits for its caller; None where it has one."""
        return self._callers.away_since_s

    # -- life ---------------------------------------------------------------------------------------------

    async def admit(self, caller: Caller, wish: Wish | None = None) -> None:
        """Let a caller in, the first one or one who comes back, and takes the place of who was there.

        `run` must be called afterwards, also when the first one fails.

        Args:
            caller: not opened yet; closed here if it cannot be served.
            wish: what one who comes back would have changed.

        Raises:
            StreamError: it cannot be served, or the call is over.
        """
        try:
            async with self._admitting:
                if self.ending:
                    raise unknown_session(self.id)
                avatar = None if wish is None else self._parts.named(wish)
                await caller.open(self._broadcast, self)
                if self.ending:
                    raise unknown_session(self.id)
                if wish is not None:
                    self._face.set_controls(wish.over(self._face.controls))
                if avatar is not None and avatar.id != self._changes.avatar.id:
                    self._changes.want(avatar)
                self._callers.come(caller, MOVED_ON)
        except BaseException:
            await caller.close()
            raise

    async def admit_viewer(self, sdp: str) -> dict[str, str]:
        """Answer the offer of somebody who wants to watch; see `Audience.admit`."""
        return await self._broadcast.admit(sdp)

    async def remove_viewer(self, viewer_id: str) -> None:
        """End one viewer; see `Audience.remove`."""
        await self._broadcast.audience.remove(viewer_id)

    async def run(self) -> None:
        """Live until the caller leaves for good, something fails or `end` is called; then free everything."""
        try:
            if not self.ending:
                await self._live()
        finally:
            await self._close()

    def end(self, reason: str) -> None:
        """Ask the call to end; the first reason counts."""
        if not self.ending:
            self.reason = reason
            self._ending.set()

    def give_up_seat(self) -> None:
        """Free the seat at once, for a newcomer, and end; for a call that is away."""
        self._seat.release()
        self.end("seat_needed")

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._until_ended())
                group.create_task(self._draw())
                group.create_task(self._broadcast.run())
                group.create_task(self._report())
                self.end(await self._callers.attend())
        except* _Ended:
            pass
        except* StreamError as group_error:
            error = _first(group_error)
            self.tell("error", error.as_json())
            self.end(error.code)
        except* Exception:
            logger.exception("session %s failed", self.id)
            self.tell("error", {"error": "internal", "message": "This session failed; press Start again."})
            self.end("internal")

    async def _close(self) -> None:
        self.end("cancelled")
        self._go(SessionState.DRAINING)
        try:
            self._face.close()
            self._broadcast.stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    audience = self._broadcast.audience.close(over=self.reason == "bye")
                    await asyncio.gather(audience, self._callers.close())
        except Exception:
            logger.exception("session %s did not close cleanly", self.id)
        finally:
            self._seat.release()
            self._go(SessionState.CLOSED)
            self._parts.metrics.sessions.labels(SessionState.CLOSED.value).dec()
            self._parts.metrics.closed.labels(self.reason).inc()
            logger.info("session %s closed: %s", self.id, self.reason)

    def _go(self, state: SessionState) -> None:
        before, self.state = self.state, checked_transition(self.state, state)
        self._parts.metrics.sessions.labels(before.value).dec()
        self._parts.metrics.sessions.labels(state.value).inc()
        logger.info("session %s is %s", self.id, state.value)

    # -- tasks --------------------------------------------------------------------------------------------

    async def _until_ended(self) -> None:
        await self._ending.wait()
        raise _Ended

    async def _draw(self) -> None:
        """Open the engine's stream, then change faces when asked."""
        started_s = self._clock.now()
        await self._face.open(self._seat.scheduler)
        self._telemetry.note_stage("open", self._clock.now() - started_s)
        await self._changes.run()

    async def _report(self) -> None:
        """Once a second: what the caller's network carries, and the figures."""
        due_s = self._clock.now()
        while True:
            due_s = max(due_s + STATS_S, self._clock.now())
            await self._clock.sleep_until(due_s)
            now_s, broadcast = self._clock.now(), self._broadcast
            if self._callers.now is not None:
                await broadcast.fit_bit_rate(self._callers.now, now_s)
            report = self._telemetry.report(now_s, self._face, broadcast.pictures, self._seat.scheduler)
            viewers = len(broadcast.audience)
            self.tell("stats", {"state": self.state.value, "viewers": viewers, **report, **self.scales})

    # -- what the engine says ------------------------------------------------------------------------------

    def on_drawn(self, drawn: Drawn) -> None:
        """A window was drawn."""
        self._telemetry.note_drawn(drawn, self._clock.now())

    def on_dropped(self, first_frame: int) -> None:
        """A window was dropped from this call's full queue."""
        self._telemetry.note_dropped_window()

    def on_failed(self, error: EngineError) -> None:
        """The engine failed on this call."""
        self.tell("error", error.as_json())
        self.end(error.code)

    # -- what the caller says ------------------------------------------------------------------------------

    def greeting(self) -> Mapping[str, object]:
        """The fields of `hello`."""
        ids = {"session_id": self.id, "watch_id": self.watch_id, "avatar": self._changes.avatar.id}
        return {**greeting(self._face.spec, self.scales), **ids}

    def on_message(self, kind: str, fields: Mapping[str, Any]) -> None:
        """A message of the caller's; see docs/protocol.md."""
        if kind == "bye":
            self.end("bye")
        elif kind == "clear":
            self.clear(by="page")
        elif kind == "controls":
            try:
                self.turn(fields, by="page")
            except ValueError as error:
                self.tell("notice", {"error": "bad_controls", "message": str(error)})
        elif kind == "avatar":
            try:
                self._changes.want(self._parts.catalogue.find(str(fields.get("id"))))
            except StreamError as error:
                self.tell("notice", error.as_json())

    def turn(self, fields: Mapping[str, Any], by: str) -> None:
        """Change the scales from the next window on, and tell the page, whoever (`by`) asked.

        Raises:
            ValueError: a scale is wrong; nothing has changed.
        """
        self._face.turn(fields)
        self.tell("controls", {**self.scales, "by": by})

    def clear(self, by: str) -> None:
        """Interrupt; see `Face.clear`."""
        self._face.clear()
        self.tell("cleared", {"by": by})

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Say something to who calls now; lost if nobody does."""
        if self._callers.now is not None:
            self._callers.now.tell(kind, fields)


def _first(group: BaseExceptionGroup[StreamError]) -> StreamError:
    """The first error of a group, however deep."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, StreamError)
    return error
