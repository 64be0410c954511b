"""WS /v1/audio: a program sends sound and gets a call; see docs/programs.md.

In: a WebSocket; binary messages are sound, text messages are `stream.doors.messages`. Out: events as text, and
where it asked for them the call's packets as fragmented MP4 in binary; everybody else watches by the `watch_id` of
`hello`. One program is one caller of one call. What it sends is read at once, always, so that an interruption is
never behind sound that waits; what it does not read is bounded. Event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

from stream.calls.lobby import Lobby
from stream.calls.secret import new_secret
from stream.clock import Clock
from stream.doors.asyncapi import add_asyncapi
from stream.doors.messages import (
    MAX_MESSAGE_BYTES,
    Append,
    Asked,
    Bye,
    ChangeAvatar,
    Clear,
    Delta,
    Done,
    End,
    Listening,
    SetControls,
    SpeechStarted,
    SpeechStopped,
    read_base64,
    read_message,
    read_query,
)
from stream.engine.protocol import EngineSpec
from stream.errors import SignalingError, StreamError
from stream.programs.caller import MAX_BACKLOG_S, ProgramCaller
from stream.programs.live_film import FILM_CODECS, LiveFilm
from stream.uploads.permission import is_same_origin

logger = logging.getLogger(__name__)

PATH: Final = "/v1/audio"
MAX_UNSENT_EVENTS: Final = 512
"""Half a minute of events; who does not read them is let go."""
CLOSE_OVER, CLOSE_REFUSED, CLOSE_FAILED, CLOSE_FULL = 1000, 1008, 1011, 1013
GONE_FOR_GOOD: Final = (1000, 1001)
"""What the program says when it closes by itself; a connection that is lost leaves its call away."""


@dataclass(frozen=True, slots=True)
class AudioDoor:
    """What the door needs of its server.

    Attributes:
        lobby: takes callers in.
        clock: the time.
        ready_spec: what the engine draws; raises while there is no engine.
        refresh: looks for avatars that were added meanwhile.
    """

    lobby: Lobby
    clock: Clock
    ready_spec: Callable[[], EngineSpec]
    refresh: Callable[[], Awaitable[None]]


def add_audio_socket(app: FastAPI, door: AudioDoor) -> None:
    """Open the door, and describe it in GET /asyncapi.json."""
    add_asyncapi(app, PATH)

    @app.websocket(PATH)
    async def audio(socket: WebSocket) -> None:
        await socket.accept()
        try:
            program = await _let_in(socket, door)
        except StreamError as error:
            logger.info("a program was refused: %s", error.message)
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.send_text(json.dumps({"type": "error", **error.as_json()}))
                await socket.close(CLOSE_FULL if error.status == 503 else CLOSE_REFUSED, error.code)
            return
        await program.run()


async def _let_in(socket: WebSocket, door: AudioDoor) -> Program:
    if not is_same_origin(socket):
        raise SignalingError(
            "other_origin", "Expected a program or this server's own page, got a page of another origin.", 403
        )
    asked = read_query(socket.query_params)
    spec = door.ready_spec()
    await door.refresh()
    secret = asked.resume or new_secret()
    program = Program(socket, door.clock, asked, spec, secret)
    await door.lobby.admit(asked.wish, program.caller, secret)
    return program


class Program:
    """One connection, from its place in a call until one of them ends.

    Args:
        socket: accepted.
        clock: the time.
        asked: see `Asked`.
        spec: what the engine draws.
        secret: of its call; told in `hello`.
    """

    def __init__(self, socket: WebSocket, clock: Clock, asked: Asked, spec: EngineSpec, secret: str) -> None:
        codecs = FILM_CODECS if asked.video else None
        self.caller = ProgramCaller(clock, asked.form, self._tell, codecs=codecs)
        self._spec, self._secret = spec, secret
        self._socket = socket
        self._unsent: deque[str] = deque()
        self._news = asyncio.Event()
        self._item: str | None = None  # of the open segment, where it came with one
        self._failed = False
        self._over = False  # nothing more will be told

    async def run(self) -> None:
        """Last until the program or the call goes; then nothing is left but the answer to a close."""
        reading = asyncio.create_task(self._guarded(self._read()))
        writing = asyncio.create_task(self._guarded(self._write()))
        filming = asyncio.create_task(self._guarded(self._film()))
        try:
            reason = await self.caller.gone()
        finally:
            self._over = True
            self._news.set()
            reading.cancel()
            filming.cancel()
            await asyncio.gather(reading, filming, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.gather(writing, return_exceptions=True)
            writing.cancel()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(CLOSE_FAILED if self._failed else CLOSE_OVER, reason[:100])

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Do a part of the work; where it fails, for a reason of the socket or of ours, the program is gone."""
        try:
            await work
        except (WebSocketDisconnect, RuntimeError):  # Starlette's words for a socket that is closed
            self.caller.leave("peer_left")
        except Exception:
            logger.exception("a program could not be served")
            sentence = "The server failed on this connection; its log says why."
            self._tell("error", {"error": "internal", "message": sentence})
            self.caller.leave("internal")

    # -- in -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                if message.get("code") in GONE_FOR_GOOD:
                    with contextlib.suppress(SignalingError):
                        self.caller.say("bye", {})
                self.caller.leave("peer_left")
                return
            try:
                self._take(message.get("bytes"), message.get("text"))
            except StreamError as error:
                self._tell("error", error.as_json())

    def _take(self, data: bytes | None, text: str | None) -> None:
        size = len(data) if data is not None else len(text or "")
        if size > MAX_MESSAGE_BYTES:
            raise SignalingError(
                "too_large",
                f"Expected messages of at most {MAX_MESSAGE_BYTES} bytes, got {size}; send shorter ones.",
            )
        if data is not None:
            self._hear(data, None)
        else:
            self._obey(text or "")

    def _hear(self, data: bytes, label: Mapping[str, object] | None) -> None:
        try:
            pcm = self.caller.form.read(data)
        except ValueError as error:
            raise SignalingError("bad_sound", str(error)) from None
        self.caller.offer(pcm, label)

    def _obey(self, text: str) -> None:
        match read_message(text):
            case Append(audio=audio):
                self._hear(read_base64(audio), None)
            case Delta() as delta:
                self._hear_item(delta)
            case End() | Done():
                self._item = None
                self.caller.end()
            case Clear():
                self._clear()
            case SpeechStarted():
                self._clear()
                self.caller.say("controls", {"listening": True})
            case SpeechStopped():
                self.caller.say("controls", {"listening": False})
            case Listening(listening=listening):
                self.caller.say("controls", {"listening": listening})
            case SetControls() as controls:
                self.caller.say("controls", controls.model_dump(exclude={"type"}, exclude_unset=True))
            case ChangeAvatar(id=avatar):
                self.caller.say("avatar", {"id": avatar})
            case Bye():
                self.caller.say("bye", {})
            case None:
                pass

    def _hear_item(self, delta: Delta) -> None:
        """Sound of an item; the one before has ended, whether or not its end was told."""
        data = read_base64(delta.delta)
        if self._item is not None and delta.item_id != self._item:
            self.caller.end()
        label = (
            None
            if delta.item_id is None
            else {"item_id": delta.item_id, "content_index": delta.content_index}
        )
        self._item = delta.item_id
        self._hear(data, label)

    def _clear(self) -> None:
        self._item = None
        self.caller.clear()

    # -- out ----------------------------------------------------------------------------------------------

    def _tell(self, kind: str, fields: Mapping[str, object]) -> None:
        if kind == "hello":
            most_ms = round(1000 * MAX_BACKLOG_S)
            fields = {
                **fields,
                "rate": self.caller.form.rate_hz,
                "max_backlog_ms": most_ms,
                "resume": self._secret,
            }
        self._failed = self._failed or (
            kind == "error" and fields.get("error") in ("engine_failed", "internal")
        )
        self._send(json.dumps({"type": kind, **fields}, allow_nan=False))
        if kind == "cleared" and "item_id" in fields:
            self._send(json.dumps(_truncate(fields)))

    def _send(self, message: str) -> None:
        if len(self._unsent) >= MAX_UNSENT_EVENTS:
            self.caller.leave("not_reading")
        elif not self._over:
            self._unsent.append(message)
            self._news.set()

    async def _write(self) -> None:
        """Send what there is to send, until all is over and sent."""
        while True:
            while self._unsent:
                await self._socket.send_text(self._unsent.popleft())
            if self._over:
                return
            self._news.clear()
            await self._news.wait()

    async def _film(self) -> None:
        """Send the call's packets as fragmented MP4, where the program asked for them."""
        if self.caller.tracks is None:
            return
        film = LiveFilm(*self.caller.tracks, self._spec)
        try:
            async for piece in film.pieces():
                await self._socket.send_bytes(
                    piece
                )  # who reads too slowly loses what the tracks drop meanwhile
        except (WebSocketDisconnect, RuntimeError):
            self.caller.leave("peer_left")


def _truncate(cleared: Mapping[str, object]) -> dict[str, object]:
    """What to tell OpenAI's side of an interruption: how much of the item has been heard."""
    return {
        "type": "conversation.item.truncate",
        "item_id": cleared["item_id"],
        "content_index": cleared["content_index"],
        "audio_end_ms": int(float(str(cleared["ms"]))),
    }
