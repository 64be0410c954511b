"""Which of the machine's addresses a connection offers, loopback included.

aiortc leaves loopback out when it gathers addresses, so that a browser on the same machine cannot reach a
server whose network is cut. Here each connection is told its addresses, on its own object: nothing global is
touched.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aioice import Candidate, Connection
from aioice.ice import get_host_addresses
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

LOOPBACK = "127.0.0.1"
MAX_ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class IceConfig:
    """Attributes:
    addresses: local addresses to offer.
    servers: STUN and TURN servers, as (url, user name or None, password or None); none by default.
    """

    addresses: Sequence[str]
    servers: Sequence[tuple[str, str | None, str | None]] = field(default_factory=tuple)

    def as_aiortc(self) -> RTCConfiguration:
        servers = [RTCIceServer(urls=url, username=user, credential=word) for url, user, word in self.servers]
        return RTCConfiguration(iceServers=servers)


def local_addresses(listen_host: str) -> list[str]:
    """Addresses worth offering to a peer that reached the server at `listen_host`.

    Every interface's own, and loopback when the server listens there or when there is nothing else.
    """
    found = [address for address in get_host_addresses(use_ipv4=True, use_ipv6=True) if "%" not in address]
    usable = [address for address in found if not ipaddress.ip_address(address).is_link_local]
    usable.sort(key=lambda address: ipaddress.ip_address(address).version)
    if is_loopback(listen_host) or not usable:
        usable.insert(0, LOOPBACK)
    return usable[:MAX_ADDRESSES]


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def offer_addresses(peer: RTCPeerConnection, addresses: Sequence[str]) -> None:
    """Make a peer connection gather host candidates on exactly these addresses.

    Call it when its transceivers and data channel exist, before `setLocalDescription`.
    """
    for connection in connections(peer):
        wrap_gathering(connection, addresses=addresses)


def wrap_gathering(
    connection: Connection,
    *,
    addresses: Sequence[str] | None = None,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Change how a connection gathers its candidates, once more at each call.

    Args:
        connection: one that has not gathered yet.
        addresses: local addresses instead of all.
        after: called when the sockets are there.
    """
    gather = connection.get_component_candidates

    async def gather_so(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        found = await gather(component=component, addresses=own or addresses, timeout=timeout)
        after()
        return found

    own = None if addresses is None else list(addresses)
    connection.get_component_candidates = gather_so  # type: ignore[method-assign]


def connections(peer: RTCPeerConnection) -> Iterable[Connection]:
    """The ICE connections of a peer connection; one where all is bundled."""
    transports = [transceiver.receiver.transport for transceiver in peer.getTransceivers()]
    if peer.sctp is not None:
        transports.append(peer.sctp.transport)
    return {id(t.transport._connection): t.transport._connection for t in transports}.values()
