"""Tells a browser how long it may hold our pictures back: the playout-delay extension of RTP packets.

In: an offer and the transceiver that answers it. Out: the extension accepted in the answer, and sent with every
packet of the pictures. Browsers that do not offer it see nothing of it. Without it Chromium holds pictures back by
what it guesses from its past; the bounds keep that guess within what a conversation bears, and leave it room to
bring picture and voice together.

aiortc has no such extension and no door for one. Its senders serialise every packet with a map of extensions of
their own; here one sender's map is replaced by one that knows one more. Event loop only.

Source: the WebRTC project's "Playout Delay" RTP header extension (two 12-bit numbers of 10 ms: least, most).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiortc import RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, pack_header_extensions, unpack_header_extensions
from aiortc.sdp import SessionDescription

from stream.rtc.private_names import HEADER_EXTENSIONS_MAP, replace_private

URI: Final = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
UNIT_MS: Final = 10
MAX_MS: Final = 4095 * UNIT_MS


@dataclass(frozen=True, slots=True)
class PlayoutDelay:
    """Bounds in milliseconds, multiples of 10: the receiver shows a picture that long after it came."""

    least_ms: int = 0
    most_ms: int = 200

    def __post_init__(self) -> None:
        if not 0 <= self.least_ms <= self.most_ms <= MAX_MS or self.least_ms % 10 or self.most_ms % 10:
            raise ValueError(
                f"PlayoutDelay needs multiples of 10 ms with 0 <= least <= most <= {MAX_MS}, "
                f"got {self.least_ms} and {self.most_ms}."
            )

    def pack(self) -> bytes:
        """The extension's three bytes."""
        return ((self.least_ms // UNIT_MS) << 12 | self.most_ms // UNIT_MS).to_bytes(3, "big")

    @staticmethod
    def unpack(data: bytes) -> PlayoutDelay:
        """Read three bytes.

        Raises:
            ValueError: it is not three bytes, or the bounds are the wrong way round.
        """
        if len(data) != 3:
            raise ValueError(f"Expected 3 bytes, got {len(data)}.")
        both = int.from_bytes(data, "big")
        return PlayoutDelay(UNIT_MS * (both >> 12), UNIT_MS * (both & 0xFFF))


class _MapWithDelay(HeaderExtensionsMap):
    """aiortc's map, and the delay in every packet once its number is negotiated."""

    def __init__(self, delay: PlayoutDelay) -> None:
        super().__init__()
        self._data = delay.pack()
        self._id: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        self._id = next((ext.id for ext in parameters.headerExtensions if ext.uri == URI), None)

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, data = super().set(values)
        if self._id is None:
            return profile, data
        return pack_header_extensions([*unpack_header_extensions(profile, data), (self._id, self._data)])


def accept_playout_delay(transceiver: RTCRtpTransceiver, offer_sdp: str, delay: PlayoutDelay) -> bool:
    """Accept the extension for a transceiver, if the offer has it, and send it from now on.

    Call it between `setRemoteDescription` and `createAnswer`.

    Returns:
        Whether it will be sent.

    Raises:
        MovedNameError: an aiortc that keeps its map elsewhere.
    """
    offered = _offered(offer_sdp, transceiver.kind)
    sender: RTCRtpSender = transceiver.sender
    if offered is None:
        return False
    if all(ext.uri != URI for ext in transceiver._headerExtensions):
        transceiver._headerExtensions.append(offered)
    replace_private(sender, HEADER_EXTENSIONS_MAP, _MapWithDelay(delay))
    return True


def _offered(sdp: str, kind: str) -> RTCRtpHeaderExtensionParameters | None:
    for media in SessionDescription.parse(sdp).media:
        if media.kind == kind:
            return next((ext for ext in media.rtp.headerExtensions if ext.uri == URI), None)
    return None
