"""The tracks that leave: a `PictureTrack` and a `VoiceTrack` for aiortc, both counting the pacer's slots.

In: the pacer's pictures and samples. Out: what aiortc's senders ask for with `recv()`, at the moment it is
due, with pts from the slot's number: 90 kHz for video, 48 kHz in 10 ms frames for audio. Neither uses the
wall clock of aiortc's own tracks. Both hand over what is encoded already, so that a packet leaves at its due moment
and not some time of encoding after it. What the caller gets, viewers get through each track's `fan_out`, the same
objects at the same moment. Everything runs on the event loop, but large pictures are encoded in the default
executor.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from stream.clock import Clock
from stream.engine.protocol import EngineSpec
from stream.media import PACKET_SAMPLES, Int16Array, Picture
from stream.outbound.encoder import VIDEO_RATE_HZ, Encoder, VideoPacket, make_encoder, suitable_bit_rate
from stream.outbound.fan_out import PICTURES_KEPT, VOICE_KEPT, FanOut
from stream.outbound.pacer import Pacer
from stream.outbound.voice_encoder import DELAY_S, OPUS, AudioPacket, OpusEncoder, voice_frame

MOUTH_LEAD_S = 0.010
"""A frame's picture stands there from its first sample on, its sounds come in the 40 ms after: a drawn mouth opens
up to 40 ms before its sound. Part of half a frame evens it out: with 10 ms and no networks, sounds were 16 ms
behind or 4 ms ahead by their place in the frame (`fada bench e2e --engine plain`); with the student and 15 ms they
were 6 to 8 ms ahead beside aiortc and 13 ms over ten minutes in Chromium."""
VOICE_AHEAD_S = 0.050
"""A receiver holds the voice back longer than a picture: Chromium 60 to 70 ms in its jitter buffer against 13 ms
from a picture's coming to its showing. Sent so much earlier, both are there at the same moment: with 70 ms sounds
were 27 ms ahead of their mouths over ten minutes, and 11 ms in another call of 75 s."""
VOICE_LEAD_S = MOUTH_LEAD_S + DELAY_S + VOICE_AHEAD_S  # the voice is sent so much ahead of its picture
FIRST_LEAD_S = 0.010  # a picture is chosen and encoded so long before it is due, at first
LEAST_LEAD_S, MOST_LEAD_S = 0.003, 0.020
LEAD_PICTURES = 50  # the lead follows what encoding took for these
INLINE_PIXELS = 256 * 256  # up to here encoding takes 1 ms: less than two thread changes on a busy machine
KEYFRAME_REST_S = 0.4  # at most this often, whatever the peer asks


class PictureTrack(MediaStreamTrack):
    """Pictures as packets of the negotiated codec.

    Args:
        pacer: chooses each slot's picture.
        clock: the time.
        fps: frames a second.
        make: builds the encoder of a bit rate; again whenever the rate is changed.
        bit_rate: bits a second at first.
    """

    kind = "video"

    def __init__(
        self, pacer: Pacer, clock: Clock, fps: int, make: Callable[[int], Encoder], bit_rate: int
    ) -> None:
        super().__init__()
        self.bit_rate = bit_rate
        self.fan_out = FanOut(self.kind, PICTURES_KEPT, self.request_keyframe)
        self._make = make
        self._pacer = pacer
        self._clock = clock
        self._ticks_per_slot = VIDEO_RATE_HZ // fps
        self._encoder = make(bit_rate)
        self._next_slot = 0
        self._keyframe_wanted = True
        self._keyframe_s = -math.inf
        self._encode_ms: deque[float] = deque(maxlen=4 * fps)
        self._costs_s: deque[float] = deque(maxlen=LEAD_PICTURES)
        self._lead_s = pacer.picture_lead_s = FIRST_LEAD_S
        self._turn = asyncio.Lock()  # one reader at a time: the caller, or the call while there is none

    def request_keyframe(self) -> None:
        """The caller or a viewer lost a picture, or has none yet: make one of the next a complete one."""
        self._keyframe_wanted = True

    def go_on_after(self, other: PictureTrack) -> None:
        """Take another track's place in time."""
        self._next_slot = other._next_slot

    def drain_encode_ms(self) -> list[float]:
        """Encoding times in milliseconds since the last call."""
        times = list(self._encode_ms)
        self._encode_ms.clear()
        return times

    async def recv(self) -> VideoPacket:
        """The next picture, at its due time."""
        async with self._turn:
            while True:
                if self.readyState != "live":
                    raise MediaStreamError
                await self._pacer.wait(self._next_slot, lead_s=self._lead_s)
                slot = self._pacer.latest_slot(self._next_slot)
                self._next_slot = slot + 1
                try:
                    picture = self._pacer.picture(slot)
                    data = await self._encoded(picture)
                    if data is None:
                        continue
                    await self._clock.sleep_until(self._pacer.due(slot))
                except (
                    asyncio.CancelledError
                ):  # the reader has gone, and with it a picture that others build on
                    self.request_keyframe()
                    raise
                self._pacer.sent_picture(picture)
                self.fan_out.send(data)
                return data

    async def _encoded(self, picture: Picture) -> VideoPacket | None:
        pts = picture.slot * self._ticks_per_slot
        started_s = self._clock.now()
        if self.bit_rate != self._encoder.bit_rate:
            self._encoder = self._make(self.bit_rate)  # begins with a complete picture of its own accord
            self._keyframe_wanted, self._keyframe_s = False, started_s
        keyframe = self._keyframe_wanted and started_s - self._keyframe_s > KEYFRAME_REST_S
        if keyframe:
            self._keyframe_wanted = False
            self._keyframe_s = started_s
        if picture.image.shape[0] * picture.image.shape[1] <= INLINE_PIXELS:
            packet = self._encoder.encode(picture.image, pts, keyframe)
        else:
            packet = await _to_the_end(self._encoder.encode, picture.image, pts, keyframe)
        self._note_cost(self._clock.now() - started_s)
        return packet

    def _note_cost(self, took_s: float) -> None:
        """Let the lead follow: twice what encoding took, the rarest delays aside."""
        self._encode_ms.append(1000 * took_s)
        self._costs_s.append(took_s)
        if len(self._costs_s) == LEAD_PICTURES:
            usual_s = sorted(self._costs_s)[-3]
            self._lead_s = min(MOST_LEAD_S, max(LEAST_LEAD_S, 2 * usual_s))
            self._pacer.picture_lead_s = self._lead_s


