"""The bad network does what it is told, packet by packet, and a real call passes through it."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from pathlib import Path

import pytest
from aiortc import RTCSessionDescription

from bench.call.relay import Impairment, Lane, Relay, candidate_of, through
from bench.call.relay_thread import RelayThread
from tests.machine_time import measured_anew
from tests.stream.rig import Caller, bursts, running_server

VOICE = bytes([128, 111]) + bytes(30)
FACE = bytes([128, 96]) + bytes(30)
REPORT = bytes([128, 200]) + bytes(30)
STUN = bytes([0, 1]) + bytes(30)


def dues(
    impairment: Impairment, count: int, packet: bytes = VOICE, every_s: float = 0.02
) -> list[float | None]:
    lane = Lane(impairment, 100.0)
    times = [100.0 + n * every_s for n in range(count)]
    found = [lane.due(packet, now) for now in times]
    return [None if due is None else due - now for due, now in zip(found, times, strict=True)]


def test_shares_and_delays_are_those_asked_for() -> None:
    lost = dues(Impairment(loss=0.05), 20_000)
    assert 0.04 < sum(due is None for due in lost) / 20_000 < 0.06
    assert {due for due in lost if due is not None} == {0.0}
    assert dues(Impairment(delay_s=0.1), 5) == pytest.approx([0.1] * 5)
    held = [due for due in dues(Impairment(reorder=0.02, reorder_s=0.03), 20_000) if due]
    assert 0.015 < len(held) / 20_000 < 0.025 and held == pytest.approx([0.03] * len(held))
    stalled = dues(Impairment(stalls_s=[(1.0, 1.5)]), 100)
    assert stalled[50] == pytest.approx(0.5) and stalled[49] == 0.0 and stalled[75] == 0.0
    assert dues(Impairment(loss=0.5, seed=3), 50) == dues(Impairment(loss=0.5, seed=3), 50)
    assert dues(Impairment(loss=0.5, seed=3), 50) != dues(Impairment(loss=0.5, seed=4), 50)


def test_jitter_alone_keeps_the_order() -> None:
    lane = Lane(Impairment(jitter_s=0.1), 0.0)
    found = [lane.due(VOICE, n * 0.02) for n in range(1000)]
    assert all(a is not None and b is not None and a <= b for a, b in itertools.pairwise(found))
    assert max((due or 0) - n * 0.02 for n, due in enumerate(found)) <= 0.1


def test_only_the_payload_types_named_suffer() -> None:
    impairment = Impairment(loss=1.0, payload_types=frozenset({111}))
    assert dues(impairment, 1, VOICE) == [None]
    for packet in (FACE, REPORT, STUN, b""):
        assert dues(impairment, 1, packet) == [0.0]
    assert dues(Impairment(loss=1.0), 1, STUN) == [None]


@pytest.mark.parametrize(
    "wrong", [{"loss": 1.5}, {"reorder": -0.1}, {"delay_s": -1.0}, {"stalls_s": [(2.0, 1.0)]}]
)
def test_senseless_impairments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Impairment(**wrong)  # type: ignore[arg-type]


class Echo(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.senders: set[object] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.senders.add(addr)
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


class Asker(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.got.put_nowait((asyncio.get_running_loop().time(), data))


@pytest.mark.timed
@measured_anew
async def test_datagrams_go_there_and_back_each_sender_apart() -> None:
    loop = asyncio.get_running_loop()
    echo_transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    relay = Relay(
        echo_transport.get_extra_info("sockname"), Impairment(delay_s=0.05), Impairment(delay_s=0.05)
    )
    address = await relay.start()
    ends = [await loop.create_datagram_endpoint(Asker, remote_addr=address) for _ in range(2)]
    began = loop.time()
    for number, (transport, _) in enumerate(ends):
        for packet in range(3):
            transport.sendto(bytes([number, packet]))
    for number, (_, asker) in enumerate(ends):
        answers = [await asyncio.wait_for(asker.got.get(), 2) for _ in range(3)]
        assert [data for _, data in answers] == [bytes([number, packet]) for packet in range(3)]
        assert all(0.1 <= at - began < 0.4 for at, _ in answers)
    assert len(echo.senders) == 2
    assert (relay.up.seen, relay.down.seen, relay.up.lost) == (6, 6, 0)
    relay.close()
    for transport in (echo_transport, *(transport for transport, _ in ends)):
        transport.close()
    await asyncio.sleep(0.01)


def test_an_answer_is_led_through() -> None:
    sdp = (
        "v=0\r\nm=audio 5000 UDP 111\r\na=mid:0\r\na=candidate:abc 1 udp 213 192.168.0.2 5000 typ host\r\n"
        "a=candidate:abd 1 udp 212 10.0.0.2 5001 typ host generation 0\r\na=end-of-candidates\r\n"
        "m=video 9 UDP 96\r\na=mid:1\r\n"
    )
    assert candidate_of(sdp) == ("192.168.0.2", 5000)
    led = through(sdp, ("127.0.0.1", 7777))
    assert led.count("a=candidate") == 1 and "127.0.0.1 7777 typ host" in led and "5001" not in led
    assert led.index("a=candidate") < led.index("m=video") and "end-of-candidates" not in led
    with pytest.raises(ValueError, match="no UDP host candidate"):
        candidate_of("v=0\r\n")


def test_a_caller_without_a_loop_counts_its_latest_call() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far, RelayThread(Impairment(loss=0.5)) as relays:
        far.bind(("127.0.0.1", 0))
        sdp = (
            f"v=0\r\nm=audio 9 UDP 96\r\na=candidate:1 1 udp 2 127.0.0.1 {far.getsockname()[1]} typ host\r\n"
            "m=video 9 UDP 97\r\n"
        )
        assert relays.counts() == {}
        addresses = [candidate_of(relays.lead(sdp)) for _ in range(2)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            for _ in range(40):
                near.sendto(bytes([128, 96]) + bytes(30), addresses[-1])
            deadline_s = time.monotonic() + 5
            while relays.counts()["up"]["packets"] < 40 and time.monotonic() < deadline_s:
                time.sleep(0.01)
        counts = relays.counts()
        assert counts["up"]["packets"] == 40 and 8 < counts["up"]["lost"] < 32
        assert counts["down"] == {"packets": 0, "lost": 0}
    with RelayThread() as nothing_between:
        assert nothing_between.lead(sdp) == sdp and nothing_between.counts() == {}


async def test_a_real_call_passes_through_and_only_the_microphone_suffers(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller(bursts)
        answer = (await running.http.post("/offer", json=await caller.offer())).json()
        microphone = Impairment(loss=0.2, payload_types=frozenset({96}))
        relay = Relay(candidate_of(answer["sdp"]), up=microphone)
        led = through(answer["sdp"], await relay.start())
        await caller.connection.setRemoteDescription(RTCSessionDescription(led, answer["type"]))
        await caller.until(lambda: len(caller.received.pictures) > 40 and relay.up.seen > 60)
        assert 0.05 < relay.up.lost / relay.up.seen < 0.4
        assert relay.down.seen > 100 and relay.down.lost == 0
        await caller.hang_up()
        relay.close()
