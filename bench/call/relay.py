"""A bad network between two ends of one machine: datagrams are lost, delayed, reordered and held up on the way.

In: the address that a peer would send to, and an `Impairment` for each direction. Out: an address to send to
instead. Runs on the event loop, needs no rights. Every decision comes from a seeded generator in order of
arrival, so that two runs treat the n-th packet of a kind alike. WebRTC passes through once `through` has put its
port into the answer: the far end then sees the near one at the relay's address, as behind a NAT.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Address = tuple[str, int]

_CANDIDATE = re.compile(
    r"^a=candidate:(\S+) 1 udp (\d+) (\S+) (\d+) typ host.*\r?\n", re.MULTILINE | re.IGNORECASE
)
_MEDIA_SECTION = re.compile(r"^m=(?:audio|video) \d+ \S+ ([\d ]+)", re.MULTILINE)
_FIRST_RTP, _LAST_RTP = 128, 191  # RFC 7983: the first byte of RTP and RTCP
_FIRST_RTCP, _LAST_RTCP = 192, 223  # RFC 5761: their second byte


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to one direction's packets.

    Attributes:
        delay_s: added to every packet.
        jitter_s: beside that, uniform between 0 and this; alone, it keeps the order.
        loss: share of packets lost.
        reorder: share of packets that the following ones overtake.
        reorder_s: how long those are held back.
        stalls_s: (begin, end) after the start of the relay: packets between are held until the end.
        payload_types: RTP payload types concerned; None concerns everything, key exchange included.
        seed: of all chance.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.03
    stalls_s: Sequence[tuple[float, float]] = field(default_factory=tuple)
    payload_types: frozenset[int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("loss", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"Impairment.{name} must lie in 0..1, got {getattr(self, name)}.")
        for name in ("delay_s", "jitter_s", "reorder_s"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"Impairment.{name} must not be negative, got {getattr(self, name)}.")
        if any(not 0.0 <= begin < end for begin, end in self.stalls_s):
            raise ValueError(f"Impairment.stalls_s must be pairs with 0 <= begin < end, got {self.stalls_s}.")

    def concerns(self, packet: bytes) -> bool:
        """Whether a packet is one of those that suffer."""
        if self.payload_types is None:
            return True
        if len(packet) < 12 or not _FIRST_RTP <= packet[0] <= _LAST_RTP:
            return False
        if _FIRST_RTCP <= packet[1] <= _LAST_RTCP:
            return False
        return packet[1] & 0x7F in self.payload_types


class Lane:
    """One direction: decides when each packet goes on.

    Args:
        impairment: see there.
        start_s: the clock's reading from which stalls count.
    """

    def __init__(self, impairment: Impairment, start_s: float) -> None:
        self._impairment = impairment
        self._start_s = start_s
        self._random = random.Random(impairment.seed)
        self._last_due_s = start_s
        self.seen = self.lost = 0

    def due(self, packet: bytes, now_s: float) -> float | None:
        """When a packet that came now goes on; None if it is lost."""
        impairment = self._impairment
        if not impairment.concerns(packet):
            return now_s
        self.seen += 1
        lost, late, jitter = self._random.random(), self._random.random(), self._random.random()
        if lost < impairment.loss:
            self.lost += 1
            return None
        due_s = now_s + impairment.delay_s + jitter * impairment.jitter_s
        for begin_s, end_s in impairment.stalls_s:
            if begin_s <= now_s - self._start_s < end_s:
                due_s = max(due_s, self._start_s + end_s)
        if late < impairment.reorder:
            return due_s + impairment.reorder_s
        self._last_due_s = max(self._last_due_s, due_s)
        return self._last_due_s


class Relay:
    """Carries datagrams between whoever sends to it and one target.

    Args:
        target: where packets go.
        up: what happens on the way to the target.
        down: what happens on the way back.
    """

    def __init__(self, target: Address, up: Impairment | None = None, down: Impairment | None = None) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        self.up, self.down = Lane(up or Impairment(), now_s), Lane(down or Impairment(), now_s)
        self._front: asyncio.DatagramTransport | None = None
        self._backs: dict[Address, asyncio.DatagramTransport] = {}
        self._waiting: dict[Address, list[bytes]] = {}  # from senders whose socket is being opened
        self._opening: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1") -> Address:
        """Open the relay; returns the address to send to."""
        self._front = await self._open(host, self._from_near)
        address = self._front.get_extra_info("sockname")
        return address[0], address[1]

    def counts(self) -> dict[str, dict[str, int]]:
        """Packets concerned and lost, there and back."""
        return {
            name: {"packets": lane.seen, "lost": lane.lost}
            for name, lane in (("up", self.up), ("down", self.down))
        }

    def close(self) -> None:
        """Close every socket; what is on the way is lost."""
        for task in self._opening:
            task.cancel()
        for transport in (self._front, *self._backs.values()):
            if transport is not None:
                transport.close()
        self._backs.clear()

    async def _open(self, host: str, take: Callable[[bytes, Address], None]) -> asyncio.DatagramTransport:
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Endpoint(take), local_addr=(host, 0)
        )
        return transport

    def _from_near(self, packet: bytes, sender: Address) -> None:
        back = self._backs.get(sender)
        if back is not None:
            self._carry(self.up, packet, back, self._target)
        elif sender in self._waiting:
            self._waiting[sender].append(packet)
        else:  # the far end must see each sender at an address of its own
            self._waiting[sender] = [packet]
            task = self._loop.create_task(self._meet(sender))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _meet(self, sender: Address) -> None:
        self._backs[sender] = await self._open(
            self._target[0], lambda answer, _: self._from_far(answer, sender)
        )
        for packet in self._waiting.pop(sender):
            self._from_near(packet, sender)

    def _from_far(self, packet: bytes, receiver: Address) -> None:
        assert self._front is not None
        self._carry(self.down, packet, self._front, receiver)

    def _carry(self, lane: Lane, packet: bytes, way: asyncio.DatagramTransport, to: Address) -> None:
        now_s = self._loop.time()
        due_s = lane.due(packet, now_s)
        if due_s is None:
            return
        if due_s <= now_s:
            way.sendto(packet, to)
        else:
            self._loop.call_at(due_s, _send, way, packet, to)


class _Endpoint(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._take(data, (addr[0], addr[1]))


def _send(way: asyncio.DatagramTransport, packet: bytes, to: Address) -> None:
    if not way.is_closing():
        way.sendto(packet, to)


def candidate_of(sdp: str) -> Address:
    """The first host candidate of a description.

    Raises:
        ValueError: there is none.
    """
    found = _CANDIDATE.search(sdp)
    if found is None:
        raise ValueError("The description has no UDP host candidate.")
    return found[3], int(found[4])


def through(sdp: str, relay: Address) -> str:
    """The description with the relay as its only candidate, once per media section that had one."""
    sections = re.split(r"(?m)^(?=m=)", sdp)
    line = f"a=candidate:1 1 udp 2130706431 {relay[0]} {relay[1]} typ host\r\n"
    return "".join(
        _CANDIDATE.sub("", section).replace("a=end-of-candidates\r\n", "") + line
        if _CANDIDATE.search(section)
        else section
        for section in sections
    )


def media_payload_types(sdp: str) -> frozenset[int]:
    """RTP payload types of every audio and video section of a description.

    Raises:
        ValueError: it has none.
    """
    found = {int(number) for numbers in _MEDIA_SECTION.findall(sdp) for number in numbers.split()}
    if not found:
        raise ValueError("Expected a description with audio or video sections, found none.")
    return frozenset(found)


def without_candidates(sdp: str) -> str:
    """A description that names no address: who gets it learns one from the first packet that arrives."""
    return re.sub(r"(?m)^a=(?:candidate:.*|end-of-candidates)\r?\n", "", sdp)


async def stand_between(
    answer_sdp: str, up: Impairment | None = None, down: Impairment | None = None
) -> tuple[Relay, str]:
    """Open a relay before whoever gave this answer; only its media packets suffer.

    The offer must have been sent `without_candidates`, or the two ends find a way round the relay.

    Args:
        answer_sdp: the answer.
        up, down: what happens to media there and back; None is nothing.

    Returns:
        The relay, and the answer that leads through it.
    """
    types = media_payload_types(answer_sdp)
    lanes = [dataclasses.replace(asked or Impairment(), payload_types=types) for asked in (up, down)]
    relay = Relay(candidate_of(answer_sdp), *lanes)
    return relay, through(answer_sdp, await relay.start())
