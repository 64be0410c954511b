"""Where the server listens: hosts as people write them, and one sentence where a port cannot be had."""

from __future__ import annotations

import socket

import pytest

from stream.listening import open_port, page_address


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(OSError, match=r"not an address of this machine|Cannot listen"):
        open_port(host, 0)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_may_be_written_as_in_an_address(host: str) -> None:
    with open_port(host, 0) as listener:
        assert listener.family == socket.AF_INET6
        assert listener.getsockname()[0] == "::1"
    assert page_address(host, 80) == "http://[::1]:80"


def test_under_make_the_sentence_names_makes_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKELEVEL", "1")
    with open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"choose another with PORT={port + 1}"):
            open_port("127.0.0.1", port)


def test_addresses_are_ones_a_browser_can_open() -> None:
    assert page_address("127.0.0.1", 8080) == "http://127.0.0.1:8080"
    assert page_address("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert page_address("::1", 80) == "http://[::1]:80"
    assert page_address("::", 80) == "http://[::1]:80"
