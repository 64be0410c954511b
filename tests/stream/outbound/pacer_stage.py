"""A face on a stage: a fake clock, a microphone in real time, an engine of a given delay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stream.engine.engine_stream import Drawn
from stream.engine.protocol import Controls
from stream.engine.windower import Window
from stream.live.face import Face
from stream.media import RATE_HZ, Heard
from stream.outbound.pacer import PacerConfig
from tests.fakes import SMALL_SPEC, FakeClock

FPS = 25
SLOT = RATE_HZ // FPS
HOP = 4
PACKET = 480  # 10 ms, as browsers are asked for
SPEC = replace(SMALL_SPEC, width=4, height=4, hop_frames=HOP, context_samples=0)  # two frames of look-ahead
STILL = np.full((4, 4, 3), 9, np.uint8)


def speech(frame: int) -> np.ndarray:
    """One media frame's samples, loud, every sample telling the frame it belongs to."""
    return np.full(SLOT, 5000 + frame, np.int16)


def pictures(first: int, count: int = HOP) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), (first + index) % 256, np.uint8) for index in range(count)])


class Easel:
    """Draws every window after a while, when it is asked to; stands for the engine."""

    def __init__(self, clock: FakeClock) -> None:
        self.controls = Controls()
        self.delay_s = 0.0
        self.lost: tuple[int, ...] = ()
        self.waiting: list[tuple[float, int]] = []
        self._clock = clock

    def submit(self, window: Window, deadline_s: float) -> None:
        if window.index not in self.lost:
            self.waiting.append((self._clock.now() + self.delay_s, window.first_frame))

    def restart(self, state: object) -> int:
        raise NotImplementedError("nobody changes faces here")

    def rest(self) -> int:
        self.waiting.clear()
        return 0

    def close(self) -> None:
        self.waiting.clear()


def drawn(first_frame: int, frames: np.ndarray) -> Drawn:
    return Drawn(first_frame, frames, 0, None, 1, 0.0, 0.0, 0.0, 0.0, {})


class Stage:
    """A face with a fake clock, a microphone in real time, and an engine of a given delay.

    Windows come `delay_s` after the microphone spoke their last needed sample (two frames of look-ahead).
    """

    def __init__(self, config: PacerConfig | None = None, quiet: bool = False, pace: float = 1.0) -> None:
        self.clock = FakeClock(50.0)
        self.face = Face(self.clock, SPEC, STILL, pacing=config)
        self.easel = Easel(self.clock)
        self.face.draw_on(self.easel)
        self.pacer = self.face.pacer
        self.quiet = quiet
        self.pace = pace
        self.packets = 0
        self.slots: list[tuple[int | None, int, int | None]] = []  # shown frame, voice value, settled frame
        self.voice: list[np.ndarray] = []
        self.pacer.due(0)

    @property
    def heard(self) -> int:
        """Whole frames heard so far."""
        return self.packets * PACKET // SLOT

    def run(self, slots: int, delay_s: float = 0.05, lost: tuple[int, ...] = ()) -> None:
        self.easel.delay_s, self.easel.lost = delay_s, lost
        for _ in range(slots):
            slot = len(self.slots)
            self._live_until(slot)
            due_s = self.pacer.due(slot)
            self.clock.set(max(self.clock.now(), due_s))  # settling may move t0, by less than matters here
            picture, voice = self.pacer.picture(slot), self.pacer.voice(slot)
            self.pacer.sent_voice(slot)
            self.pacer.sent_picture(picture)
            settled = self.pacer._settled(slot).media_frame
            self.slots.append((picture.media_frame, int(voice[-1]), settled))
            self.voice.append(voice)

    def _live_until(self, slot: int) -> None:
        """Hear and draw all that comes before a slot is due."""
        while True:
            spoken_s = 50.0 + (self.packets + 1) * PACKET / RATE_HZ * self.pace
            ready = min(self.easel.waiting, default=(np.inf, 0))
            if min(spoken_s, ready[0]) > self.pacer.due(slot):
                return
            self.clock.set(max(self.clock.now(), min(spoken_s, ready[0])))
            if ready[0] <= spoken_s:
                self.easel.waiting.remove(ready)
                self.face.on_drawn(drawn(ready[1], pictures(ready[1])))
            else:
                sound = np.zeros(PACKET, np.int16) if self.quiet else speech(self.heard)[:PACKET]
                self.face.hear(Heard(self.clock.now(), sound, np.zeros(PACKET // 3, np.float32)))
                self.packets += 1

    @property
    def shown(self) -> list[int | None]:
        return [slot[0] for slot in self.slots]
