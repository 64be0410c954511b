"""One WebRTC connection: answering an offer with aiortc, and taking it down again without leaving anything
behind.

In: a checked offer and the tracks to send. Out: the answer, the peer's microphone track and its data channel.
Event loop only. What the product needs and aiortc does not offer through its interface (jitter buffer,
key-frame requests) is reached for here and in `inbound`, nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from stream.errors import SignalingError
from stream.ice import offer_addresses
from stream.inbound import hear_promptly
from stream.outbound import PictureTrack, VoiceTrack
from stream.playout_delay import PlayoutDelay, accept_playout_delay

logger = logging.getLogger(__name__)

CHANNEL_LABEL = "fada"
ANSWER_WITHIN_S = 5.0
FRACTION_UNITS = 256  # RTCP says losses in 1/256 (RFC 3550, 6.4.1)


@dataclass(frozen=True, slots=True)
class IceConfig:
    """Attributes:
    addresses: local addresses to offer.
    servers: STUN and TURN servers, as (url, user name or None, password or None); none by default.
    """

    addresses: Sequence[str]
    servers: Sequence[tuple[str, str | None, str | None]] = field(default_factory=tuple)

    def as_aiortc(self) -> RTCConfiguration:
        servers = [RTCIceServer(urls=url, username=user, credential=word) for url, user, word in self.servers]
        return RTCConfiguration(iceServers=servers)


class Peer:
    """A connection being built, up, or closed.

    Args:
        ice: see `IceConfig`.
        on_state: called with aiortc's connection state at every change.
        on_channel: called when the peer's data channel is there.
    """

    def __init__(
        self, ice: IceConfig, on_state: Callable[[str], None], on_channel: Callable[[RTCDataChannel], None]
    ) -> None:
        self._ice = ice
        self._connection = RTCPeerConnection(ice.as_aiortc())
        self._connection.on("connectionstatechange", lambda: on_state(self._connection.connectionState))
        self._connection.on("datachannel", lambda channel: self._take_channel(channel, on_channel))
        self.microphone: MediaStreamTrack | None = None
        self.video_codec = ""
        self._picture_sender: RTCRtpSender | None = None

    @property
    def state(self) -> str:
        """aiortc's connection state: new, connecting, connected, failed, closed."""
        return self._connection.connectionState

    async def answer(
        self, sdp: str, voice: VoiceTrack, make_pictures: Callable[[str], PictureTrack]
    ) -> RTCSessionDescription:
        """Answer an offer.

        Args:
            sdp: the offer.
            voice: track to send.
            make_pictures: builds the picture track once the codec is known, given its MIME type.

        Raises:
            SignalingError: the two sides have no codec in common, or the offer does not hold together.
        """
        connection = self._connection
        audio = connection.addTransceiver("audio", direction="sendrecv")
        video = connection.addTransceiver("video", direction="sendonly")
        video.setCodecPreferences(_vp8_first())
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        except OperationError as error:
            raise SignalingError(
                "no_common_codec", "The offer and this server share no codec; offer Opus audio and VP8 video."
            ) from error
        except InvalidStateError:
            raise
        except Exception as error:
            raise SignalingError(
                "bad_offer", f"The offer cannot be answered: {error or type(error).__name__}."
            ) from error
        self.microphone = audio.receiver.track
        if self.microphone is None:
            raise SignalingError(
                "no_audio", "The offer sends no audio; add the microphone's track before the offer."
            )
        hear_promptly(audio.receiver)
        self.video_codec = video._codecs[0].mimeType
        self._picture_sender = video.sender
        pictures = make_pictures(self.video_codec)
        voice.encode_for(audio._codecs[0].mimeType)
        accept_playout_delay(video, sdp, PlayoutDelay())
        audio.sender.replaceTrack(voice)
        video.sender.replaceTrack(pictures)
        _hand_on_keyframe_requests(video.sender, pictures)
        offer_addresses(connection, self._ice.addresses)
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription

    async def picture_report(self) -> tuple[float, float | None] | None:
        """What the peer last said of the pictures: (fraction lost, round-trip seconds or None), or None."""
        if self._picture_sender is None:
            return None
        for report in (await self._picture_sender.getStats()).values():
            if isinstance(report, RTCRemoteInboundRtpStreamStats):
                return report.fractionLost / FRACTION_UNITS, report.roundTripTime
        return None

    async def close(self) -> None:
        """End the connection and everything aiortc keeps for it."""
        await self._connection.close()
        if self.microphone is not None:
            self.microphone.stop()

    def _take_channel(self, channel: RTCDataChannel, on_channel: Callable[[RTCDataChannel], None]) -> None:
        if channel.label == CHANNEL_LABEL:
            on_channel(channel)
        else:
            with contextlib.suppress(Exception):
                channel.close()


def _vp8_first() -> list[RTCRtpCodecCapability]:
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return sorted(codecs, key=lambda codec: codec.mimeType.lower() != "video/vp8")


def _hand_on_keyframe_requests(sender: RTCRtpSender, pictures: PictureTrack) -> None:
    """Let PLI and FIR reach our own encoder; aiortc would only tell its own."""
    original = sender._send_keyframe

    def on_request() -> None:
        original()
        pictures.request_keyframe()

    sender._send_keyframe = on_request  # type: ignore[method-assign]
