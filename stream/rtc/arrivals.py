"""When packets of a receiver come off the wire, for who measures a call from outside. Event loop only."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCRtpReceiver
from aiortc.rtp import RtpPacket


def note_arrivals(receiver: RTCRtpReceiver, note: Callable[[RtpPacket], None]) -> None:
    """Have `note` called with every packet of a receiver, before the receiver takes it."""
    take = receiver._handle_rtp_packet

    async def take_noted(packet: RtpPacket, arrival_time_ms: int) -> None:
        note(packet)
        await take(packet, arrival_time_ms)

    receiver._handle_rtp_packet = take_noted  # type: ignore[method-assign]
