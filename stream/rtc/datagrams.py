"""Which datagrams reach aiortc: those of the peer, and connectivity checks.

In: every datagram that anybody sends to a connection's ports. Out: STUN, and whatever else comes from an address
that the peer named in its offer or has checked from with the call's password; nothing of length zero. aioice hands
all on that is no STUN, whoever sent it, and aiortc looks at its first byte: an empty datagram from a stranger would
end the call. Event loop only.

Source: RFC 7983 (what shares a port), RFC 8445, 7.3 (checks carry the password).
"""

from __future__ import annotations

from typing import Any

from aioice import Connection, stun
from aioice.ice import StunProtocol

from stream.rtc.ice import wrap_gathering


def admit_the_peer_alone(connection: Connection) -> None:
    """Let only the peer's datagrams and connectivity checks through to a connection.

    Call it before addresses are gathered.
    """
    hand_on = connection.data_received

    def hand_on_what_is_there(data: bytes, component: int) -> None:
        if data:
            hand_on(data, component)

    connection.data_received = hand_on_what_is_there  # type: ignore[method-assign]
    wrap_gathering(connection, after=lambda: _guard(connection))


def _guard(connection: Connection) -> None:
    for protocol in connection._protocols:
        _guard_protocol(connection, protocol)


def _guard_protocol(connection: Connection, protocol: StunProtocol) -> None:
    receive = protocol.datagram_received

    def receive_from_peer(data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        if data and (_is_peer(connection, addr[0], addr[1]) or _is_stun(data)):
            receive(data, addr)

    protocol.datagram_received = receive_from_peer  # type: ignore[method-assign]


def _is_peer(connection: Connection, host: str, port: int) -> bool:
    return any(
        candidate.port == port and candidate._network_host == host
        for candidate in connection._remote_candidates
    )


def _is_stun(data: bytes) -> bool:
    try:
        stun.parse_message(data)
    except Exception:  # a stranger's bytes; whatever the parser makes of them, they are no check
        return False
    return True
