"""Somebody who only watches, and a tap that keeps what arrives before it is decoded."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import depayload
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket, is_rtcp
from aiortc.sdp import SessionDescription

from stream.rtc.ice import offer_addresses
from tests.stream.rig import Running

Payloads = list[tuple[int, bytes]]
"""RTP time and encoded bytes of each picture or 10 ms of voice, in the order of arrival."""


class Wiretap:
    """Keeps a connection's incoming RTP, by kind. Made before the connection has its answer."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._packets: list[RtpPacket] = []
        for transport in {transceiver.receiver.transport for transceiver in connection.getTransceivers()}:
            self._listen(transport)

    def _listen(self, transport: Any) -> None:
        inner = transport._handle_rtp_data

        async def keep(data: bytes, arrival_time_ms: int) -> None:
            if not is_rtcp(data):
                self._packets.append(RtpPacket.parse(data))
            await inner(data, arrival_time_ms)

        transport._handle_rtp_data = keep

    def payloads(self, kind: str, answer_sdp: str) -> Payloads:
        """What came of one kind, put together again; the last one, which may be in the making, is left out."""
        media = next(media for media in SessionDescription.parse(answer_sdp).media if media.kind == kind)
        codec = media.rtp.codecs[0]
        parts: dict[int, list[bytes]] = defaultdict(list)
        for packet in self._packets:
            if packet.payload_type == codec.payloadType:
                parts[packet.timestamp].append(depayload(codec, packet.payload))
        return [(timestamp, b"".join(data)) for timestamp, data in parts.items()][:-1]


def common_part(one: Payloads, other: Payloads) -> int:
    """How many payloads both got: equal in bytes at equal times, RTP's random beginnings of time aside.

    Raises:
        AssertionError: no shift of time makes all equal that both got.
    """
    first_time, first = other[0]
    for time, data in one:
        if data != first:
            continue
        shifted = {(time + at - first_time) % 2**32: payload for at, payload in other}
        both = [(payload, shifted[at]) for at, payload in one if at in shifted]
        if all(a == b for a, b in both):  # silence repeats itself: then another shift may be the right one
            return len(both)
    raise AssertionError(f"{len(one)} and {len(other)} payloads do not agree at any shift of time")


class Spectator:
    """A watch page without a browser: takes picture and voice, sends nothing.

    Args:
        channel: whether it has a data channel, and pings over it.
        without: codecs to leave out of its offer.
    """

    def __init__(self, *, channel: bool = False, without: Iterable[str] = ()) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for kind in ("audio", "video"):
            self.connection.addTransceiver(kind, direction="recvonly")
        self._without = tuple(without)
        self.frames = {"audio": 0, "video": 0}
        self.pongs = 0
        self.told_it_is_over = False
        self.answer: dict[str, Any] = {}
        self.closed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", lambda track: self._start(self._count(track)))
        self.connection.on("connectionstatechange", self._on_state)
        self.channel = self.connection.createDataChannel("fada") if channel else None
        if self.channel is not None:
            self.channel.on("message", lambda text: self._note(json.loads(text)))
            self._start(self._ping())
        self.tap = Wiretap(self.connection)

    async def offer(self) -> dict[str, Any]:
        offer_addresses(self.connection, ["127.0.0.1"])
        await self.connection.setLocalDescription(await self.connection.createOffer())
        description = self.connection.localDescription
        sdp = description.sdp
        for codec in self._without:
            sdp = sdp.replace(f" {codec}/", " XYZ/")
        return {"sdp": sdp, "type": description.type}

    async def watch(self, running: Running, some_id: str) -> dict[str, Any]:
        response = await running.http.post(f"/sessions/{some_id}/viewers", json=await self.offer())
        self.answer = response.json()
        assert response.status_code == 200, self.answer
        description = RTCSessionDescription(self.answer["sdp"], self.answer["type"])
        await self.connection.setRemoteDescription(description)
        return self.answer

    def payloads(self, kind: str) -> Payloads:
        return self.tap.payloads(kind, self.answer["sdp"])

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.close()

    async def vanish(self) -> None:
        """Go without a word; see `Caller.vanish`."""
        for transceiver in self.connection.getTransceivers():
            for protocol in transceiver.receiver.transport.transport._connection._protocols:
                protocol.transport.abort()

    def _start(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _on_state(self) -> None:
        if self.connection.connectionState in ("closed", "failed"):
            self.closed.set()

    def _note(self, message: dict[str, Any]) -> None:
        self.pongs += message["type"] == "pong"
        self.told_it_is_over |= message["type"] == "bye"

    async def _ping(self) -> None:
        while True:
            if self.channel is not None and self.channel.readyState == "open":
                self.channel.send('{"type": "ping", "t": 1}')
            await asyncio.sleep(0.5)

    async def _count(self, track: Any) -> None:
        while True:
            try:
                await track.recv()
            except MediaStreamError:
                return
            self.frames[track.kind] += 1
