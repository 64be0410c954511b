"""A pacer on a stage: a fake clock, a microphone in real time, an engine of a given delay."""

from __future__ import annotations

import numpy as np

from stream.media import RATE_HZ
from stream.outbound.pacer import Pacer, PacerConfig
from tests.fakes import FakeClock

FPS = 25
SLOT = RATE_HZ // FPS
HOP = 4
STILL = np.full((4, 4, 3), 9, np.uint8)


def speech(frame: int) -> np.ndarray:
    """One media frame's samples, loud, every sample telling the frame it belongs to."""
    return np.full(SLOT, 5000 + frame, np.int16)


def pictures(first: int, count: int = HOP) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), (first + index) % 256, np.uint8) for index in range(count)])


class Stage:
    """A pacer with a fake clock, a microphone in real time, and an engine of a given delay.

    Windows come `delay_s` after the microphone spoke their last needed sample (two frames of look-ahead).
    """

    def __init__(self, config: PacerConfig | None = None, quiet: bool = False, pace: float = 1.0) -> None:
        self.clock = FakeClock(50.0)
        self.pacer = Pacer(self.clock, FPS, STILL, config)
        self.quiet = quiet
        self.pace = pace
        self.heard = 0
        self.next_window = 0
        self.arrivals: list[tuple[float, int]] = []
        self.slots: list[tuple[int | None, int, int | None]] = []  # shown frame, voice value, settled frame
        self.voice: list[np.ndarray] = []
        self.pacer.due(0)

    def run(self, slots: int, delay_s: float = 0.05, lost: tuple[int, ...] = ()) -> None:
        for _ in range(slots):
            slot = len(self.slots)
            while True:
                due_s = self.pacer.due(slot)
                spoken_s = 50.0 + (self.heard + 1) / FPS * self.pace
                ready = min(self.arrivals, default=(np.inf, 0))
                if min(spoken_s, ready[0]) > due_s:
                    break
                if ready[0] <= spoken_s:
                    self.arrivals.remove(ready)
                    self.clock.set(max(self.clock.now(), ready[0]))
                    self.pacer.push_frames(ready[1], pictures(ready[1]))
                    continue
                self.clock.set(max(self.clock.now(), spoken_s))
                sound = np.zeros(SLOT, np.int16) if self.quiet else speech(self.heard)
                self.pacer.push_voice(sound, self.clock.now())
                self.heard += 1
                if self.heard >= self.next_window * HOP + HOP + 3:
                    if self.next_window not in lost:
                        self.arrivals.append((self.clock.now() + delay_s, self.next_window * HOP))
                    self.next_window += 1
            self.clock.set(max(self.clock.now(), due_s))  # settling may move t0, by less than matters here
            picture, voice = self.pacer.picture(slot), self.pacer.voice(slot)
            self.pacer.sent_voice(slot)
            self.pacer.sent_picture(picture)
            settled = self.pacer._settled(slot).media_frame
            self.slots.append((picture.media_frame, int(voice[-1]), settled))
            self.voice.append(voice)

    @property
    def shown(self) -> list[int | None]:
        return [slot[0] for slot in self.slots]
