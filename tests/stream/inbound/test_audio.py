"""The microphone's way in, from tracks of any rate, with a clock behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket

from stream.inbound.audio import Heard, InboundAudio
from stream.inbound.resampler import EngineResampler
from stream.rtc.private_names import MovedNameError
from stream.rtc.prompt_buffer import PromptBuffer, hear_promptly
from tests.fakes import FakeClock


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


async def test_a_microphone_whose_sides_are_out_of_phase_is_heard() -> None:
    clock = FakeClock(10.0)
    tone = np.rint(9000 * np.sin(2 * np.pi * 200 * np.arange(48_000) / 48_000)).astype(np.int16)
    frames = []
    for n in range(50):
        side = tone[960 * n : 960 * (n + 1)]
        made = av.AudioFrame.from_ndarray(
            np.stack((side, -side), 1).reshape(1, -1), format="s16", layout="stereo"
        )
        made.sample_rate, made.pts = 48_000, 960 * n
        frames.append((10.0 + 0.02 * (n + 1), made))
    heard = await listen(InboundAudio(clock, 16_000), clock, FixedTrack(clock, frames), 1.0)
    voice = np.concatenate([piece.voice for piece in heard]).astype(np.float64)
    assert float(np.sqrt(np.mean(voice[4800:43_000] ** 2))) == pytest.approx(9000 / np.sqrt(2), rel=0.02)


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


def packet(number: int) -> RtpPacket:
    made = RtpPacket(payload_type=111, sequence_number=number % 65_536, timestamp=960 * number)
    made._data = str(number).encode()  # type: ignore[attr-defined]
    return made


def handed_on(numbers: list[int]) -> list[str]:
    buffer = PromptBuffer()
    frames = [buffer.add(packet(number))[1] for number in numbers]
    return [frame.data.decode() for frame in frames if frame is not None]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),  # each at once, not with the next
        ([1, 2, 5, 6], [1, 2, 5, 6]),  # a loss delays nothing
        ([1, 3, 2, 4], [1, 3, 4]),  # what comes too late is dropped
        ([1, 1, 2, 2], [1, 2]),
        ([65_534, 65_535, 65_536, 65_537], [65_534, 65_535, 65_536, 65_537]),  # the numbers wrap
        ([65_536, 65_535, 65_537], [65_536, 65_537]),
        ([40_000, 3, 4], [40_000, 3, 4]),  # a new start far behind is followed
    ],
)
def test_packets_are_handed_on_at_once_and_in_order(numbers: list[int], expected: list[int]) -> None:
    assert handed_on(numbers) == [str(number) for number in expected]


def test_the_receivers_jitter_buffer_is_replaced_where_there_is_one() -> None:
    class Receiver:
        def __init__(self) -> None:
            self._RTCRtpReceiver__jitter_buffer: object = None

    receiver = Receiver()
    hear_promptly(receiver)  # type: ignore[arg-type]
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, PromptBuffer)
    bare = object.__new__(RTCRtpReceiver)
    with pytest.raises(MovedNameError, match="_RTCRtpReceiver__jitter_buffer"):
        hear_promptly(bare)  # another version of aiortc keeps it elsewhere: every call would be 80 ms later


def test_the_resampler_gives_every_sample_with_the_packet_that_completes_it() -> None:
    """One packet more would be 20 ms more delay, always."""
    resampler = EngineResampler(16_000)
    pcm = np.random.default_rng(0).integers(-9000, 9000, 960 * 8).astype(np.int16)
    for packet in pcm.reshape(8, 960):
        assert resampler.push(packet).shape == (320,)


@pytest.mark.parametrize("cuts", [[1, 2, 3, 1000], [959, 961], [7] * 300, [0, 5, 0, 2000]])
def test_resampling_in_any_pieces_gives_the_same(cuts: list[int]) -> None:
    pcm = np.random.default_rng(1).integers(-9000, 9000, sum(cuts)).astype(np.int16)
    whole = EngineResampler(16_000).push(pcm)
    resampler = EngineResampler(16_000)
    ends = np.cumsum(cuts)
    pieces = [resampler.push(pcm[end - cut : end]) for cut, end in zip(cuts, ends)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("hertz", "gain"), [(200, 1.0), (3000, 1.0), (6500, 1.0), (9500, 0.0), (14_000, 0.0)]
)
def test_the_resampler_passes_speech_and_folds_nothing_back(hertz: int, gain: float) -> None:
    n = np.arange(48_000)
    pcm = np.round(16_384 * np.sin(2 * np.pi * hertz * n / 48_000)).astype(np.int16)
    resampler = EngineResampler(16_000)
    heard = resampler.push(pcm)[1000:]
    assert np.sqrt(2) * heard.std() == pytest.approx(0.5 * gain, abs=0.005)
    if gain:
        late = (np.arange(1000, 16_000) * 3 + 2) / 48_000 - resampler.delay_s
        np.testing.assert_allclose(heard, 0.5 * np.sin(2 * np.pi * hertz * late), atol=0.01)


def test_only_rates_that_divide_48_khz_are_taken() -> None:
    with pytest.raises(ValueError, match="divides"):
        EngineResampler(22_050)
