"""The data channel "fada": what page and server tell each other beside the media. Event loop only.

In: messages from the page (`ping`, `controls`, `avatar`, `clear`, `bye`). Out: messages to it (`hello`,
`pong`, `controls`, `cleared`, `stats`, `notice`, `error`). Everything is one JSON object with a `type`; see
docs/protocol.md and, for what a page may say, `messages.py`.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError

from stream.engine.protocol import EngineSpec
from stream.errors import SignalingError
from stream.outbound.tracks import VOICE_AHEAD_S
from stream.rtc.messages import Ping, read_message

logger = logging.getLogger(__name__)

PROTOCOL = 1
MAX_MESSAGE_CHARS = 4096
MOST_LOGGED = 3  # failures of one channel that the log tells of: a stranger shall not fill it
MAX_UNSENT_BYTES = 64 * 1024  # beyond this the page is not reading: stats are left out


class Channel:
    """One session's data channel.

    Args:
        channel: aiortc's.
        on_message: called with the type and the object of every well-formed message.
    """

    def __init__(self, channel: RTCDataChannel, on_message: Callable[[str, dict[str, Any]], None]) -> None:
        self._channel = channel
        self._on_message = on_message
        self.failed = 0  # messages that made something raise
        channel.on("message", self._take)

    def send(self, kind: str, fields: Mapping[str, object]) -> bool:
        """Send one message; False if the channel is not open or the page is not reading."""
        if self._channel.readyState != "open" or self._channel.bufferedAmount > MAX_UNSENT_BYTES:
            return False
        try:
            self._channel.send(json.dumps({"type": kind, **fields}, allow_nan=False))
        except (InvalidStateError, ConnectionError):
            return False
        return True

    def _take(self, message: str | bytes) -> None:
        """Hear one message. Whatever it makes us raise ends here: aiortc would end the connection."""
        try:
            self._hear(message)
        except Exception:
            self.failed += 1
            if self.failed <= MOST_LOGGED:
                logger.exception("a message of %d characters could not be heard", len(message))

    def _hear(self, message: str | bytes) -> None:
        if not isinstance(message, str) or len(message) > MAX_MESSAGE_CHARS:
            return
        try:
            heard = read_message(message)
        except SignalingError as error:
            self.send("notice", error.as_json())
            return
        if heard is None:
            return
        if isinstance(heard, Ping):
            self.send("pong", {"t": _stamp(heard.t)})
        self._on_message(heard.type, heard.model_dump(exclude={"type"}, exclude_unset=True))


def _stamp(value: object) -> float | None:
    """The `t` of a ping, to be sent back; None for what is no number that JSON can carry."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def greeting(spec: EngineSpec, scales: Mapping[str, float]) -> dict[str, object]:
    """What `hello` says of the engine; `scales` are those in force."""
    return {
        "protocol": PROTOCOL,
        "fps": spec.fps,
        "width": spec.width,
        "height": spec.height,
        "hop_ms": round(1000 * spec.hop_s),
        "overlap_ms": round(1000 * spec.overlap_frames / spec.fps),
        "lookahead_ms": round(1000 * spec.lookahead_samples / spec.sample_rate_hz),
        "voice_ahead_ms": round(1000 * VOICE_AHEAD_S),
        **scales,
    }
