"""A program before a face, on a fake clock: everything that comes of it, slot by slot, without a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np

from stream.engine.protocol import Controls
from stream.engine.windower import Window
from stream.live.face import Face
from stream.live.slots import Slot, SlotFeed
from stream.media import Codecs
from stream.outbound.caller_track import CallerTrack
from stream.outbound.fan_out import SharedTrack
from stream.outbound.pacer import PacerConfig
from stream.outbound.tracks import VOICE_LEAD_S
from stream.programs.caller import ProgramCaller
from stream.programs.sound import SoundForm
from tests.fakes import FakeClock
from tests.stream.outbound.pacer_stage import SPEC, STILL, drawn, pictures

LEAD = round(VOICE_LEAD_S * 48_000)


class SlowEasel:
    """Draws each window `delay_s` after it was submitted, one after the other; stands for the engine."""

    def __init__(self, clock: FakeClock, face: Face, delay_s: float) -> None:
        self.controls = Controls()
        self.delay_s = delay_s
        self.windows: list[Window] = []
        self.rests = 0
        self._clock, self._face = clock, face
        self._drawing: list[asyncio.Task[None]] = []

    def submit(self, window: Window, deadline_s: float) -> None:
        self.windows.append(window)
        self._drawing.append(asyncio.create_task(self._draw(window, self._clock.now())))

    def restart(self, state: object) -> int:
        raise NotImplementedError("nobody changes faces here")

    def rest(self) -> int:
        self.rests += 1
        self.close()
        return 0

    def close(self) -> None:
        for task in self._drawing:
            task.cancel()
        self._drawing.clear()

    async def _draw(self, window: Window, came_s: float) -> None:
        await self._clock.sleep_until(came_s + self.delay_s)
        self._face.on_drawn(drawn(window.first_frame, pictures(window.first_frame)))


class ProgramStage:
    """The face, its program, and all that was shown and told; also the call's outlet and listener."""

    codecs: Codecs | None = None

    def __init__(self, rate_hz: int, most_s: float = 300.0, delay_s: float = 0.05) -> None:
        self.clock = FakeClock(50.0)
        self.face = self.showing = Face(
            self.clock, SPEC, STILL, pacing=PacerConfig(voice_lead_s=VOICE_LEAD_S)
        )
        self.easel = SlowEasel(self.clock, self.face, delay_s)
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        self.seen: list[Slot] = []
        self.on_drained: Callable[[], object] = lambda: None
        self.caller = ProgramCaller(self.clock, SoundForm(rate_hz), self._note, most_s)

    @contextlib.asynccontextmanager
    async def playing(self, drawn_at_once: bool = True) -> AsyncIterator[ProgramStage]:
        """Run the call's tasks until the block ends."""
        if drawn_at_once:
            self.face.draw_on(self.easel)
        await self.caller.open(self, self)
        tasks = [asyncio.create_task(self.caller.feed(self.face.hear)), asyncio.create_task(self._show())]
        try:
            await self.clock.advance(1.0)
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.face.close()

    @property
    def voice(self) -> np.ndarray:
        """All samples that left, as one array."""
        return np.concatenate([slot.voice for slot in self.seen])

    def events(self, *kinds: str) -> list[Mapping[str, Any]]:
        return [fields for kind, fields in self.told if kind in kinds]

    # -- the call --

    def slots(self) -> SlotFeed:
        return self.face.feed()

    def tracks(self, codecs: Codecs) -> tuple[CallerTrack, CallerTrack]:
        raise NotImplementedError("a program takes no tracks")

    def shared(self, codecs: Codecs) -> tuple[SharedTrack, SharedTrack]:
        raise NotImplementedError("nothing is encoded here")

    def greeting(self) -> Mapping[str, object]:
        return {"protocol": 1}

    def on_message(self, kind: str, fields: Mapping[str, Any]) -> None:
        assert kind == "clear", kind
        self.face.clear()
        self.caller.tell("cleared", {"by": "page"})

    def _note(self, kind: str, fields: Mapping[str, object]) -> None:
        self.told.append((kind, fields))
        if kind == "drained":
            self.on_drained()

    async def _show(self) -> None:
        async for slot in self.face.slots():
            self.seen.append(slot)


def ramp(count: int) -> np.ndarray:
    """Loud samples that all tell where they are, for some seconds: (count,) int16."""
    return (1000 + np.arange(count) % 30_000).astype(np.int16)
