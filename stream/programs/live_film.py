"""A call's own packets as fragmented MP4 for who has no WebRTC: playable by Media Source as it comes.

In: the tracks that viewers read, H.264 and Opus, encoded already. Out: pieces of one film: the first is the
initialisation segment, each other one fragment (`moof`, `mdat`) of a picture and its voice. The voice, which leaves
ahead of its picture, is put back beside it. A fragment leaves when the next picture comes: only then is it known to
be whole. A reader that is slow loses packets and goes on with a key frame, as any viewer does. Event loop only;
nothing is encoded here.

Source: ISO/IEC 14496-12, 8.8 (movie fragments); W3C, ISO BMFF Byte Stream Format.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from fractions import Fraction
from typing import Any, Final

import av
from aiortc.mediastreams import MediaStreamError

from stream.engine.protocol import EngineSpec
from stream.media import PACKET_SAMPLES, RATE_HZ, Codecs
from stream.outbound.encoder import H264, VIDEO_RATE_HZ, VIDEO_TIME_BASE
from stream.outbound.fan_out import SharedTrack
from stream.outbound.tracks import VOICE_AHEAD_S
from stream.outbound.voice_encoder import OPUS

FILM_CODECS: Final = Codecs(audio=OPUS, video=H264)
VOICE_BACK: Final = round(VOICE_AHEAD_S * RATE_HZ)
"""Samples by which the voice leaves before the picture with which it is heard. The rest of its lead stays: the
codec's delay, and the mouth's, since a player too shows a picture from its frame's first sample on."""


class LiveFilm:
    """See the module's docstring.

    Args:
        voice, pictures: a viewer's ends of the call's tracks, in `FILM_CODECS`.
        spec: of the engine that draws them.
    """

    def __init__(self, voice: SharedTrack, pictures: SharedTrack, spec: EngineSpec) -> None:
        fps = spec.fps
        self._tracks = (voice, pictures)
        self._frame_ticks = VIDEO_RATE_HZ // fps
        self._written: list[bytes] = []
        options = {
            "movflags": "empty_moov+default_base_moof",
            "frag_duration": str(1_000_000 // fps),
            "flush_packets": "1",
        }
        self._container = av.open(self, mode="w", format="mp4", options=options)
        # x264 puts its parameter sets into key frames, where the muxer finds them; Opus has a header of its own.
        self._pictures = self._container.add_mux_stream(
            "h264", rate=fps, width=spec.width, height=spec.height, time_base=VIDEO_TIME_BASE
        )
        self._voice = self._container.add_stream(
            "libopus",
            rate=RATE_HZ,
            layout="mono",
            options={"application": "lowdelay", "frame_duration": "10"},
        )
        self._first_ticks: int | None = None  # of the first picture: the film's zero
        self._last_ticks = self._last_sample = -1

    def write(self, data: bytes) -> int:
        """Take what the muxer writes."""
        self._written.append(bytes(data))
        return len(data)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The film, piece by piece, until the tracks end."""
        waiting: dict[asyncio.Task[Any], SharedTrack] = {}
        try:
            while True:
                for track in self._tracks:
                    if track not in waiting.values():
                        waiting[asyncio.ensure_future(track.recv())] = track
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    track = waiting.pop(task)
                    self._add(track, task.result())
                if self._written:
                    piece = b"".join(self._written)
                    self._written.clear()
                    yield piece
        except MediaStreamError:
            return
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _add(self, track: SharedTrack, packet: Any) -> None:
        if track is self._tracks[1]:
            self._add_picture(packet)
        elif self._first_ticks is not None:
            self._add_voice(packet)

    def _add_picture(self, packet: Any) -> None:
        if self._first_ticks is None:
            self._first_ticks = packet.pts
        ticks = packet.pts - self._first_ticks
        if ticks > self._last_ticks:
            self._last_ticks = ticks
            self._mux(packet, self._pictures, ticks, self._frame_ticks, VIDEO_TIME_BASE)

    def _add_voice(self, packet: Any) -> None:
        assert self._first_ticks is not None
        sample = packet.pts + VOICE_BACK - self._first_ticks * RATE_HZ // VIDEO_RATE_HZ
        if sample > self._last_sample and sample >= 0:
            self._last_sample = sample
            self._mux(packet, self._voice, sample, PACKET_SAMPLES, Fraction(1, RATE_HZ))

    def _mux(self, packet: Any, stream: Any, pts: int, duration: int, time_base: Fraction) -> None:
        """A copy goes into the film: the packet is everybody's."""
        copy = av.Packet(bytes(packet))
        copy.pts = copy.dts = pts
        copy.duration = duration
        copy.time_base = time_base
        copy.is_keyframe = packet.is_keyframe
        copy.stream = stream
        self._container.mux(copy)
