"""A caller that is no WebRTC connection: gives samples, takes slots, and is watched like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.engine.protocol import Controls
from stream.live.caller import CallerListener, Outlet
from stream.live.slots import Slot, SlotFeed
from stream.live.wish import Wish
from stream.media import Heard
from tests.fakes import FakeEngine, mouth_of
from tests.stream.calls.spectator import Spectator
from tests.stream.rig import bursts, running_server

PACKET = 480


class SampleCaller:
    """Speaks the rig's bursts in real time, and keeps the slots that come back."""

    takes_voice = takes_pictures = False

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.listener: CallerListener | None = None
        self.reason = ""
        self.closed = False
        self._left = asyncio.Event()
        self._feed: SlotFeed | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, outlet: Outlet, listener: CallerListener) -> None:
        self.listener, self._feed = listener, outlet.slots()
        self._reading = asyncio.create_task(self._read(self._feed))

    async def connected(self) -> None:
        pass

    async def feed(self, hear: Callable[[Heard], None]) -> None:
        loop, position = asyncio.get_running_loop(), 0
        began_s = loop.time()
        while True:
            voice = bursts(position, PACKET)
            hear(Heard(loop.time(), voice, (voice[::3] / 32768).astype(np.float32)))
            position += PACKET
            await asyncio.sleep(began_s + position / 48_000 - loop.time())

    async def gone(self) -> str:
        await self._left.wait()
        return self.reason

    def leave(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._left.set()

    async def network(self) -> None:
        return None

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        self.told.append((kind, fields))

    async def close(self) -> None:
        self.closed = True
        if self._feed is not None:
            self._feed.close()
        if self._reading is not None:
            await self._reading

    async def _read(self, feed: SlotFeed) -> None:
        async for slot in feed:
            self.slots.append(slot)


async def test_samples_in_slots_out_and_a_viewer_over_webrtc(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_server(tmp_path, lambda: engine) as running:
        caller, viewer = SampleCaller(), Spectator()
        wish = Wish(avatar="bo", controls=Controls(audio_scale=2.0))
        session = await running.server.lobby.admit(wish, caller)
        await until(lambda: len(caller.slots) > 20)
        await viewer.watch(running, session.watch_id)
        await until(lambda: min(viewer.frames.values()) > 20 and len(caller.slots) > 100)
        indices = [slot.index for slot in caller.slots]
        assert indices == list(range(indices[0], indices[0] + len(indices)))
        assert max(mouth_of(slot.picture.image) for slot in caller.slots) > 150
        assert max(int(np.abs(slot.voice).max()) for slot in caller.slots) > 10_000
        assert {len(slot.voice) for slot in caller.slots} == {1920}
        await until(lambda: any(kind == "stats" for kind, _ in caller.told))
        stats: Any = next(fields for kind, fields in caller.told if kind == "stats")
        assert (stats["state"], stats["audio_scale"]) == ("live", 2.0)
        assert caller.listener is not None
        caller.listener.on_message("bye", {})
        await until(lambda: len(running.server.lobby) == 0)
        assert caller.closed
        await viewer.leave()
    assert not engine.held


async def test_a_caller_that_cannot_be_served_leaves_nothing(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_server(tmp_path, lambda: engine) as running:
        caller = SampleCaller()

        async def fail(outlet: Outlet, listener: CallerListener) -> None:
            raise RuntimeError("no way")

        caller.open = fail  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="no way"):
            await running.server.lobby.admit(Wish(), caller)
        assert caller.closed
        assert len(running.server.lobby) == running.server.scheduler.seats.taken == 0
    assert not engine.held


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not condition():
            await asyncio.sleep(0.01)