class VoiceTrack(MediaStreamTrack):
    """The speaker's own voice, delayed to the frames it belongs to; 48 kHz mono, 10 ms at a time.

    As Opus packets where that was negotiated (`encode_for`), else as frames, for aiortc to encode.
    """

    kind = "audio"

    def __init__(self, pacer: Pacer) -> None:
        super().__init__()
        self.fan_out = FanOut(self.kind, VOICE_KEPT)
        self._encoder: OpusEncoder | None = None
        self._pacer = pacer
        self._sent_samples = 0
        self._turn = asyncio.Lock()

    def go_on_after(self, other: VoiceTrack) -> None:
        """Take another track's place in time."""
        self._sent_samples = other._sent_samples

    def encode_for(self, codec: str) -> None:
        """Encode for the negotiated codec (MIME type) if that is Opus."""
        self._encoder = OpusEncoder() if codec.lower() == OPUS else None

    async def recv(self) -> av.AudioFrame | AudioPacket:
        """The next 10 ms, at their due time."""
        async with self._turn:
            if self.readyState != "live":
                raise MediaStreamError
            position = self._sent_samples / self._pacer.slot_samples
            await self._pacer.wait_as_master(position)
            pcm = self._samples(self._sent_samples, PACKET_SAMPLES)
            encode = voice_frame if self._encoder is None else self._encoder.encode
            data = encode(pcm, self._sent_samples)
            self._sent_samples += PACKET_SAMPLES
            self._pacer.sent_voice(position)
            self.fan_out.send(data)
            return data

    def _samples(self, start: int, count: int) -> Int16Array:
        slot, within = divmod(start, self._pacer.slot_samples)
        voice = self._pacer.voice(slot)
        if within + count <= len(voice):
            return voice[within : within + count]
        rest = within + count - len(voice)
        return np.concatenate([voice[within:], self._pacer.voice(slot + 1)[:rest]])


async def _to_the_end(encode: Callable[..., VideoPacket | None], *args: object) -> VideoPacket | None:
    """Encode beside the event loop; a reader that leaves meanwhile leaves the encoder idle."""
    encoding = asyncio.get_running_loop().run_in_executor(None, partial(encode, *args))
    try:
        return await asyncio.shield(encoding)
    except asyncio.CancelledError:
        await asyncio.wait({encoding})
        raise


def picture_track(pacer: Pacer, clock: Clock, spec: EngineSpec, codec: str) -> PictureTrack:
    """The picture track for a negotiated codec (MIME type).

    Raises:
        ValueError: a codec that is not ours.
    """
    bit_rate = suitable_bit_rate(spec.width, spec.height, spec.fps)
    make = partial(make_encoder, codec, spec.width, spec.height, spec.fps)
    return PictureTrack(pacer, clock, spec.fps, make, bit_rate)
