"""A receiver that hands every audio packet on at once. Reaches into aiortc's receiver; event loop only."""

from __future__ import annotations

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import MAX_MISORDER, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint16_gt

from stream.rtc.private_names import JITTER_BUFFER, replace_private


class PromptBuffer:
    """Hands every audio packet on as it comes; stands in for aiortc's jitter buffer.

    That one waits for 4 packets (80 ms), and after one loss its lag grows to 14 for good (aiortc #543); at its
    smallest it still waits for the next packet (20 ms). Order and gaps are the timeline's to settle, and the
    pacer's reserve absorbs jitter, so nothing need be waited for here. A packet older than one already handed on
    is dropped: at 20 ms a packet, waiting for it would cost every listener more than concealing it.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """See `aiortc.jitterbuffer.JitterBuffer.add`.

        The first value asks for a key frame, which audio has not.
        """
        number = packet.sequence_number
        if self._last is not None and not uint16_gt(number, self._last):
            behind = uint16_add(self._last, -number)
            if behind < MAX_MISORDER:
                return False, None
        self._last = number
        return False, JitterFrame(data=packet._data, timestamp=packet.timestamp)  # type: ignore[attr-defined]


def hear_promptly(receiver: RTCRtpReceiver) -> None:
    """Give an audio receiver a `PromptBuffer`.

    Raises:
        MovedNameError: an aiortc that keeps its buffer elsewhere, with which every call would be 80 ms later.
    """
    replace_private(receiver, JITTER_BUFFER, PromptBuffer())
