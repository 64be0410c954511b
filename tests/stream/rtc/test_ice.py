"""Servers behind a 1:1 NAT, and what pages are told of STUN and TURN."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from aiortc import RTCSessionDescription

from stream.rtc.ice import advertise, for_page
from tests.stream.rig import Caller, running_server

PUBLIC = "127.0.0.77"
HOST = "a=candidate:f 1 udp 2130706431 {} 5004 typ host\r\n"


def reflexive(sdp: str) -> list[tuple[str, str, str]]:
    """Address, port and host address of the server-reflexive candidates."""
    return re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ srflx raddr (\S+) rport \2\r\n", sdp)


def test_each_private_address_gets_the_public_one_of_its_kind() -> None:
    sdp = (
        HOST.format("10.0.0.5")
        + HOST.format("fd00::5")
        + HOST.format("127.0.0.1")
        + "a=end-of-candidates\r\n"
    )
    assert advertise(sdp, ()) == sdp
    assert reflexive(advertise(sdp, ("203.0.113.7",))) == [("203.0.113.7", "5004", "10.0.0.5")]
    both = advertise(sdp, ("203.0.113.7", "2001:db8::7"))
    assert reflexive(both)[1] == ("2001:db8::7", "5004", "fd00::5")
    assert advertise(HOST.format("203.0.113.7"), ("203.0.113.7",)) == HOST.format("203.0.113.7")


def test_pages_get_servers_as_a_browser_takes_them() -> None:
    assert for_page([("stun:s:3478", None, None), ("turn:t:3478", "u", "w")]) == [
        {"urls": "stun:s:3478"},
        {"urls": "turn:t:3478", "username": "u", "credential": "w"},
    ]


class Door(asyncio.DatagramProtocol):
    """One port of a 1:1 NAT: hands on what comes to the public address, each sender by a socket of its own."""

    def __init__(self, inner: tuple[str, int]) -> None:
        self._inner = inner
        self._ways: dict[tuple[str, int], asyncio.Future[asyncio.DatagramTransport]] = {}
        self.handed_on = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr not in self._ways:
            self._ways[addr] = asyncio.ensure_future(self._open(addr))
        self._ways[addr].add_done_callback(lambda way: way.result().sendto(data))
        self.handed_on += 1

    async def _open(self, addr: tuple[str, int]) -> asyncio.DatagramTransport:
        outer = self.transport

        class Back(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _: tuple[str, int]) -> None:
                outer.sendto(data, addr)  # type: ignore[attr-defined]

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Back, remote_addr=self._inner)
        return transport

    async def close(self) -> None:
        self.transport.close()
        for way in self._ways.values():
            (await way).close()


async def test_a_caller_reaches_the_server_through_the_nat_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.rtc.ice._may_stand_for", lambda public, host: True)  # the stage is loopback
    async with running_server(tmp_path, public_addresses=(PUBLIC,)) as running:
        caller = Caller()
        offer = await caller.offer()
        hidden = re.sub(r"a=candidate:.*\r\n", "", offer["sdp"])  # as a browser that hides its address
        answer = (await running.http.post("/offer", json={**offer, "sdp": hidden})).json()
        [(address, port, host)] = sorted(set(reflexive(answer["sdp"])))
        assert (address, host) == (PUBLIC, "127.0.0.1")
        loop = asyncio.get_running_loop()
        _, door = await loop.create_datagram_endpoint(
            lambda: Door((host, int(port))), local_addr=(PUBLIC, int(port))
        )
        outside = re.sub(r"a=candidate:.* typ host\r\n", "", answer["sdp"])
        await caller.connection.setRemoteDescription(RTCSessionDescription(outside, "answer"))
        await caller.until(lambda: len(caller.received.pictures) > 5, 15)
        assert door.handed_on > 10
        await caller.hang_up()
        await door.close()


async def test_the_page_is_told_the_servers_ice_servers(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        assert (await running.http.get("/config")).json()["ice_servers"] == []
    servers = (("turn:127.0.0.1:3478", "user", "word"),)
    async with running_server(tmp_path, ice_servers=servers) as running:
        assert (await running.http.get("/config")).json()["ice_servers"] == [
            {"urls": "turn:127.0.0.1:3478", "username": "user", "credential": "word"}
        ]
