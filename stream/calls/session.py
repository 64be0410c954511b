"""One caller: owns everything that exists because of them, and frees it when they leave.

    NEW -> CONNECTING -> LIVE -> DRAINING -> CLOSED

In: a checked offer and a seat. Out: an answer, then media until somebody ends it. All tasks of a session run
under one TaskGroup inside `run`; nothing of it outlives `run`. Event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiortc import RTCDataChannel

from stream.avatars.catalogue import Avatar
from stream.calls.broadcast import Broadcast
from stream.calls.session_parts import SessionParts
from stream.calls.session_state import SessionState, checked_transition
from stream.calls.telemetry import Telemetry
from stream.engine.admission import Seat
from stream.engine.controls import controls_in_force, read_controls
from stream.engine.engine_stream import Drawn, EngineStream
from stream.engine.protocol import EngineSpec
from stream.engine.windower import Windower
from stream.errors import EngineError, StreamError
from stream.inbound.audio import Heard, InboundAudio
from stream.media import UInt8Array
from stream.outbound.pacer import Pacer, PacerConfig
from stream.outbound.tracks import VOICE_LEAD_S
from stream.outbound.voice_buffer import loudness
from stream.rtc.channel import Channel, greeting
from stream.rtc.offers import OfferRequest
from stream.rtc.peer import Peer

logger = logging.getLogger(__name__)

CONNECT_WITHIN_S = 10.0
PEER_GONE_S = 3.0
CLOSE_WITHIN_S = 5.0
WATCH_S = 0.25
STATS_S = 1.0
SPEAKING_LOUDNESS = 0.01


class _Ended(Exception):
    """Raised inside the TaskGroup to end it."""


class Session:
    """See the module's docstring.

    Args:
        parts: the server's shared parts.
        seat: this session's place; released when it closes.
        request: the checked offer.
        avatar: the face asked for.
        canvas: its framed picture, as large as the engine draws, (S, S, 3) uint8 RGB.
    """

    def __init__(
        self, parts: SessionParts, seat: Seat, request: OfferRequest, avatar: Avatar, canvas: UInt8Array
    ) -> None:
        self.id = secrets.token_hex(8)
        self.watch_id = secrets.token_hex(8)  # lets others see it, and nothing else
        self.state = SessionState.NEW
        self.reason = ""
        self._parts = parts
        self._clock = parts.clock
        self._seat = seat
        self._request = request
        self._avatar = avatar
        self._canvas = canvas
        self._spec: EngineSpec = parts.scheduler.spec
        self._controls = request.controls
        self._peer = Peer(parts.ice, self._on_peer_state, self._on_channel)
        self._pacer = Pacer(self._clock, self._spec.fps, canvas, PacerConfig(voice_lead_s=VOICE_LEAD_S))
        self._broadcast = Broadcast(self.watch_id, parts, self._spec, self._pacer)
        self._inbound: InboundAudio | None = None
        self._windower = Windower(self._spec)
        self._stream: EngineStream | None = None
        self._channel: Channel | None = None
        self._telemetry = Telemetry(parts.metrics, self._spec.hop_frames)
        self._connected = asyncio.Event()
        self._ending = asyncio.Event()
        self._wanted_avatar: asyncio.Queue[Avatar] = asyncio.Queue(maxsize=1)
        self._last_message_s = -math.inf
        self._spoke_s = -math.inf
        parts.metrics.sessions.labels(self.state.value).inc()

    @property
    def scales(self) -> dict[str, float]:
        """The guidance scales in force, and whether the face listens."""
        return controls_in_force(self._controls, self._spec)

    # -- life ---------------------------------------------------------------------------------------------

    async def answer(self) -> dict[str, str]:
        """Answer the offer.

        NEW -> CONNECTING. The caller must call `run` afterwards, also when this raises.
        """
        self._go(SessionState.CONNECTING)
        description = await self._peer.answer(
            self._request.sdp, self._broadcast.voice, self._broadcast.make_pictures
        )
        return {
            "sdp": description.sdp,
            "type": description.type,
            "session_id": self.id,
            "watch_id": self.watch_id,
        }

    async def admit_viewer(self, sdp: str) -> dict[str, str]:
        """Answer the offer of somebody who wants to watch; see `Audience.admit`."""
        return await self._broadcast.admit(sdp, self._peer.codecs)

    async def remove_viewer(self, viewer_id: str) -> None:
        """End one viewer; see `Audience.remove`."""
        await self._broadcast.audience.remove(viewer_id)

    async def run(self) -> None:
        """Live until the peer leaves, something fails or `end` is called; then free everything."""
        try:
            if not self._ending.is_set():
                await self._live()
        finally:
            await self._close()

    def end(self, reason: str) -> None:
        """Ask the session to end; the first reason counts."""
        if not self._ending.is_set():
            self.reason = reason
            self._ending.set()

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._until_ended())
                group.create_task(self._connect())
                group.create_task(self._draw())
                group.create_task(self._watch())
                await self._connected.wait()
                self._inbound = InboundAudio(self._clock, self._spec.sample_rate_hz)
                assert self._peer.microphone is not None
                group.create_task(self._listen(self._inbound.hear_track(self._peer.microphone)))
                group.create_task(self._listen(self._inbound.hear_clock()))
                if not self._peer.takes_voice:
                    group.create_task(self._broadcast.speak())
        except* _Ended:
            pass
        except* StreamError as group_error:
            error = group_error.exceptions[0]
            assert isinstance(error, StreamError)
            self._tell("error", error.as_json())
            self.end(error.code)
        except* Exception:
            logger.exception("session %s failed", self.id)
            self._tell("error", {"error": "internal", "message": "This session failed; press Start again."})
            self.end("internal")

    async def _close(self) -> None:
        self.end("cancelled")
        self._go(SessionState.DRAINING)
        try:
            if self._stream is not None:
                self._stream.close()
            self._broadcast.stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await asyncio.gather(self._broadcast.audience.close(), self._peer.close())
        except Exception:
            logger.exception("session %s did not close cleanly", self.id)
        finally:
            self._seat.release()
            self._go(SessionState.CLOSED)
            self._parts.metrics.sessions.labels(SessionState.CLOSED.value).dec()
            self._parts.metrics.closed.labels(self.reason).inc()
            self._stream = self._channel = self._inbound = None
            logger.info("session %s closed: %s", self.id, self.reason)

    def _go(self, state: SessionState) -> None:
        before, self.state = self.state, checked_transition(self.state, state)
        self._parts.metrics.sessions.labels(before.value).dec()
        self._parts.metrics.sessions.labels(state.value).inc()

    # -- tasks --------------------------------------------------------------------------------------------

    async def _until_ended(self) -> None:
        await self._ending.wait()
        raise _Ended

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await self._connected.wait()
        except TimeoutError:
            self.end("connect_timeout")
            return
        self._go(SessionState.LIVE)
        logger.info("session %s is live", self.id)

    async def _draw(self) -> None:
        """Open the engine's stream, then change faces when asked."""
        scheduler = self._parts.scheduler
        started_s = self._clock.now()
        state = await scheduler.open_state(self._canvas, self._request.seed)
        self._telemetry.note_stage("open", self._clock.now() - started_s)
        self._stream = scheduler.add_stream(state, self)
        self._stream.controls = self._controls
        while True:
            avatar = await self._wanted_avatar.get()
            canvas = await asyncio.to_thread(self._parts.catalogue.canvas, avatar, self._spec.width)
            state = await scheduler.open_state(canvas, self._request.seed)
            self._stream.restart(state)
            self._avatar = avatar
            self._tell("notice", {"avatar": avatar.id})

    async def _listen(self, source: AsyncIterator[Heard]) -> None:
        async for heard in source:
            self._pacer.push_voice(heard.voice, heard.arrived_s)
            if loudness(heard.voice) > SPEAKING_LOUDNESS:
                self._spoke_s = heard.arrived_s
            for window in self._windower.push(heard.engine):
                if self._stream is not None:  # before that the picture stands still anyway
                    due_s = self._pacer.deadline(window.first_frame)
                    self._stream.submit(window, due_s or heard.arrived_s + 2 * self._spec.hop_s)

    async def _watch(self) -> None:
        """Notice a dead peer, and report once a second."""
        due_s = stats_s = self._clock.now()
        while True:
            due_s = max(due_s + WATCH_S, self._clock.now())
            await self._clock.sleep_until(due_s)
            now_s = self._clock.now()
            if self._channel is not None and self._inbound is not None:
                heard_s = max(self._last_message_s, self._inbound.last_packet_s)
                if now_s - heard_s > PEER_GONE_S:
                    self.end("peer_gone")
            if now_s - stats_s >= STATS_S:
                stats_s = now_s
                await self._broadcast.fit_bit_rate(self._peer, now_s)
                self._report(now_s)

    def _report(self, now_s: float) -> None:
        effort, broadcast = self._parts.scheduler.effort, self._broadcast
        report = self._telemetry.report(now_s, self._pacer, broadcast.pictures, effort, self._spoke_s)
        viewers = len(broadcast.audience)
        self._tell("stats", {"state": self.state.value, "viewers": viewers, **report, **self.scales})

    # -- what others tell it ------------------------------------------------------------------------------

    def on_drawn(self, drawn: Drawn) -> None:
        """The scheduler drew a window."""
        self._telemetry.note_drawn(drawn, self._clock.now())
        if drawn.first_frame is None:
            self._pacer.push_rest(drawn.frames)
        else:
            self._pacer.push_frames(drawn.first_frame, drawn.frames)

    def on_dropped(self, first_frame: int) -> None:
        """The scheduler dropped a window from this session's full queue."""
        self._telemetry.note_dropped_window()

    def on_failed(self, error: EngineError) -> None:
        """The engine failed on this session."""
        self._tell("error", error.as_json())
        self.end(error.code)

    def _on_peer_state(self, state: str) -> None:
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.end("peer_left" if state == "closed" else "connection_failed")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._last_message_s = self._clock.now()
        self._channel = Channel(channel, self._on_message)
        ids = {"session_id": self.id, "watch_id": self.watch_id, "avatar": self._avatar.id}
        self._tell("hello", {**greeting(self._spec, self.scales), **ids})

    def _on_message(self, kind: str, fields: dict[str, Any]) -> None:
        self._last_message_s = self._clock.now()
        if kind == "bye":
            self.end("bye")
        elif kind == "clear":
            self.clear(by="page")
        elif kind == "controls":
            try:
                self.turn(fields, by="page")
            except ValueError as error:
                self._tell("notice", {"error": "bad_controls", "message": str(error)})
        elif kind == "avatar":
            try:
                self._wanted_avatar.put_nowait(self._parts.catalogue.find(str(fields.get("id"))))
            except StreamError as error:
                self._tell("notice", error.as_json())
            except asyncio.QueueFull:
                self._tell("notice", {"error": "busy", "message": "A change of avatar is still under way."})

    def turn(self, fields: Mapping[str, Any], by: str) -> None:
        """Change the scales from the next window on, and tell the page, whoever (`by`) asked.

        Raises:
            ValueError: a scale is wrong; nothing has changed.
        """
        self._controls = read_controls(fields, self._controls, self._spec)
        if self._stream is not None:
            self._stream.controls = self._controls
        self._tell("controls", {**self.scales, "by": by})

    def clear(self, by: str) -> None:
        """Interrupt: drop all that was heard and not yet shown, silence at once, the mouth eases to rest.

        What is heard from now on counts again.
        """
        self._pacer.clear(self._windower.restart())
        if self._stream is not None:
            self._stream.rest()
        self._tell("cleared", {"by": by})

    # -- small things -------------------------------------------------------------------------------------

    def _tell(self, kind: str, fields: dict[str, Any]) -> None:
        if self._channel is not None:
            self._channel.send(kind, fields)
