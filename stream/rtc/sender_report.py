"""What the voice's sender reports say of its moment: that of its picture, since it is sent ahead of it.

In: the voice's transceiver and how far ahead. Out: RTCP sender reports whose RTP moment is earlier by that time.
Browsers tell from these reports how far picture and voice are apart where they play them; the page shows it. Event
loop only.

Source: RFC 3550, 6.4.1 (sender reports tie an RTP moment to a wall clock).
"""

from __future__ import annotations

from aiortc import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket


def report_later(transceiver: RTCRtpTransceiver, wait_s: float) -> None:
    """Let a transceiver's sender report its media as `wait_s` later than they are sent.

    Raises:
        ValueError: a negative time.
    """
    if wait_s < 0:
        raise ValueError(f"Expected a wait of at least 0 s, got {wait_s}.")
    sender: RTCRtpSender = transceiver.sender
    original = sender._send_rtcp

    async def send_rtcp(packets: list[AnyRtcpPacket]) -> None:
        ticks = round(wait_s * transceiver._codecs[0].clockRate)
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                packet.sender_info.rtp_timestamp = (packet.sender_info.rtp_timestamp - ticks) & 0xFFFFFFFF
        await original(packets)

    sender._send_rtcp = send_rtcp  # type: ignore[method-assign]
