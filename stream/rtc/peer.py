"""One WebRTC connection: answering an offer with aiortc, and taking it down again without leaving anything
behind.

In: an offer and the tracks to send. Out: the answer, a caller's microphone track, the peer's data channel.
Event loop only. What the product needs and aiortc does not offer through its interface (jitter buffer, key-frame
requests) is reached for in this folder, nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator

from aiortc import (
    MediaStreamTrack,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from stream.errors import SignalingError
from stream.media import Codecs
from stream.outbound.caller_track import CallerTrack
from stream.outbound.tracks import VOICE_AHEAD_S
from stream.rtc.certificate import welcome_rsa
from stream.rtc.datagrams import admit_the_peer_alone
from stream.rtc.ice import IceConfig, advertise, connections, offer_addresses
from stream.rtc.offer.check import CALLER, SENDER, VIEWER, check_aside, oneline
from stream.rtc.offer.text import as_offered
from stream.rtc.playout_delay import PlayoutDelay, accept_playout_delay
from stream.rtc.prompt_buffer import hear_promptly
from stream.rtc.sender_report import report_later

logger = logging.getLogger(__name__)

CHANNEL_LABEL = "fada"
ANSWER_WITHIN_S = 5.0
MIC_PACKET_MS = 10
FRACTION_UNITS = 256  # RTCP says losses in 1/256 (RFC 3550, 6.4.1)


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
        welcome_rsa(self._connection)
        self._connection.on("connectionstatechange", lambda: on_state(self._connection.connectionState))
        self._connection.on("datachannel", lambda channel: self._take_channel(channel, on_channel))
        self.microphone: MediaStreamTrack | None = None
        self.codecs = Codecs("", "")
        self._picture_sender: RTCRtpSender | None = None
        self._audio: RTCRtpTransceiver | None = None
        self._video: RTCRtpTransceiver | None = None

    @property
    def state(self) -> str:
        """aiortc's connection state: new, connecting, connected, failed, closed."""
        return self._connection.connectionState

    @property
    def takes_voice(self) -> bool:
        """Whether the peer wants to hear anything; false for one whose audio is "sendonly"."""
        return self._audio is not None and self._audio.currentDirection in ("sendrecv", "sendonly")

    @property
    def takes_pictures(self) -> bool:
        """Whether the peer wants to see anything."""
        return self._video is not None and self._video.currentDirection in ("sendrecv", "sendonly")

    async def answer(
        self,
        sdp: str,
        tracks: Callable[[Codecs], tuple[CallerTrack, CallerTrack]],
        agreed: Codecs | None = None,
    ) -> RTCSessionDescription:
        """Answer an offer.

        Args:
            sdp: the offer as it came.
            tracks: gives the voice's and the pictures' track to send, once the codecs are known.
            agreed: what the call has been in before, to be preferred, since viewers get it so.

        Raises:
            SignalingError: see `check_sdp`; the two sides have no codec in common, or the offer does not hold
                together.
        """
        offer = await check_aside(sdp, CALLER)
        audio = self._connection.addTransceiver("audio", direction="sendrecv")
        video = self._connection.addTransceiver("video", direction="sendonly")
        audio.setCodecPreferences(_first("audio", agreed.audio if agreed else "audio/opus"))
        video.setCodecPreferences(_first("video", agreed.video if agreed else "video/VP8"))
        await self._apply(offer, "The offer and this server share no codec; offer Opus audio and VP8 video.")
        self.microphone = audio.receiver.track
        if self.microphone is None:
            raise SignalingError(
                "no_audio", "The offer sends no audio; add the microphone's track before the offer."
            )
        hear_promptly(audio.receiver)
        self.codecs = Codecs(audio=audio._codecs[0].mimeType, video=video._codecs[0].mimeType)
        voice, pictures = tracks(self.codecs)
        answer = await self._send(offer, audio, voice, video, pictures, pictures.request_keyframe)
        return self._description(_wish_short_packets(answer.sdp), sdp)

    async def answer_sender(self, sdp: str) -> RTCSessionDescription:
        """Answer the offer of somebody who gives sound and takes nothing, as OBS and GStreamer do over WHIP.

        Args:
            sdp: the offer as it came; its video, if any, is answered as inactive.

        Raises:
            SignalingError: see `check_sdp`; no common codec, or the offer does not hold together.
        """
        offer = await check_aside(sdp, SENDER)
        audio = self._connection.addTransceiver("audio", direction="recvonly")
        audio.setCodecPreferences(_first("audio", "audio/opus"))
        if "\r\nm=video" in offer:
            self._connection.addTransceiver("video", direction="inactive")
        await self._apply(
            offer, "The offer and this server share no codec; offer Opus audio, and H.264 or VP8 video."
        )
        self.microphone = audio.receiver.track
        if self.microphone is None:
            raise SignalingError("no_audio", "The offer sends no audio; add a sending audio track to it.")
        hear_promptly(audio.receiver)
        self._audio = audio
        answer = await self._answered()
        return self._description(_wish_short_packets(answer.sdp), sdp)

    async def answer_viewer(
        self,
        sdp: str,
        codecs: Codecs,
        voice: MediaStreamTrack,
        pictures: MediaStreamTrack,
        request_keyframe: Callable[[], None],
    ) -> RTCSessionDescription:
        """Answer the offer of somebody who only looks and listens.

        Args:
            sdp: the offer as it came.
            codecs: the caller's, since a viewer gets the very packets that the caller gets.
            voice, pictures: tracks to send.
            request_keyframe: called when the viewer lost a picture.

        Raises:
            SignalingError: see `check_sdp`; the viewer has not both codecs, or the offer does not hold together.
        """
        offer = await check_aside(sdp, VIEWER)
        audio = self._connection.addTransceiver("audio", direction="sendonly")
        video = self._connection.addTransceiver("video", direction="sendonly")
        audio.setCodecPreferences(_only("audio", codecs.audio))
        video.setCodecPreferences(_only("video", codecs.video))
        names = f"{codecs.video.partition('/')[2]} video and {codecs.audio.partition('/')[2]} audio"
        await self._apply(offer, f"This call is in {names}, and viewers get it as it is; offer both.")
        self.codecs = codecs
        answer = await self._send(offer, audio, voice, video, pictures, request_keyframe)
        return self._description(answer.sdp, sdp)

    async def _apply(self, sdp: str, no_common_codec: str) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                with _blaming_the_offer():
                    await self._connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        except OperationError as error:
            raise SignalingError("no_common_codec", no_common_codec) from error
        except TimeoutError as error:
            raise SignalingError(
                "bad_offer",
                f"The offer could not be answered within {ANSWER_WITHIN_S:g} s; send a shorter one.",
            ) from error

    async def _send(
        self,
        sdp: str,
        audio: RTCRtpTransceiver,
        voice: MediaStreamTrack,
        video: RTCRtpTransceiver,
        pictures: MediaStreamTrack,
        request_keyframe: Callable[[], None],
    ) -> RTCSessionDescription:
        self._picture_sender = video.sender
        self._audio, self._video = audio, video
        accept_playout_delay(video, sdp, PlayoutDelay())
        # Of one stream, a browser would delay one of the two by what it guesses of the other; the page does that.
        audio.sender._stream_id = f"{video.sender._stream_id}-voice"
        report_later(audio, VOICE_AHEAD_S)
        audio.sender.replaceTrack(voice)
        video.sender.replaceTrack(pictures)
        _hand_on_keyframe_requests(video.sender, request_keyframe)
        return await self._answered()

    async def _answered(self) -> RTCSessionDescription:
        """The answer, once everything is attached and the addresses are known."""
        offer_addresses(self._connection, self._ice.addresses)
        for connection in connections(self._connection):
            admit_the_peer_alone(connection)
        with _blaming_the_offer():
            answer = await self._connection.createAnswer()
        await self._connection.setLocalDescription(answer)
        return self._connection.localDescription

    def _description(self, answer_sdp: str, offer_sdp: str) -> RTCSessionDescription:
        public = advertise(as_offered(answer_sdp, offer_sdp), self._ice.public_addresses)
        return RTCSessionDescription(sdp=public, type="answer")

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


