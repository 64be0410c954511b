"""Where an offer may make the server send: to addresses that a peer can have, and to few of them."""

from __future__ import annotations

import pytest

from stream.rtc.offer.candidates import MAX_KEPT, kept
from stream.rtc.offer.check import CALLER, check_sdp
from tests.stream.rtc.offer.test_offer_shapes import safari


def line(
    host: str = "192.0.2.7", port: object = 50_000, priority: int = 1, component: int = 1, via: str = "udp"
) -> str:
    return f"a=candidate:1 {component} {via} {priority} {host} {port} typ host"


@pytest.mark.parametrize("host", ["203.0.113.9", "10.0.0.3", "127.0.0.1", "2001:db8::1", "fd00::1", "::1"])
def test_addresses_that_a_peer_can_have_are_kept(host: str) -> None:
    assert kept([line(host)]) == {line(host)}


@pytest.mark.parametrize(
    "useless",
    [
        line("0a1b2c3d.local"),
        line("example.org"),
        line("224.0.0.251"),
        line("ff02::fb"),
        line("169.254.169.254"),
        line("fe80::1%eth0"),
        line("0.0.0.0"),
        line("255.255.255.255"),
        line(port=0),
        line(port=70_000),
        line(component=2),
        line(via="tcp"),
        line().replace("typ host", "typ prflx"),
    ],
)
def test_what_no_check_can_reach_is_left_out(useless: str) -> None:
    assert kept([useless, line()]) == {line()}
    checked = check_sdp(f"{safari()}{useless}\r\n{line()}\r\na=end-of-candidates\r\n", CALLER)
    assert useless not in checked and line() in checked
    assert "a=end-of-candidates" not in checked, "the peer's own checks may tell more"


def test_the_most_wanted_are_checked() -> None:
    lines = [line(priority=number, port=1000 + number) for number in range(40)]
    assert kept(lines) == set(lines[-MAX_KEPT:])


@pytest.mark.parametrize(
    "broken", ["a=candidate:1 1 udp", line(port="many"), line(port="-1"), "a=candidate:"]
)
def test_what_is_no_candidate_is_left_for_the_parser_to_refuse(broken: str) -> None:
    assert kept([broken]) == {broken}
