"""What leaves one session: a picture track and a voice track, to the caller and to everybody who watches.

In: the pacer's slots, the codecs of the caller's offer, what the caller's network reports. Out: tracks for the
caller's connection, and an audience that gets the same packets. The caller's connection sets their pace and
their bit rate; viewers have no say in either. Event loop only.
"""

from __future__ import annotations

import contextlib

from aiortc.mediastreams import MediaStreamError

from stream.calls.audience import Audience
from stream.calls.session_parts import SessionParts
from stream.engine.protocol import EngineSpec
from stream.outbound.bit_rate import BitRateControl
from stream.outbound.pacer import Pacer
from stream.outbound.tracks import PictureTrack, VoiceTrack, picture_track
from stream.rtc.peer import Codecs, Peer


class Broadcast:
    """See the module's docstring.

    Args:
        watch_id: the session's, for what viewers are told.
        parts: the server's shared parts.
        spec: size and rate of the pictures.
        pacer: the session's.
    """

    def __init__(self, watch_id: str, parts: SessionParts, spec: EngineSpec, pacer: Pacer) -> None:
        self._parts = parts
        self._spec = spec
        self._pacer = pacer
        self._bit_rate: BitRateControl | None = None
        self.voice = VoiceTrack(pacer)
        self.pictures: PictureTrack | None = None
        self.audience = Audience(watch_id, parts.max_viewers, parts.ice, parts.clock, parts.metrics)

    def make_pictures(self, codec: str) -> PictureTrack:
        """Build the picture track for the negotiated codec (MIME type).

        Raises:
            ValueError: a codec that is not ours.
        """
        self.pictures = picture_track(self._pacer, self._parts.clock, self._spec, codec)
        self._bit_rate = BitRateControl(self.pictures.bit_rate)
        return self.pictures

    async def admit(self, sdp: str, codecs: Codecs) -> dict[str, str]:
        """Answer a viewer's offer; see `Audience.admit`."""
        assert self.pictures is not None, "nobody knows a session before its offer is answered"
        return await self.audience.admit(sdp, codecs, self.voice, self.pictures)

    async def fit_bit_rate(self, caller: Peer, now_s: float) -> None:
        """Let the pictures cost what the caller's network carries."""
        report = await caller.picture_report()
        if report is not None and self.pictures is not None and self._bit_rate is not None:
            self.pictures.bit_rate = self._bit_rate.note(*report, now_s)

    async def speak(self) -> None:
        """Keep the voice going for a caller who does not take it; otherwise the caller's connection does."""
        with contextlib.suppress(MediaStreamError):
            while True:
                await self.voice.recv()

    def stop(self) -> None:
        """End both tracks: nothing more leaves."""
        self.voice.stop()
        if self.pictures is not None:
            self.pictures.stop()