@contextlib.contextmanager
def _blaming_the_offer() -> Iterator[None]:
    """Whatever aiortc raises on a stranger's text is `bad_offer`, but for its own two words for it."""
    try:
        yield
    except (OperationError, InvalidStateError):
        raise
    except Exception as error:
        raise SignalingError(
            "bad_offer", f"The offer cannot be answered ({oneline(error)}); send a WebRTC offer."
        ) from error


def _wish_short_packets(answer_sdp: str) -> str:
    """Ask the peer for sound in packets of `MIC_PACKET_MS`, which aiortc has no word for (RFC 8866, 6.4).

    Browsers send 20 ms otherwise, and a window waits for the packet that completes it.
    """
    sections = re.split(r"(?m)^(?=m=)", answer_sdp)
    return "".join(
        f"{section}a=ptime:{MIC_PACKET_MS}\r\n" if section.startswith("m=audio") else section
        for section in sections
    )


def _first(kind: str, mime_type: str) -> list[RTCRtpCodecCapability]:
    """All codecs, one of them first."""
    codecs = RTCRtpSender.getCapabilities(kind).codecs
    return sorted(codecs, key=lambda codec: codec.mimeType.lower() != mime_type.lower())


def _only(kind: str, mime_type: str) -> list[RTCRtpCodecCapability]:
    """One codec, and retransmission of it."""
    wanted = (mime_type.lower(), f"{kind}/rtx")
    return [codec for codec in RTCRtpSender.getCapabilities(kind).codecs if codec.mimeType.lower() in wanted]


def _hand_on_keyframe_requests(sender: RTCRtpSender, request_keyframe: Callable[[], None]) -> None:
    """Let PLI and FIR reach our own encoder; aiortc would only tell its own."""
    original = sender._send_keyframe

    def on_request() -> None:
        original()
        request_keyframe()

    sender._send_keyframe = on_request  # type: ignore[method-assign]
