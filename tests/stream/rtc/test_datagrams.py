"""Strangers' datagrams: a call goes on at its pace whatever anybody sends to its ports."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioice import stun

from tests.machine_time import measured_anew
from tests.stream.rig import Caller, running_server

LASTING_S = 3.0


def ports(answer_sdp: str) -> list[int]:
    return [
        int(port) for port in re.findall(r"a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host", answer_sdp)
    ]


def garbage() -> Iterator[bytes]:
    """Empty datagrams, and others that begin as DTLS, RTP, RTCP, STUN and nothing at all do."""
    draw = random.Random(4)
    check = bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST))
    while True:
        yield b""
        for first in (0x16, 0x17, 0x80, 0x90, 0xC8, 0x00, 0x01, 0xFF):
            yield bytes([first]) + draw.randbytes(draw.randrange(60))
        yield check[: draw.randrange(len(check))]
        yield check


async def pester(addresses: list[tuple[str, int]], sender: socket.socket, seconds: float) -> int:
    """Send one datagram after the other, some 500 a second."""
    sent, datagrams, until_s = 0, garbage(), time.monotonic() + seconds
    while time.monotonic() < until_s:
        for address in addresses:
            sender.sendto(next(datagrams), address)
            sent += 1
        await asyncio.sleep(0.002)
    return sent


@pytest.mark.timed
@measured_anew
async def test_strangers_datagrams_do_not_disturb_a_call(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        answer = await caller.call(running)
        await caller.until(lambda: len(caller.received.pictures) > 10)
        begun = len(caller.received.pictures)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            sent = await pester([("127.0.0.1", port) for port in ports(answer["sdp"])], stranger, LASTING_S)
        moments_s = [media_s for _, media_s, _ in caller.received.pictures[begun:]]
        lasted_s = moments_s[-1] - moments_s[0]
        assert sent > 100
        assert lasted_s == pytest.approx(LASTING_S, rel=0.1), "pictures kept coming at the clock's pace"
        assert len(moments_s) == round(25 * lasted_s) + 1, "25 a second, none left out"
        assert caller.connection.connectionState == "connected" and not caller.closed.is_set()
        await caller.hang_up()


async def test_empty_datagrams_of_the_peer_itself_end_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        answer = await caller.call(running)
        await caller.until(lambda: len(caller.received.pictures) > 5)
        transport = caller.connection.getTransceivers()[0].receiver.transport.transport._connection
        for protocol in transport._protocols:
            own = protocol.transport._sock
            for _ in range(50):
                for port in ports(answer["sdp"]):
                    own.sendto(b"", ("127.0.0.1", port))
        seen = len(caller.received.pictures)
        await caller.until(lambda: len(caller.received.pictures) > seen + 25, 5)
        assert caller.connection.connectionState == "connected"
        await caller.hang_up()
