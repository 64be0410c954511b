"""A real server on a real socket and real peers, all on loopback and in one event loop,
around a fake engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import uvicorn
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from fastapi import FastAPI
from PIL import Image

from stream.app import Server, create_app
from stream.clock import MonotonicClock
from stream.engine.protocol import Engine
from stream.listening import open_port
from stream.rtc.ice import offer_addresses
from stream.server_config import ServerConfig
from tests.fakes import FakeEngine

Sound = Callable[[int, int], np.ndarray]


def make_avatars(folder: Path, names: tuple[str, ...] = ("ada", "bo")) -> Path:
    """A folder with plain grey faces and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, name in enumerate(names):
        picture = np.full((96, 96, 3), 60 + 40 * index, dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{name}.png")
        Image.fromarray(picture[:32, :32]).save(folder / f"{name}.thumb.png")
        rows.append(
            {"id": name, "name": name.title(), "image": f"{name}.png", "thumbnail": f"{name}.thumb.png"}
        )
    (folder / "index.json").write_text(json.dumps(rows))
    return folder


@dataclass
class Running:
    """A running server."""

    url: str
    app: FastAPI
    server: Server
    http: httpx.AsyncClient


@contextlib.asynccontextmanager
async def running_server(
    folder: Path,
    load: Callable[[], Engine] = FakeEngine,
    *,
    max_sessions: int = 2,
    max_viewers: int = 16,
    grace_s: float = 0.0,
    ready: bool = True,
    **more: Any,
) -> AsyncIterator[Running]:
    """Serve on a free port of loopback until the block ends; `more` goes into the `ServerConfig`."""
    config = ServerConfig(
        avatars=make_avatars(folder / "avatars"),
        max_sessions=max_sessions,
        max_viewers=max_viewers,
        grace_s=grace_s,
        ice_addresses=("127.0.0.1",),
        **more,
    )
    app = create_app(config, load)
    listener = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        if ready:
            await app.state.server.loaded.wait()
        async with httpx.AsyncClient(base_url=url, timeout=40) as http:
            yield Running(url, app, app.state.server, http)
    finally:
        server.should_exit = True
        await serving
        listener.close()


def silence(start: int, count: int) -> np.ndarray:
    return np.zeros(count, dtype=np.int16)


def bursts(start: int, count: int) -> np.ndarray:
    """A 440 Hz tone, on for 0.4 s and off for 0.6 s of every second."""
    n = np.arange(start, start + count)
    on = (n % 48_000) < 19_200
    return (12_000 * np.sin(2 * np.pi * 440 * n / 48_000) * on).astype(np.int16)


class SpeakerTrack(MediaStreamTrack):
    """A microphone that plays a function of the sample's number, on the clock."""

    kind = "audio"

    def __init__(self, sound: Sound) -> None:
        super().__init__()
        self._sound: Sound | None = sound
        self._clock = MonotonicClock()
        self._t0_s: float | None = None
        self._position = 0

    async def recv(self) -> av.AudioFrame:
        if self._t0_s is None:
            self._t0_s = self._clock.now()
        await self._clock.sleep_until(self._t0_s + (self._position + 960) / 48_000)
        while self._sound is None:  # switched off: not a packet more
            await asyncio.sleep(0.05)
        frame = av.AudioFrame.from_ndarray(
            self._sound(self._position, 960).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = 48_000
        frame.pts = self._position
        frame.time_base = Fraction(1, 48_000)
        self._position += 960
        return frame


@dataclass
class Received:
    """What came back, with the client's clock."""

    pictures: list[tuple[float, float, np.ndarray]] = field(default_factory=list)  # arrival, media s, RGB
    voice: list[tuple[float, float, np.ndarray]] = field(default_factory=list)  # arrival, media s, int16 mono
    messages: list[dict[str, Any]] = field(default_factory=list)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


class Caller:
    """A page without a browser."""

    def __init__(self, sound: Sound = silence, *, channel: bool = True, ping: bool = True) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.received = Received()
        self.microphone = SpeakerTrack(sound)
        self.connection.addTransceiver(self.microphone, direction="sendrecv")
        self.connection.addTransceiver("video", direction="recvonly")
        self.channel: RTCDataChannel | None = None
        self.closed = asyncio.Event()
        self.answered_s = 0.0
        self._clock = MonotonicClock()
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", lambda track: self._start(self._collect(track)))
        self.connection.on("connectionstatechange", self._on_state)
        if channel:
            self.channel = self.connection.createDataChannel("fada")
            self.channel.on("message", lambda text: self.received.messages.append(json.loads(text)))
            if ping:
                self._start(self._ping())

    async def offer(self) -> dict[str, Any]:
        offer_addresses(self.connection, ["127.0.0.1"])
        await self.connection.setLocalDescription(await self.connection.createOffer())
        description = self.connection.localDescription
        return {"sdp": description.sdp, "type": description.type}

    async def call(self, running: Running, **more: Any) -> dict[str, Any]:
        response = await running.http.post("/offer", json={**await self.offer(), **more})
        answer = response.json()
        assert response.status_code == 200, answer
        self.answered_s = self._clock.now()
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        return answer

    async def until(self, condition: Callable[[], bool], within_s: float = 40.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.01)

    async def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.close()

    async def vanish(self) -> None:
        """Go without a word, as a killed browser does: no BYE, no DTLS alert,
        the sockets just fall silent.
        """
        for transceiver in self.connection.getTransceivers():
            transport = transceiver.receiver.transport.transport._connection
            for protocol in transport._protocols:
                protocol.transport.abort()

    def _start(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _on_state(self) -> None:
        if self.connection.connectionState in ("closed", "failed"):
            self.closed.set()

    async def _ping(self) -> None:
        while True:
            if self.channel is not None and self.channel.readyState == "open":
                self.channel.send(json.dumps({"type": "ping", "t": self._clock.now()}))
            await asyncio.sleep(0.5)

    async def _collect(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            media_s = float(frame.pts * frame.time_base)
            now_s = self._clock.now()
            if isinstance(frame, av.VideoFrame):
                self.received.pictures.append((now_s, media_s, frame.to_ndarray(format="rgb24")))
            else:
                pcm = frame.to_ndarray().reshape(-1)[::2]
                self.received.voice.append((now_s, media_s, pcm))
