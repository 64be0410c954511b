"""A program at the door: a real client on a real socket, which keeps what it hears and holds it to its schema."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import jsonschema_rs
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from stream.doors.events import check_event
from tests.stream.rig import Running


class Client:
    """One connection to /v1/audio."""

    def __init__(self, socket: ClientConnection, schemas: dict[str, Any]) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.film: list[bytes] = []
        self.closed = asyncio.Event()
        self._schemas = schemas

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    async def say(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)

    async def read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._take(await self.socket.recv())
        self.closed.set()

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.film.append(message)
            return
        event = json.loads(message)
        check_event(event)
        jsonschema_rs.validate(self._schemas[event["type"]], event)
        self.events.append(event)


def schemas_of(document: dict[str, Any]) -> dict[str, Any]:
    """Each type's schema, of those that a program hears."""
    found = {}
    for ref in document["operations"]["hear"]["messages"]:
        name = ref["$ref"].rpartition("/")[2]
        payload = document["components"]["messages"][name]["payload"]
        if "properties" in payload:
            found[payload["properties"]["type"]["const"]] = payload
    return found


@contextlib.asynccontextmanager
async def program(running: Running, query: str = "rate=24000", **more: Any) -> AsyncIterator[Client]:
    """A program that reads what it hears, until the block ends."""
    document = (await running.http.get("/asyncapi.json")).json()
    address = f"{running.url.replace('http', 'ws')}{document['channels']['audio']['address']}?{query}"
    async with connect(address, compression=None, max_size=None, **more) as socket:
        client = Client(socket, schemas_of(document))
        reading = asyncio.create_task(client.read())
        try:
            yield client
        finally:
            reading.cancel()
            failures = await asyncio.gather(reading, return_exceptions=True)
    for failure in failures:
        if isinstance(failure, Exception):
            raise failure


def base64_of(pcm: np.ndarray) -> str:
    return base64.b64encode(pcm.astype("<i2").tobytes()).decode()
