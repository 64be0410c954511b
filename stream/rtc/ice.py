"""Which of the machine's addresses a connection offers, loopback included.

aiortc leaves loopback out when it gathers addresses, so that a browser on the same machine cannot reach a
server whose network is cut. Here each connection is told its addresses, on its own object: nothing global is
touched.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aioice import Candidate, Connection
from aioice.ice import get_host_addresses
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

LOOPBACK = "127.0.0.1"
MAX_ADDRESSES = 8
REFLEXIVE_PRIORITY: Final = 100 << 24 | 65535 << 8 | 255  # RFC 8445, 5.1.2.1
_HOST_CANDIDATE: Final = re.compile(
    r"a=candidate:(?P<foundation>\S+) 1 udp \d+ (?P<host>\S+) (?P<port>\d+) typ host", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class IceConfig:
    """Attributes:
    addresses: local addresses to offer.
    servers: STUN and TURN servers, as (url, user name or None, password or None); none by default.
    public_addresses: addresses under which the world reaches the local ones, port for port (1:1 NAT).
    """

    addresses: Sequence[str]
    servers: Sequence[tuple[str, str | None, str | None]] = field(default_factory=tuple)
    public_addresses: Sequence[str] = ()

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


def for_page(servers: Sequence[tuple[str, str | None, str | None]]) -> list[dict[str, str]]:
    """STUN and TURN servers as a browser's `RTCPeerConnection` takes them."""
    named = [{"urls": url, "username": user, "credential": word} for url, user, word in servers]
    return [{key: value for key, value in server.items() if value is not None} for server in named]


def advertise(answer_sdp: str, public_addresses: Sequence[str]) -> str:
    """Add to each host candidate of an answer those of the public addresses that stand for it.

    A 1:1 NAT (a cloud's, a container host's) hands on datagrams port for port, so a local port is reached at the
    public address too; without a STUN server nobody but the operator can know that address. Candidates of loopback
    get none.

    Source: RFC 8839, 5.1 (a server-reflexive candidate names the host candidate that it stands for).
    """
    lines = []
    for line in answer_sdp.splitlines():
        lines.append(line)
        host = _HOST_CANDIDATE.fullmatch(line)
        if host is not None:
            port = host["port"]
            lines += [
                f"a=candidate:{host['foundation']}p{number} 1 udp {REFLEXIVE_PRIORITY - number} {public} {port} "
                f"typ srflx raddr {host['host']} rport {port}"
                for number, public in enumerate(public_addresses)
                if _may_stand_for(public, host["host"])
            ]
    return "".join(f"{line}\r\n" for line in lines)


def _may_stand_for(public: str, host: str) -> bool:
    local = ipaddress.ip_address(host)
    return local.version == ipaddress.ip_address(public).version and not local.is_loopback and public != host


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
