"""The microphone's way in: aiortc track -> 48 kHz mono -> media timeline -> 16 kHz for the engine.

In: the peer's audio track. Out: `Heard` chunks on one gapless timeline, the same moments at 16 kHz float32
(for the windower) and at 48 kHz int16 (for the pacer, which sends the speaker's own voice back beside the
face). Everything runs on the event loop; a 20 ms packet costs some tens of microseconds. Decoding happens in
aiortc's own thread before.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.jitterbuffer import MAX_MISORDER, JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint16_gt

from stream.clock import Clock
from stream.engine.protocol import Float32Array
from stream.inbound.concealment import Int16Array
from stream.inbound.timeline import RATE_HZ, Timeline

TICK_S = 0.02
HELD_UP_TICKS = 10


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of the media timeline.

    Attributes:
        arrived_s: the clock when it arrived.
        voice: (n,) int16 at 48 kHz, contiguous with the piece before.
        engine: (m,) float32 at 16 kHz in [-1, 1], contiguous with the piece before; m is n / 3 up to rounding.
    """

    arrived_s: float
    voice: Int16Array
    engine: Float32Array


class EngineResampler:
    """48 kHz int16 mono to the engine's rate in float32 mono; keeps its filter's past between calls.

    Of n samples in, n // factor are out at once: a window is complete with the packet that completes it. (A
    resampler that centres its filter gives the last samples with the next packet, 20 ms later, every time.) The
    price is a sound that is late by the filter's half, `delay_s`, 1 ms.

    Args:
        rate_hz: the engine's; must divide 48000.

    Raises:
        ValueError: it does not.

    Source: J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function", ISCAS 1974.
    """

    def __init__(self, rate_hz: int) -> None:
        if rate_hz <= 0 or RATE_HZ % rate_hz:
            raise ValueError(f"Expected a rate that divides {RATE_HZ} Hz, got {rate_hz}.")
        self._factor = RATE_HZ // rate_hz
        self._taps = _low_pass(0.46 * rate_hz / RATE_HZ)
        self._past: Float32Array = np.zeros(len(self._taps) - 1, np.float32)
        self._count = 0  # samples taken in
        self.delay_s = (len(self._taps) // 2) / RATE_HZ

    def push(self, pcm: Int16Array) -> Float32Array:
        """Resample (n,) int16 at 48 kHz; returns (m,) float32, m = n / factor where n is a multiple of it."""
        heard = np.concatenate((self._past, pcm.astype(np.float32) / 32768.0))
        self._past = heard[len(heard) - len(self._past) :]
        first = -(self._count + 1) % self._factor  # the next sample that completes a group
        self._count += len(pcm)
        if len(pcm) <= first:
            return np.zeros(0, np.float32)
        filtered = np.convolve(heard, self._taps, mode="valid")
        return np.asarray(filtered[first :: self._factor], dtype=np.float32)


def _low_pass(cutoff: float, taps: int = 95) -> Float32Array:
    """A linear-phase low pass of unit gain; `cutoff` in cycles a sample, where it has fallen by 6 dB."""
    n = np.arange(taps) - taps // 2
    response = np.sinc(2 * cutoff * n) * np.kaiser(taps, 5.6)  # 60 dB
    return np.asarray(response / response.sum(), np.float32)


class TrackReader:
    """Turns the track's frames, whatever their rate and layout, into 48 kHz mono with 48 kHz timestamps."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self._track = track
        self._resampler: av.AudioResampler | None = None
        self._source: tuple[int, str, str] | None = None

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
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
            self._source = source
        pts = round((frame.pts or 0) * RATE_HZ / frame.sample_rate)
        frame.pts = None
        parts = [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)]
        return (np.concatenate(parts) if parts else np.zeros(0, np.int16)), pts


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


class PromptBuffer:
    """Hands every audio packet on as it comes; stands in for aiortc's jitter buffer.

    That one waits for 4 packets (80 ms), and after one loss its lag grows to 14 for good (aiortc #543); at its
    smallest it still waits for the next packet (20 ms). Order and gaps are the timeline's to settle, and the
    pacer's reserve absorbs jitter, so nothing need be waited for here. A packet older than one already handed on
    is dropped: at 20 ms a packet, waiting for it would cost every listener more than concealing it.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """See `aiortc.jitterbuffer.JitterBuffer.add`.

        The first value asks for a key frame, which audio has not.
        """
        number = packet.sequence_number
        if self._last is not None and not uint16_gt(number, self._last):
            behind = uint16_add(self._last, -number)
            if behind < MAX_MISORDER:
                return False, None
        self._last = number
        return False, JitterFrame(data=packet._data, timestamp=packet.timestamp)  # type: ignore[attr-defined]


def hear_promptly(receiver: RTCRtpReceiver) -> None:
    """Give an audio receiver a `PromptBuffer`.

    Another aiortc that keeps its buffer elsewhere is left as it is.
    """
    name = "_RTCRtpReceiver__jitter_buffer"
    if hasattr(receiver, name):
        setattr(receiver, name, PromptBuffer())
