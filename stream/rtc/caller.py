"""A caller over WebRTC: one offer, one connection, one data channel. See `stream.live.caller.Caller`.

In: the offer's SDP; then the peer's microphone and messages. Out: the answer; sound as it is heard, gapless; the
call's two tracks, which the connection pulls. Event loop only. A microphone that ends or stalls becomes silence;
the page may send another one over the same connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from aiortc import RTCDataChannel

from stream.clock import Clock
from stream.inbound.audio import InboundAudio
from stream.live.caller import CallerListener, Outlet
from stream.live.vigil import Vigil
from stream.media import Codecs, Heard
from stream.rtc.channel import Channel
from stream.rtc.ice import IceConfig
from stream.rtc.peer import Peer

logger = logging.getLogger(__name__)

PEER_GONE_S: Final = 3.0
LOOK_EVERY_S: Final = 0.25


class WebRtcCaller:
    """See the module's docstring.

    Args:
        ice: see `IceConfig`.
        clock: the time.
        engine_rate_hz: what the engine wants to hear.
        sdp: the offer, as it came.
    """

    def __init__(self, ice: IceConfig, clock: Clock, engine_rate_hz: int, sdp: str) -> None:
        self.answer: dict[str, str] = {}  # {"sdp", "type"}, once `open` has returned
        self._clock = clock
        self._engine_rate_hz = engine_rate_hz
        self._sdp = sdp
        self._peer = Peer(ice, self._on_peer_state, self._on_channel)
        self._channel: Channel | None = None
        self._listener: CallerListener | None = None
        self._inbound: InboundAudio | None = None
        self._last_message_s = -math.inf
        self._reason = ""
        self._connected = asyncio.Event()
        self._gone = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    @property
    def takes_voice(self) -> bool:
        """False for one whose audio is "sendonly"."""
        return self._peer.takes_voice

    @property
    def takes_pictures(self) -> bool:
        """False for one who takes no video."""
        return self._peer.takes_pictures

    async def open(self, outlet: Outlet, listener: CallerListener) -> None:
        """Answer the offer, in the call's codecs if it can; see `answer`.

        Raises:
            SignalingError: see `Peer.answer`.
        """
        self._listener = listener
        description = await self._peer.answer(self._sdp, outlet.tracks, outlet.codecs)
        self.answer = {"sdp": description.sdp, "type": description.type}

    async def connected(self) -> None:
        """Return once the connection stands."""
        await self._connected.wait()

    async def feed(self, hear: Callable[[Heard], None]) -> None:
        """Give what the microphone says, and silence where it says nothing, until cancelled."""
        self._inbound = inbound = InboundAudio(self._clock, self._engine_rate_hz)
        async with asyncio.TaskGroup() as group:
            if self._peer.microphone is not None:
                group.create_task(_listen(inbound.hear_track(self._peer.microphone), hear))
            group.create_task(_listen(inbound.hear_clock(), hear))

    async def gone(self) -> str:
        """Return once the connection has ended, or the peer has been silent for `PEER_GONE_S`."""
        vigil = Vigil(self._clock, PEER_GONE_S, LOOK_EVERY_S)
        while not self._gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._gone.wait()
            if (
                self._channel is None or self._inbound is None
            ):  # without a channel, ICE notices in half a minute
                continue
            if vigil.silent(max(self._last_message_s, self._inbound.last_packet_s)):
                self.leave("peer_gone")
        return self._reason

    def leave(self, reason: str) -> None:
        """Count as gone; the first reason counts."""
        if not self._gone.is_set():
            self._reason = reason
            self._gone.set()

    async def network(self) -> tuple[float, float | None] | None:
        """What the peer last said of the pictures; see `Peer.picture_report`."""
        return await self._peer.picture_report()

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Say something over the data channel, if it is open."""
        if self._channel is not None:
            self._channel.send(kind, fields)

    async def close(self) -> None:
        """End the connection; whoever asks again waits for the same end."""
        self.leave("closed")
        if self._closing is None:
            self._closing = asyncio.create_task(self._peer.close())
        await asyncio.shield(self._closing)

    # -- what aiortc says -----------------------------------------------------------------------------------

    def _on_peer_state(self, state: str) -> None:
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.leave("peer_left" if state == "closed" else "connection_failed")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        assert self._listener is not None
        self._last_message_s = self._clock.now()
        self._channel = Channel(channel, self._on_message)
        self.tell("hello", self._listener.greeting())

    def _on_message(self, kind: str, fields: dict[str, Any]) -> None:
        assert self._listener is not None
        self._last_message_s = self._clock.now()
        if not self._gone.is_set():
            self._listener.on_message(kind, fields)


class WhipCaller(WebRtcCaller):
    """One that only sends: its sound drives the face, which others watch.

    Args:
        codecs: in which others get the call.
        (the others): as of `WebRtcCaller`.
    """

    def __init__(self, ice: IceConfig, clock: Clock, engine_rate_hz: int, sdp: str, codecs: Codecs) -> None:
        super().__init__(ice, clock, engine_rate_hz, sdp)
        self._codecs = codecs

    async def open(self, outlet: Outlet, listener: CallerListener) -> None:
        """Answer the offer, and let the call be encoded for who watches.

        Raises:
            SignalingError: see `Peer.answer_sender`.
        """
        self._listener = listener
        description = await self._peer.answer_sender(self._sdp)
        outlet.shared(outlet.codecs or self._codecs)
        self.answer = {"sdp": description.sdp, "type": description.type}


async def _listen(source: AsyncIterator[Heard], hear: Callable[[Heard], None]) -> None:
    async for heard in source:
        hear(heard)
