"""What the voice's sender reports say: the moment of its picture, ahead of which it is sent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import AnyRtcpPacket, RtcpByePacket, RtcpPacket, RtcpSenderInfo, RtcpSrPacket, RtpPacket
from aiortc.sdp import SessionDescription

from stream.outbound.tracks import VOICE_AHEAD_S
from stream.rtc.sender_report import report_later
from tests.stream.rig import Caller, running_server

CLOCK_HZ = 48_000


class Sender:
    """Stands where aiortc's sender hands its reports over."""

    def __init__(self) -> None:
        self.sent: list[AnyRtcpPacket] = []

    async def _send_rtcp(self, packets: list[AnyRtcpPacket]) -> None:
        self.sent += packets


def transceiver_of(sender: Sender) -> RTCRtpTransceiver:
    codec = SimpleNamespace(clockRate=CLOCK_HZ)
    return cast(RTCRtpTransceiver, SimpleNamespace(sender=sender, _codecs=[codec]))


def report_of(rtp_timestamp: int) -> RtcpSrPacket:
    info = RtcpSenderInfo(ntp_timestamp=7 << 32, rtp_timestamp=rtp_timestamp, packet_count=1, octet_count=2)
    return RtcpSrPacket(ssrc=1, sender_info=info)


@pytest.mark.parametrize("now", [100_000, 10])
async def test_a_report_names_an_earlier_sample_for_the_same_moment(now: int) -> None:
    sender = Sender()
    report_later(transceiver_of(sender), 0.05)
    bye = RtcpByePacket(sources=[1])
    await sender._send_rtcp([report_of(now), bye])
    report = sender.sent[0]
    assert isinstance(report, RtcpSrPacket) and sender.sent[1] is bye
    assert report.sender_info.rtp_timestamp == (now - 2400) % (1 << 32)
    assert report.sender_info.ntp_timestamp == 7 << 32


def test_a_wait_before_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0 s, got -0\.1"):
        report_later(transceiver_of(Sender()), -0.1)


class ListeningCaller(Caller):
    """Notes how many ticks the newest packet of a stream is ahead of its sender report, by payload type."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[int, tuple[int, int]] = {}  # of a stream: payload type, moment
        self.ahead: dict[int, list[int]] = {}

    async def offer(self) -> dict[str, str]:
        offer = await super().offer()
        for transport in {t.receiver.transport for t in self.connection.getTransceivers()}:
            self._listen(transport)
        return offer

    def _listen(self, transport: Any) -> None:
        take_media, take_reports = transport._handle_rtp_data, transport._handle_rtcp_data

        async def note_media(data: bytes, arrival_time_ms: int) -> None:
            packet = RtpPacket.parse(data)
            self.newest[packet.ssrc] = packet.payload_type, packet.timestamp
            await take_media(data, arrival_time_ms)

        async def note_reports(data: bytes) -> None:
            for packet in RtcpPacket.parse(data):
                if isinstance(packet, RtcpSrPacket) and packet.ssrc in self.newest:
                    kind, moment = self.newest[packet.ssrc]
                    ticks = (moment - packet.sender_info.rtp_timestamp) % (1 << 32)
                    self.ahead.setdefault(kind, []).append(ticks)
            await take_reports(data)

        transport._handle_rtp_data, transport._handle_rtcp_data = note_media, note_reports


async def test_a_peer_is_told_that_the_voice_comes_later_and_pictures_come_now(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = ListeningCaller()
        answer = await caller.call(running)
        media = SessionDescription.parse(answer["sdp"]).media
        assert len({part.msid.split()[0] for part in media if part.msid}) == 2, (
            "no browser delays one for the other"
        )
        kinds = {part.kind: part.rtp.codecs[0] for part in media if part.kind != "application"}
        voice, pictures = kinds["audio"], kinds["video"]
        await caller.until(lambda: len(caller.ahead) == 2, within_s=20)
        await caller.hang_up()
    packet_s = 0.01
    for ticks in caller.ahead[voice.payloadType]:
        assert 0 <= ticks / voice.clockRate - VOICE_AHEAD_S <= 2 * packet_s
    for ticks in caller.ahead[pictures.payloadType]:
        assert ticks / pictures.clockRate <= 0.04


async def test_browsers_are_asked_for_short_packets(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        answer = await caller.call(running)
        sound, pictures = answer["sdp"].split("m=video")
        assert "a=ptime:10\r\n" in sound and "a=ptime" not in pictures
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        assert caller.received.of_type("hello")[0]["voice_ahead_ms"] == round(1000 * VOICE_AHEAD_S)
        await caller.hang_up()
