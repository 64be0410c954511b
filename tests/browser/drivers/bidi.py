"""WebDriver BiDi, as much of it as the tests need: one web socket, questions and answers, events between them.

In: commands by name. Out: their results; log entries go to who listens. One thread: events are read while an answer
is waited for.
Source: W3C "WebDriver BiDi".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from websockets.sync.client import ClientConnection

ANSWER_WITHIN_S: Final = 120.0


class BidiError(Exception):
    """The browser refused a command, or a page's script threw; the message has its words."""


class Bidi:
    """A session's socket.

    Args:
        socket: open, at the browser's `/session`.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._asked = 0
        self._listeners: list[Callable[[str, dict[str, Any]], None]] = []

    def listen(self, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """`listener(method, params)` is called with every event."""
        self._listeners.append(listener)

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Sends a command and waits for its result.

        Raises:
            BidiError: the browser answered with an error.
            TimeoutError: it did not answer.
        """
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": params}))
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(ANSWER_WITHIN_S))
            if message.get("type") == "event":
                for listener in self._listeners:
                    listener(message["method"], message["params"])
            elif message.get("id") == self._asked:
                if message["type"] == "error":
                    raise BidiError(f"{method}: {message['error']}: {message['message']}")
                result: dict[str, Any] = message["result"]
                return result
