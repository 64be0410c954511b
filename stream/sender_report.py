"""What the voice's sender reports say of its moment, so that a browser need not hold the picture back.

In: the voice's sender and a time. Out: RTCP sender reports whose RTP moment is earlier by that time. Browsers bring
voice and picture together by these reports: they add what each waits in its jitter buffer and on its way to ear
and eye, and hold back the one that would come early. The voice waits longer (a jitter buffer that holds some
packets, then the sound device), so a browser that is told the moments of sending holds every picture back for as
long, half a minute after a call began: 60 ms of delay that the call does not have at its start (ARCHITECTURE.md
has figures). The voice is therefore said to be later than it is by what it waits more; picture and voice then meet
where they met before, without that wait. Event loop only.

Source: RFC 3550, 6.4.1 (sender reports tie an RTP moment to a wall clock).
"""

from __future__ import annotations

from typing import Final

from aiortc import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket

VOICE_WAIT_S: Final = 0.060
"""Chromium 156 on loopback: 48 ms of jitter buffer and 30 ms of sound device, against 15 ms for a picture."""


def report_later(transceiver: RTCRtpTransceiver, wait_s: float = VOICE_WAIT_S) -> None:
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
