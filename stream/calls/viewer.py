"""One viewer of a session: a connection that only receives, from its offer until it is gone.

In: a checked offer and the session's tracks. Out: an answer, then the session's own packets until the viewer
leaves, its connection fails or the session ends. It owns what exists because of it and frees it at the end of
`run`; nothing of it reaches back into the session but its wish for a key frame. Event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Any, Final

from aiortc import RTCDataChannel

from stream.clock import Clock
from stream.live.vigil import Vigil
from stream.media import Codecs
from stream.outbound.fan_out import SharedTrack
from stream.outbound.tracks import PictureTrack, VoiceTrack
from stream.rtc.channel import Channel
from stream.rtc.ice import IceConfig
from stream.rtc.peer import Peer

logger = logging.getLogger(__name__)

CONNECT_WITHIN_S: Final = 10.0
SILENT_AT_MOST_S: Final = 3.0  # for one that has a data channel and pings; consent checks take half a minute
LOOK_EVERY_S: Final = 0.75
CLOSE_WITHIN_S: Final = 5.0
CALL_OVER: Final = "call_over"
"""The reason of an end after which nobody need ask again."""


class Viewer:
    """See the module's docstring.

    Args:
        ice: see `IceConfig`.
        clock: the time.
    """

    def __init__(self, ice: IceConfig, clock: Clock) -> None:
        self.id = secrets.token_hex(8)
        self.reason = ""
        self._clock = clock
        self._peer = Peer(ice, self._on_peer_state, self._on_channel)
        self._channel: Channel | None = None
        self._last_message_s: float | None = None
        self._vigil = Vigil(clock, SILENT_AT_MOST_S, LOOK_EVERY_S)
        self._tracks: tuple[SharedTrack, ...] = ()
        self._settled = asyncio.Event()  # connected, or never to be
        self._ending = asyncio.Event()

    @property
    def ending(self) -> bool:
        """Whether its end was asked for."""
        return self._ending.is_set()

    async def answer(
        self, sdp: str, codecs: Codecs, voice: VoiceTrack, pictures: PictureTrack
    ) -> dict[str, str]:
        """Answer the offer. The caller must call `run` afterwards, also when this raises.

        Returns:
            {"sdp", "type", "viewer_id"}.

        Raises:
            SignalingError: the offer does not fit the session.
        """
        self._tracks = (voice.fan_out.track(), pictures.fan_out.track())
        description = await self._peer.answer_viewer(sdp, codecs, *self._tracks, pictures.request_keyframe)
        return {"sdp": description.sdp, "type": description.type, "viewer_id": self.id}

    def end(self, reason: str) -> None:
        """Ask the viewer to end; the first reason counts."""
        if not self._ending.is_set():
            self.reason = reason
            self._ending.set()
            self._settled.set()

    async def run(self) -> None:
        """Last until the viewer leaves, fails or `end` is called; then free everything."""
        try:
            await self._last()
        finally:
            await self._close()

    async def _last(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await self._settled.wait()
        except TimeoutError:
            self.end("connect_timeout")
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._ending.wait()
            heard_s = self._last_message_s
            if heard_s is not None and self._vigil.silent(heard_s):
                self.end("peer_gone")

    async def _close(self) -> None:
        self.end("cancelled")
        if self.reason == CALL_OVER and self._channel is not None:
            self._channel.send("bye", {})
        for track in self._tracks:
            track.stop()
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._peer.close()
        except Exception:
            logger.exception("viewer %s did not close cleanly", self.id)
        logger.info("viewer %s closed: %s", self.id, self.reason)

    def _on_peer_state(self, state: str) -> None:
        if state == "connected":
            self._settled.set()
        elif state in ("failed", "closed"):
            self.end("peer_left" if state == "closed" else "connection_failed")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = Channel(channel, self._on_message)

    def _on_message(self, kind: str, fields: dict[str, Any]) -> None:
        """`ping` is answered by the channel; a viewer turns nothing."""
        self._last_message_s = self._clock.now()
        if kind == "bye":
            self.end("bye")
