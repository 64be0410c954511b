"""The microphone's way in: aiortc track -> 48 kHz mono -> media timeline -> 16 kHz for the engine.

In: the peer's audio track. Out: `Heard` chunks on one gapless timeline, the same moments at 16 kHz float32
(for the windower) and at 48 kHz int16 (for the pacer, which sends the speaker's own voice back beside the
face). Everything runs on the event loop; a 20 ms packet costs some tens of microseconds. Decoding happens in
aiortc's own thread before.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from models.sound import DownMix
from stream.clock import Clock
from stream.inbound.resampler import EngineResampler
from stream.inbound.timeline import Timeline
from stream.media import RATE_HZ, Heard, Int16Array

TICK_S = 0.02
HELD_UP_TICKS = 10


class TrackReader:
    """Turns the track's frames, whatever their rate and layout, into 48 kHz mono with 48 kHz timestamps."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self._track = track
        self._resampler: av.AudioResampler | None = None
        self._source: tuple[int, str, str] | None = None
        self._mix = DownMix(RATE_HZ)

    async def read(self) -> tuple[Int16Array, int] | None:
        """The next packet as ((n,) int16, pts); None when the track has ended."""
        try:
            frame = await self._track.recv()
        except MediaStreamError:
            return None
        if not isinstance(frame, av.AudioFrame):
            return np.zeros(0, np.int16), 0
        source = (frame.sample_rate, frame.format.name, frame.layout.name)
        if self._resampler is None or source != self._source:
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            self._resampler = av.AudioResampler(format="s16", layout=layout, rate=RATE_HZ)
            self._source = source
        pts = round((frame.pts or 0) * RATE_HZ / frame.sample_rate)
        frame.pts = None
        parts = [self._mono(part) for part in self._resampler.resample(frame)]
        return (np.concatenate(parts) if parts else np.zeros(0, np.int16)), pts

    def _mono(self, part: av.AudioFrame) -> Int16Array:
        """One channel (n,) of a packed frame; sides that cancel each other are not averaged."""
        packed = part.to_ndarray().reshape(-1, part.layout.nb_channels)
        if packed.shape[1] == 1:
            return np.asarray(packed[:, 0], np.int16)
        mixed = self._mix.push(packed.T.astype(np.float32) / 32768.0)
        whole = np.rint(mixed * 32768.0).clip(-32768, 32767)
        return np.asarray(whole, np.int16)


class InboundAudio:
    """One session's microphone. `hear_track` and `hear_clock` run as two tasks and feed the same timeline."""

    def __init__(self, clock: Clock, engine_rate_hz: int) -> None:
        self._clock = clock
        self._resampler = EngineResampler(engine_rate_hz)
        self.timeline = Timeline(clock.now())
        self.packets = 0
        self.last_packet_s = -math.inf

    async def hear_track(self, track: MediaStreamTrack) -> AsyncIterator[Heard]:
        """Everything the peer sends, until its track ends."""
        reader = TrackReader(track)
        while (packet := await reader.read()) is not None:
            now_s = self._clock.now()
            self.packets += 1
            self.last_packet_s = now_s
            for pcm in self.timeline.add(*packet, now_s):
                yield self._heard(pcm, now_s)

    async def hear_clock(self) -> AsyncIterator[Heard]:
        """Silence wherever the microphone has stalled, for ever."""
        due_s = self._clock.now()
        held_up = 0
        while True:
            due_s = max(due_s + TICK_S, self._clock.now())
            await self._clock.sleep_until(due_s)
            now_s = self._clock.now()
            held_up = held_up + 1 if now_s - due_s > TICK_S else 0
            if 0 < held_up <= HELD_UP_TICKS:  # this process, not the microphone: read what waits first
                continue
            pcm = self.timeline.fill(now_s)
            if pcm is not None:
                yield self._heard(pcm, now_s)

    def _heard(self, pcm: Int16Array, now_s: float) -> Heard:
        return Heard(arrived_s=now_s, voice=pcm, engine=self._resampler.push(pcm))
