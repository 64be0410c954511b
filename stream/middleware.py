"""ASGI layers in front of everything: a limit on request bodies, and headers every answer carries."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_BYTES = 4 * 1024 * 1024
DRAIN_S = 3.0

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self), camera=(self)"),
)


class _TooLarge(Exception):
    pass


class BodyLimit:
    """Answers 413 as soon as a request's body is longer than it may be, declared or not.

    Args:
        max_bytes: of a body.
        larger: the same for POST to certain paths.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, larger: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = scope["path"] if scope["method"] == "POST" else ""
        max_bytes = self._larger.get(asked, self._max_bytes)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > max_bytes:
            await self._refuse(max_bytes, receive, send)
            return
        received = 0
        answered = False

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise _TooLarge
            return message

        async def watched_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, limited_receive, watched_send)
        except _TooLarge:
            if not answered:
                await self._refuse(max_bytes, receive, send)

    async def _refuse(self, max_bytes: int, receive: Receive, send: Send) -> None:
        await drain(receive, max_bytes + DRAIN_BYTES)
        sentence = f"Expected a request of at most {max_bytes} bytes; send a shorter one."
        body = json.dumps({"error": "too_large", "message": sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def drain(receive: Receive, most_bytes: int = DRAIN_BYTES) -> None:
    """Read on for a while before a refusal: who still sends would see a reset connection instead of the answer."""
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while read < most_bytes:
                message = await receive()
                read += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


class SafeHeaders:
    """Adds `HEADERS` to every answer, and tells browsers to ask again before they reuse a page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", []))
                names = {name.lower() for name, _ in own}
                extra = [header for header in HEADERS if header[0] not in names]
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"no-cache"))
                message["headers"] = own + extra
            await send(message)

        await self._app(scope, receive, with_headers)
