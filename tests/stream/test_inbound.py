"""The microphone's way in, from tracks of any rate, with a clock behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError

from stream.inbound import Heard, InboundAudio, discard, shorten_jitter_buffer
from tests.fakes import FakeClock, settle


class FixedTrack(MediaStreamTrack):
    """Gives its frames at their moments on the fake clock, then ends."""

    kind = "audio"

    def __init__(self, clock: FakeClock, frames: Sequence[tuple[float, av.AudioFrame]]) -> None:
        super().__init__()
        self._clock = clock
        self._frames = list(frames)

    async def recv(self) -> av.AudioFrame:
        if not self._frames:
            raise MediaStreamError
        at_s, frame = self._frames.pop(0)
        await self._clock.sleep_until(at_s)
        return frame


def frame(number: int, rate_hz: int, layout: str, level: int) -> av.AudioFrame:
    count = rate_hz // 50
    channels = 1 if layout == "mono" else 2
    made = av.AudioFrame.from_ndarray(
        np.full((1, count * channels), level, np.int16), format="s16", layout=layout
    )
    made.sample_rate = rate_hz
    made.pts = number * count
    return made


async def listen(inbound: InboundAudio, clock: FakeClock, track: FixedTrack, seconds: float) -> list[Heard]:
    heard: list[Heard] = []

    async def take(source: object) -> None:
        async for piece in source:  # type: ignore[attr-defined]
            heard.append(piece)

    tasks = [asyncio.create_task(take(s)) for s in (inbound.hear_track(track), inbound.hear_clock())]
    await clock.advance(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return heard


@pytest.mark.parametrize(
    ("rate_hz", "layout"), [(48_000, "stereo"), (48_000, "mono"), (16_000, "mono"), (8_000, "mono")]
)
async def test_any_codec_becomes_both_streams(rate_hz: int, layout: str) -> None:
    clock = FakeClock(10.0)
    frames = [(10.0 + 0.02 * (n + 1), frame(n, rate_hz, layout, 8000)) for n in range(50)]
    inbound = InboundAudio(clock, 16_000)
    heard = await listen(inbound, clock, FixedTrack(clock, frames), 1.0)
    voice = np.concatenate([piece.voice for piece in heard])
    engine = np.concatenate([piece.engine for piece in heard])
    assert len(voice) == pytest.approx(48_000, abs=960)
    assert len(engine) == pytest.approx(16_000, abs=352)
    assert engine.dtype == np.float32
    assert float(np.median(engine)) == pytest.approx(8000 / 32_768, rel=0.01)
    assert int(np.median(voice)) == pytest.approx(8000, abs=2)
    assert inbound.packets == 50


async def test_silence_flows_when_the_microphone_never_comes() -> None:
    clock = FakeClock(10.0)
    heard = await listen(InboundAudio(clock, 16_000), clock, FixedTrack(clock, [(99.0, None)]), 2.0)  # type: ignore[list-item]
    voice = np.concatenate([piece.voice for piece in heard])
    assert len(voice) == pytest.approx(1.9 * 48_000, abs=1000)
    assert not voice.any()


async def test_a_gap_in_the_timestamps_is_concealed() -> None:
    clock = FakeClock(10.0)
    numbers = [n for n in range(50) if n not in (20, 21)]
    frames = [(10.0 + 0.02 * (n + 1), frame(n, 48_000, "stereo", 8000)) for n in numbers]
    inbound = InboundAudio(clock, 16_000)
    heard = await listen(inbound, clock, FixedTrack(clock, frames), 1.0)
    assert sum(len(piece.voice) for piece in heard) == pytest.approx(48_000, abs=960)
    assert inbound.timeline.concealed_samples == 2 * 960


async def test_unwanted_tracks_are_read_to_their_end() -> None:
    clock = FakeClock(10.0)
    track = FixedTrack(clock, [(10.0, frame(n, 48_000, "mono", 1)) for n in range(5)])
    task = asyncio.create_task(discard(track))
    await settle()
    assert task.done()
    assert track._frames == []


def test_the_jitter_buffer_is_made_short_where_there_is_one() -> None:
    class Receiver:
        def __init__(self) -> None:
            self._RTCRtpReceiver__jitter_buffer = None

    receiver = Receiver()
    shorten_jitter_buffer(receiver)  # type: ignore[arg-type]
    assert receiver._RTCRtpReceiver__jitter_buffer.capacity == 4  # type: ignore[attr-defined]
    bare = object.__new__(RTCRtpReceiver)
    shorten_jitter_buffer(bare)  # another version of aiortc keeps it elsewhere: no harm done
    assert not hasattr(bare, "_RTCRtpReceiver__jitter_buffer")
