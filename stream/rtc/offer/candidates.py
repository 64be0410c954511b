"""Which ICE candidates of an offer the server may send its checks to; pure.

In: a candidate's words from anybody. Out: whether a check sent there can reach the peer. Candidates are addresses
that a stranger writes down and the server sends datagrams to, so only such are kept as a peer can have.

Source: RFC 8839, 5.1 (the candidate line).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

KINDS: Final = ("host", "srflx", "relay")
MAX_KEPT: Final = 16
"""Candidates that are checked, those of the highest priority; each costs checks from each of our addresses."""


def is_candidate(line: str) -> bool:
    """Whether an SDP line is an ICE candidate."""
    return line.startswith("a=candidate:")


def kept(lines: Iterable[str]) -> set[str]:
    """The candidate lines worth checking.

    Left out are: names hidden behind mDNS, since resolving them costs seconds where multicast does not work, and
    the peer's own checks tell its address anyway (peer-reflexive, RFC 8445, 7.3.1.3); transports other than UDP;
    the second component, as RTCP is muxed; kinds, ports and addresses that nobody can have. A line that is no
    candidate at all is kept, for aiortc's parser to refuse.
    """
    usable = [line for line in lines if _is_usable(line)]
    return set(sorted(usable, key=_priority, reverse=True)[:MAX_KEPT])


def _is_usable(line: str) -> bool:
    words = line.split()
    if not _is_whole(words):
        return True
    _, component, transport, _, host, port, _, kind = words[:8]
    return (
        int(component) == 1
        and transport.lower() == "udp"
        and kind in KINDS
        and 0 < int(port) < 65536
        and _is_somebodys(host.partition("%")[0])
    )


def _is_whole(words: list[str]) -> bool:
    numbers = (words[1], words[3], words[5]) if len(words) >= 8 else ("",)
    return all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers)


def _is_somebodys(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:  # ::1 counts as reserved
        return True
    return not (
        address.is_multicast or address.is_unspecified or address.is_reserved or address.is_link_local
    )


def _priority(line: str) -> int:
    words = line.split()
    return int(words[3]) if _is_whole(words) else 2**32  # what is broken stays, to be refused
