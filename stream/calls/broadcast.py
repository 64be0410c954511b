"""What leaves one call: a picture track and a voice track, to the caller and to everybody who watches.

In: the pacer's slots, the codecs of the caller's offer, what the caller's network reports. Out: tracks for the
caller's connection, and an audience that gets the same packets. While there is a connection that takes them, it
sets their pace; where there is none, `run` does, so that viewers never notice who pulls. The bit rate follows the
caller's network alone. Event loop only.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiortc.mediastreams import MediaStreamError

from stream.calls.audience import Audience
from stream.calls.session_parts import SessionParts
from stream.errors import unknown_session
from stream.live.caller import Caller
from stream.live.face import Face
from stream.live.slots import SlotFeed
from stream.media import Codecs
from stream.outbound.bit_rate import BitRateControl
from stream.outbound.caller_track import CallerTrack
from stream.outbound.fan_out import SharedTrack
from stream.outbound.tracks import PictureTrack, VoiceTrack, picture_track
from stream.outbound.voice_encoder import OPUS
from stream.rtc.offer.text import codecs_for

USUAL: Final = Codecs(audio=OPUS, video="video/VP8")
"""What viewers get of a call whose caller takes no packets."""


class Broadcast:
    """See the module's docstring.

    Args:
        watch_id: the call's, for what viewers are told.
        parts: the server's shared parts.
        face: what is shown.
    """

    def __init__(self, watch_id: str, parts: SessionParts, face: Face) -> None:
        self._watch_id = watch_id
        self._parts = parts
        self._face = face
        self._bit_rate: BitRateControl | None = None
        self._pull = {"audio": asyncio.Event(), "video": asyncio.Event()}
        self._callers_tracks: tuple[CallerTrack, ...] = ()  # of who calls now
        self._next_tracks: tuple[CallerTrack, ...] = ()  # of who was answered last
        self.codecs: Codecs | None = None
        self.voice: VoiceTrack | None = None
        self.pictures: PictureTrack | None = None
        self.audience = Audience(watch_id, parts.max_viewers, parts.ice, parts.clock, parts.metrics)

    @property
    def showing(self) -> Face:
        """How far what was heard has been shown."""
        return self._face

    def tracks(self, codecs: Codecs) -> tuple[CallerTrack, CallerTrack]:
        """Tracks for a caller's connection, which are the motor while it reads them.

        Raises:
            ValueError: a codec that is not ours.
        """
        self._begin(codecs)
        assert self.voice is not None
        assert self.pictures is not None
        self._next_tracks = voice, pictures = CallerTrack(self.voice), CallerTrack(self.pictures)
        return voice, pictures

    def shared(self, codecs: Codecs) -> tuple[SharedTrack, SharedTrack]:
        """The packets that viewers get, for a caller that takes them beside whoever pulls; voice, pictures.

        Raises:
            ValueError: a codec that is not ours.
        """
        self._begin(codecs)
        assert self.voice is not None
        assert self.pictures is not None
        return self.voice.fan_out.track(), self.pictures.fan_out.track()

    def slots(self) -> SlotFeed:
        """Pictures and voice unencoded."""
        return self._face.feed()

    def _begin(self, codecs: Codecs) -> None:
        """Encode for these codecs. Who watches in others has to come again, and will find these."""
        if codecs == self.codecs:
            return
        pictures = picture_track(self._face.pacer, self._parts.clock, self._face.spec, codecs.video)
        voice = VoiceTrack(self._face.pacer)
        voice.encode_for(codecs.audio)
        if self.voice is not None and self.pictures is not None:
            voice.go_on_after(self.voice)
            pictures.go_on_after(self.pictures)
        self.stop()
        self.audience.dismiss("codecs_changed")
        self.codecs, self.voice, self.pictures = codecs, voice, pictures
        self._bit_rate = BitRateControl(pictures.bit_rate)

    async def admit(self, sdp: str) -> dict[str, str]:
        """Answer a viewer's offer; see `Audience.admit`."""
        if self.codecs is None or self.voice is None or self.pictures is None:
            raise unknown_session(self._watch_id)  # its first offer is being answered
        if self._nobody_takes_packets:
            self._begin(codecs_for(sdp, self.codecs))
        return await self.audience.admit(sdp, self.codecs, self.voice, self.pictures)

    @property
    def _nobody_takes_packets(self) -> bool:
        """Whether the codecs are still to be chosen: the caller takes none, and nobody else does or is about to."""
        assert self.pictures is not None
        alone = all(event.is_set() for event in self._pull.values())
        return alone and not len(self.audience) and not len(self.pictures.fan_out)

    async def fit_bit_rate(self, caller: Caller, now_s: float) -> None:
        """Let the pictures cost what the caller's network carries."""
        report = await caller.network()
        if report is not None and self.pictures is not None and self._bit_rate is not None:
            self.pictures.bit_rate = self._bit_rate.note(*report, now_s)

    # -- who pulls ----------------------------------------------------------------------------------------

    def pull_for(self, caller: Caller | None) -> None:
        """Let the caller pull what it takes, and `run` the rest; everything where nobody calls."""
        if self.codecs is None:
            self._begin(USUAL)
        if caller is None:
            for track in self._callers_tracks:
                track.stop()
        else:
            self._callers_tracks = self._next_tracks
        for kind, taken in (
            ("audio", caller is not None and caller.takes_voice),
            ("video", caller is not None and caller.takes_pictures),
        ):
            if taken:
                self._pull[kind].clear()
            else:
                self._pull[kind].set()

    async def run(self) -> None:
        """Keep both tracks going wherever `pull_for` says that nobody else does; for ever."""
        async with asyncio.TaskGroup() as group:
            for kind in self._pull:
                group.create_task(self._pull_alone(kind))

    async def _pull_alone(self, kind: str) -> None:
        while True:
            await self._pull[kind].wait()
            track = self.voice if kind == "audio" else self.pictures
            assert track is not None
            try:
                await track.recv()
            except MediaStreamError:
                if track in (self.voice, self.pictures):  # it was ended; else other codecs took its place
                    return

    def stop(self) -> None:
        """End both tracks: nothing more leaves."""
        for track in (*self._callers_tracks, *self._next_tracks, self.voice, self.pictures):
            if track is not None:
                track.stop()
