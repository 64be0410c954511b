"""Messages of strangers: none of them may raise into aiortc, which would end the connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stream.rtc.channel import MAX_MESSAGE_CHARS, MOST_LOGGED, Channel


class FakeChannel:
    """What a channel needs of aiortc's."""

    readyState = "open"
    bufferedAmount = 0

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.hear: Callable[[str | bytes], None] = lambda message: None

    def on(self, event: str, listener: Callable[[str | bytes], None]) -> None:
        assert event == "message"
        self.hear = listener

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))


HOSTILE = {
    "310 digits": '{"type": "ping", "t": ' + "9" * 310 + "}",
    "4000 digits": '{"type": "ping", "t": ' + "9" * 4000 + "}",
    "minus infinity": '{"type": "ping", "t": -1e999}',
    "not a number": '{"type": "ping", "t": NaN}',
    "a truth value": '{"type": "ping", "t": true}',
    "a list": '{"type": "ping", "t": [1]}',
    "deep lists": '{"type": "ping", "t": ' + "[" * 2000 + "]" * 2000 + "}",
    "deep objects": '{"type":"avatar","id":' + '{"a":' * 600 + "1" + "}" * 600 + "}",
    "NUL": '{"type": "pi\x00ng", "t": 1}',
    "escaped NUL": '{"type": "avatar", "id": "\\u0000"}',
    "half a surrogate pair": '{"type": "avatar", "id": "\\ud800"}',
    "a number for a type": '{"type": 7}',
    "no type": '{"t": 1}',
    "a list for an object": "[1]",
    "nothing": "",
    "bytes": b"\x00\xff",
    "too long": '{"type": "ping", "t": 1, "x": "' + "y" * MAX_MESSAGE_CHARS + '"}',
    "two keys": '{"type": "ping", "type": "bye", "t": 1}',
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_is_said_nothing_is_raised(message: str | bytes) -> None:
    aiortcs, heard = FakeChannel(), []

    def on_message(kind: str, fields: dict[str, Any]) -> None:
        heard.append(kind)
        str(fields.get("id"))

    channel = Channel(aiortcs, on_message)  # type: ignore[arg-type]
    aiortcs.hear(message)
    assert all(sent["t"] is None for sent in aiortcs.sent)
    aiortcs.hear('{"type": "ping", "t": 1.5}')
    assert aiortcs.sent[-1] == {"type": "pong", "t": 1.5}
    assert channel.send("stats", {})


def test_a_listener_that_raises_is_logged_a_few_times_and_the_channel_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    aiortcs = FakeChannel()

    def fail(kind: str, fields: dict[str, Any]) -> None:
        raise ZeroDivisionError("a fault of ours")

    channel = Channel(aiortcs, fail)  # type: ignore[arg-type]
    for _ in range(10):
        aiortcs.hear('{"type": "clear"}')
    assert channel.failed == 10
    assert caplog.text.count("could not be heard") == MOST_LOGGED
