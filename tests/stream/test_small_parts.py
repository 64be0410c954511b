"""Clock, states, channel messages, addresses, seats: the small things everything else stands on."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from stream.calls.session_state import IllegalTransition, SessionState, checked_transition
from stream.clock import MonotonicClock
from stream.engine.protocol import EngineSpec
from stream.inbound.resampler import EngineResampler
from stream.rtc.channel import Channel
from stream.rtc.ice import is_loopback, local_addresses
from tests.fakes import SMALL_SPEC, FakeClock


async def test_the_clock_never_wakes_early() -> None:
    clock = MonotonicClock()
    for wait_s in (-1.0, 0.0, 0.001, 0.01):
        when_s = clock.now() + wait_s
        await clock.sleep_until(when_s)
        assert clock.now() >= when_s


async def test_the_fake_clock_wakes_in_order_of_time() -> None:
    import asyncio

    clock, woken = FakeClock(0.0), []

    async def sleeper(when_s: float) -> None:
        await clock.sleep_until(when_s)
        woken.append((when_s, clock.now()))

    tasks = [asyncio.create_task(sleeper(when_s)) for when_s in (0.3, 0.1, 0.2, 0.9)]
    await clock.advance(0.5)
    assert woken == [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]
    tasks[-1].cancel()


def test_sessions_go_where_they_may_and_nowhere_else() -> None:
    new, connecting, live, away, draining, closed = SessionState
    allowed = {
        *((new, connecting), (new, draining), (connecting, live), (connecting, away), (connecting, draining)),
        *((live, away), (live, draining), (away, connecting), (away, draining), (draining, closed)),
    }
    for now, wanted in itertools.product(SessionState, repeat=2):
        if (now, wanted) in allowed:
            assert checked_transition(now, wanted) is wanted
            continue
        with pytest.raises(IllegalTransition, match=f"from {now.value} to {wanted.value}"):
            checked_transition(now, wanted)


class Wire:
    """The part of aiortc's data channel that is used."""

    def __init__(self) -> None:
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[dict[str, Any]] = []
        self.take: Any = None

    def on(self, event: str, take: Any) -> None:
        assert event == "message"
        self.take = take

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))


def test_pings_are_answered_and_messages_handed_on() -> None:
    wire, heard = Wire(), []
    Channel(wire, lambda kind, fields: heard.append(kind))  # type: ignore[arg-type]
    wire.take('{"type": "ping", "t": 12.5}')
    wire.take('{"type": "bye"}')
    assert wire.sent == [{"type": "pong", "t": 12.5}]
    assert heard == ["ping", "bye"]


@pytest.mark.parametrize(
    "message",
    [
        b"bytes",
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"type": 3}',
        '{"type": null}',
        "[" * 4000,
        '"' + "x" * 5000 + '"',
    ],
)
def test_messages_of_the_wrong_form_are_ignored(message: str | bytes) -> None:
    wire, heard = Wire(), []
    Channel(wire, lambda kind, fields: heard.append(kind))  # type: ignore[arg-type]
    wire.take(message)
    assert (wire.sent, heard) == ([], [])


@pytest.mark.parametrize("stamp", ['"x"', "true", "null", "[1]", "NaN", "Infinity"])
def test_a_strange_time_in_a_ping_is_not_echoed(stamp: str) -> None:
    wire = Wire()
    Channel(wire, lambda kind, fields: None)  # type: ignore[arg-type]
    wire.take(f'{{"type": "ping", "t": {stamp}}}')
    assert wire.sent == [{"type": "pong", "t": None}]


def test_a_page_that_does_not_read_gets_no_more() -> None:
    wire = Wire()
    channel = Channel(wire, lambda kind, fields: None)  # type: ignore[arg-type]
    wire.bufferedAmount = 10**6
    assert not channel.send("stats", {})
    wire.bufferedAmount, wire.readyState = 0, "closing"
    assert not channel.send("stats", {})
    assert wire.sent == []


def test_loopback_is_offered_when_the_server_listens_there() -> None:
    assert local_addresses("127.0.0.1")[0] == "127.0.0.1"
    assert local_addresses("localhost")[0] == "127.0.0.1"
    assert local_addresses("0.0.0.0")


def test_loopback_is_offered_when_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.rtc.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [])
    assert local_addresses("0.0.0.0") == ["127.0.0.1"]
    found = ["fe80::1", "fd00::2", "10.0.0.5", "169.254.1.1"]
    monkeypatch.setattr("stream.rtc.ice.get_host_addresses", lambda use_ipv4, use_ipv6: found)
    assert local_addresses("0.0.0.0") == ["10.0.0.5", "fd00::2"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("a.b", False),
    ],
)
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_resampler_keeps_time_and_pitch_for_any_chunking() -> None:
    n = np.arange(48_000)
    sound = (20_000 * np.sin(2 * np.pi * 440 * n / 48_000)).astype(np.int16)
    whole = EngineResampler(16_000).push(sound)
    resampler = EngineResampler(16_000)
    cuts = np.sort(np.random.default_rng(0).integers(1, 47_999, 60))
    pieces = np.concatenate([resampler.push(chunk) for chunk in np.split(sound, cuts) if len(chunk)])
    np.testing.assert_array_equal(whole, pieces)
    heard_s = (3 * np.arange(len(whole)) + 2) / 48_000 - resampler.delay_s
    truth = 20_000 / 32_768 * np.sin(2 * np.pi * 440 * heard_s)
    assert np.abs(whole[100:] - truth[100:]).max() < 1e-3
    assert len(whole) == 16_000 and resampler.delay_s < 0.001  # nothing is kept back


def test_the_spec_knows_its_window() -> None:
    assert SMALL_SPEC.samples_per_frame == 640
    assert SMALL_SPEC.window_samples == 10_240 + 5 * 640 + 1_280
    assert SMALL_SPEC.hop_s == pytest.approx(0.16)


@pytest.mark.parametrize(
    "wrong",
    [{"fps": 0}, {"fps": 30}, {"hop_frames": 0}, {"overlap_frames": -1}, {"nfe": 0}, {"max_batch": 0}],
)
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match=r"EngineSpec\.(fps|hop_frames|overlap_frames|nfe|max_batch)"):
        replace(SMALL_SPEC, **wrong)
    assert isinstance(SMALL_SPEC, EngineSpec)
