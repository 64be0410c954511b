"""The playout-delay extension: in the answer, and in every packet of the pictures that leaves."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from aiortc.rtp import is_rtcp, unpack_header_extensions
from aiortc.sdp import SessionDescription

from stream.rtc.playout_delay import URI, PlayoutDelay
from tests.stream.rig import Caller, running_server


def test_bounds_are_three_bytes_there_and_back() -> None:
    assert PlayoutDelay(0, 200).pack() == bytes((0x00, 0x00, 0x14))
    assert PlayoutDelay(40, 40950).pack() == bytes((0x00, 0x4F, 0xFF))
    for bounds in (PlayoutDelay(), PlayoutDelay(0, 0), PlayoutDelay(400, 5000)):
        assert PlayoutDelay.unpack(bounds.pack()) == bounds


@pytest.mark.parametrize("bounds", [(-10, 0), (20, 10), (0, 40960), (0, 15)])
def test_bounds_that_cannot_be_sent_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 10"):
        PlayoutDelay(*bounds)


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        PlayoutDelay.unpack(b"\x00\x00")


def extensions_of(packet: bytes) -> dict[int, bytes]:
    """Header extensions of an RTP packet by number (RFC 3550, 5.3.1; RFC 8285)."""
    first, _, _, _, _ = struct.unpack("!BBHLL", packet[:12])
    if not first & 0x10:
        return {}
    start = 12 + 4 * (first & 0x0F)
    profile, words = struct.unpack("!HH", packet[start : start + 4])
    return dict(unpack_header_extensions(profile, packet[start + 4 : start + 4 + 4 * words]))


class AskingCaller(Caller):
    """Offers the extension for its pictures, as browsers do, and keeps every RTP packet that comes."""

    def __init__(self, number: int | None) -> None:
        super().__init__()
        self.number = number
        self.packets: list[bytes] = []

    async def offer(self) -> dict[str, str]:
        offer = await super().offer()
        sound, pictures = offer["sdp"].split("m=video")
        if self.number is not None:
            pictures = pictures.replace("a=sendrecv", "a=recvonly")
            line = f"a=extmap:{self.number} {URI}\r\n"
            pictures = pictures.replace("a=recvonly\r\n", f"a=recvonly\r\n{line}", 1)
        for transport in {t.receiver.transport for t in self.connection.getTransceivers()}:
            self._listen(transport)
        return {**offer, "sdp": f"{sound}m=video{pictures}"}

    def _listen(self, transport: object) -> None:
        inner = transport._handle_rtp_data  # type: ignore[attr-defined]

        async def keep(data: bytes, arrival_time_ms: int) -> None:
            self.packets.append(data)
            await inner(data, arrival_time_ms)

        transport._handle_rtp_data = keep  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [5, 13])
async def test_pictures_carry_it_and_sound_does_not(tmp_path: Path, number: int) -> None:
    async with running_server(tmp_path) as running:
        caller = AskingCaller(number)
        answer = await caller.call(running)
        sections = {media.kind: media for media in SessionDescription.parse(answer["sdp"]).media}
        accepted = [ext.id for ext in sections["video"].rtp.headerExtensions if ext.uri == URI]
        assert accepted == [number]
        assert all(ext.uri != URI for ext in sections["audio"].rtp.headerExtensions)
        video = sections["video"].rtp.codecs[0].payloadType
        await caller.until(lambda: sum(packet[1] & 0x7F == video for packet in caller.packets) > 20)
        await caller.hang_up()
    media = [packet for packet in caller.packets if not is_rtcp(packet)]
    pictures = [packet for packet in media if packet[1] & 0x7F == video]
    assert len(pictures) > 10
    for packet in pictures:
        assert PlayoutDelay.unpack(extensions_of(packet)[number]) == PlayoutDelay()
    assert len(pictures) < len(media)
    assert all(number not in extensions_of(packet) for packet in media if packet not in pictures)


async def test_who_does_not_offer_it_is_not_sent_it(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = AskingCaller(None)
        answer = await caller.call(running)
        assert URI not in answer["sdp"]
        await caller.until(lambda: len(caller.received.pictures) > 3)
        await caller.hang_up()
    assert not any(PlayoutDelay().pack() in extensions_of(packet).values() for packet in caller.packets)
