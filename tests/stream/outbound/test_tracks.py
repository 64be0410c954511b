"""What aiortc gets: right timestamps at the right moments, key frames when asked, nothing after stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from stream.outbound.encoder import VIDEO_TIME_BASE, Vp8Encoder, suitable_bit_rate
from stream.outbound.pacer import Pacer
from stream.outbound.tracks import FIRST_LEAD_S, LEAST_LEAD_S, PictureTrack, VoiceTrack
from stream.outbound.voice_encoder import DELAY_S
from tests.fakes import FakeClock, settle

STILL = np.full((64, 64, 3), 90, np.uint8)


class InlineExecutor(ThreadPoolExecutor):
    """Does the work at once, so that a fake clock need not wait for a thread."""

    def submit(self, work: Callable[..., object], /, *args: object, **more: object) -> Future:  # type: ignore[override]
        future: Future[object] = Future()
        future.set_result(work(*args, **more))
        return future


class Encoders:
    """The real encoder; remembers at which rates it was built and which pictures were asked to be key frames."""

    def __init__(self) -> None:
        self.rates: list[int] = []
        self.keyframes: list[bool] = []

    def __call__(self, bit_rate: int) -> Vp8Encoder:
        self.rates.append(bit_rate)
        encoder, encode = Vp8Encoder(64, 64, 25, bit_rate), Vp8Encoder.encode

        def noted(image: np.ndarray, pts: int, keyframe: bool) -> object:
            self.keyframes.append(keyframe)
            return encode(encoder, image, pts, keyframe)

        encoder.encode = noted  # type: ignore[method-assign, assignment]
        return encoder


def pictures_of(pacer: Pacer, clock: FakeClock, encoders: Encoders | None = None) -> PictureTrack:
    return PictureTrack(pacer, clock, 25, encoders or Encoders(), 300_000)


def decoded(packets: list[tuple[float, object]]) -> list[np.ndarray]:
    decoder = av.CodecContext.create("libvpx", "r")
    frames = [frame for _, packet in packets for frame in decoder.decode(packet)]  # type: ignore[attr-defined]
    return [frame.to_ndarray(format="rgb24") for frame in frames]


async def collect(
    track: PictureTrack | VoiceTrack, clock: FakeClock, seconds: float
) -> list[tuple[float, object]]:
    got: list[tuple[float, object]] = []

    async def reader() -> None:
        while True:
            frame = await track.recv()
            got.append((clock.now(), frame))

    asyncio.get_running_loop().set_default_executor(InlineExecutor())
    task = asyncio.create_task(reader())
    end_s = clock.now() + seconds
    while clock.now() < end_s:
        await clock.advance(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return got


async def test_voice_frames_are_10_ms_at_48_khz_on_time() -> None:
    clock = FakeClock(0.0)
    pacer = Pacer(clock, 25, STILL)
    got = await collect(VoiceTrack(pacer), clock, 1.0)
    assert len(got) == 101
    for index, (at_s, frame) in enumerate(got):
        assert isinstance(frame, av.AudioFrame)
        assert (frame.pts, frame.time_base, frame.samples) == (index * 480, Fraction(1, 48_000), 480)
        assert (frame.sample_rate, frame.format.name, frame.layout.name) == (48_000, "s16", "mono")
        assert at_s == pytest.approx(index * 0.01, abs=1e-6)


async def test_opus_packets_hold_the_voice_so_much_later_as_the_lead_makes_up_for() -> None:
    clock = FakeClock(0.0)
    pacer = Pacer(clock, 25, STILL)
    n = np.arange(48_000)
    spoken = (8000 * np.sin(2 * np.pi * (300 * n + 1000 * n**2 / 48_000) / 48_000)).astype(np.int16)
    pacer.push_voice(spoken, 0.0)
    pacer.push_frames(0, np.stack([STILL] * 4))
    track = VoiceTrack(pacer)
    track.encode_for("audio/opus")
    got = await collect(track, clock, 0.8)
    assert [packet.pts for _, packet in got] == [480 * index for index in range(len(got))]  # type: ignore[attr-defined]
    decoder = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", 48_000  # type: ignore[attr-defined]
    heard = np.concatenate(
        [frame.to_ndarray().reshape(-1) for _, packet in got for frame in decoder.decode(packet)]  # type: ignore[attr-defined]
    ).astype(float)
    first = next(slot.index for slot in pacer._slots if slot.media_frame == 0)
    truth = spoken[:12_000].astype(float)
    scores = [float(heard[k : k + 12_000] @ truth) for k in range(first * 1920, first * 1920 + 480)]
    assert int(np.argmax(scores)) == pytest.approx(DELAY_S * 48_000, abs=2)


async def test_voice_is_the_pacers_samples_in_order() -> None:
    clock = FakeClock(0.0)
    pacer = Pacer(clock, 25, STILL)
    spoken = np.arange(48_000, dtype=np.int16)
    pacer.push_voice(spoken, 0.0)
    pacer.push_frames(0, np.stack([STILL] * 4))
    got = await collect(VoiceTrack(pacer), clock, 0.5)
    heard = np.concatenate([frame.to_ndarray().reshape(-1) for _, frame in got])  # type: ignore[attr-defined]
    first = int(np.flatnonzero(heard == 300)[0]) - 300
    np.testing.assert_array_equal(heard[first + 240 :], spoken[240 : len(heard) - first])


async def test_pictures_are_packets_with_pts_of_their_slot_sent_when_due() -> None:
    clock = FakeClock(0.0)
    track = pictures_of(Pacer(clock, 25, STILL), clock)
    got = await collect(track, clock, 1.0)
    assert len(got) >= 25
    for index, (at_s, packet) in enumerate(got):
        assert isinstance(packet, av.Packet)
        assert (packet.pts, packet.time_base) == (index * 3600, VIDEO_TIME_BASE)
        assert at_s == pytest.approx(index * 0.04, abs=0.006)
    pictures = decoded(got)
    assert len(pictures) == len(got)
    assert abs(int(pictures[-1][32, 32, 0]) - 90) < 4


async def test_pictures_are_chosen_shortly_before_they_are_due() -> None:
    clock = FakeClock(0.0)
    pacer = Pacer(clock, 25, STILL)
    track = pictures_of(pacer, clock)
    await track.recv()
    task = asyncio.create_task(track.recv())
    await clock.advance(0.04 - FIRST_LEAD_S - 0.001)
    assert [slot.index for slot in pacer._slots] == [0]
    await clock.advance(0.002)
    assert [slot.index for slot in pacer._slots] == [0, 1]
    assert not task.done()
    await clock.advance(FIRST_LEAD_S)
    assert (await task).pts == 3600


async def test_pictures_are_chosen_as_late_as_their_encoding_allows() -> None:
    clock = FakeClock(0.0)
    pacer = Pacer(clock, 25, STILL)
    track = pictures_of(pacer, clock)
    await collect(track, clock, 2.2)  # a fake clock: encoding takes no time
    assert pacer.picture_lead_s == LEAST_LEAD_S
    for took_s in [0.001] * 44 + [0.004] * 3 + [0.05] * 2:
        track._note_cost(took_s)
    assert pacer.picture_lead_s == pytest.approx(0.008), "twice the usual, the rarest aside"


async def test_key_frames_come_first_and_when_asked_but_not_in_a_storm() -> None:
    clock = FakeClock(0.0)
    encoder = Encoders()
    track = pictures_of(Pacer(clock, 25, STILL), clock, encoder)
    await collect(track, clock, 0.6)
    assert encoder.keyframes[0]
    assert not any(encoder.keyframes[1:])
    before = len(encoder.keyframes)
    for _ in range(5):
        track.request_keyframe()
        await collect(track, clock, 0.08)
    assert sum(encoder.keyframes[before:]) == 1


async def test_another_bit_rate_begins_with_a_complete_picture_and_loses_none() -> None:
    clock = FakeClock(0.0)
    encoders = Encoders()
    track = pictures_of(Pacer(clock, 25, STILL), clock, encoders)
    before = await collect(track, clock, 0.4)
    track.bit_rate = 200_000
    after = await collect(track, clock, 0.4)
    assert encoders.rates == [300_000, 200_000]
    assert after[0][1].is_keyframe and not any(packet.is_keyframe for _, packet in after[1:])  # type: ignore[attr-defined]
    assert len(decoded(after)) == len(after), "what follows needs nothing from before"
    pts = [packet.pts for _, packet in before + after]  # type: ignore[attr-defined]
    assert pts == [3600 * slot for slot in range(len(pts))]


async def test_a_late_picture_track_skips_slots_and_tells_by_pts() -> None:
    clock = FakeClock(0.0)
    track = pictures_of(Pacer(clock, 25, STILL), clock)
    await track.recv()
    clock.set(0.21)
    frame = await track.recv()
    assert frame.pts == 5 * 3600


async def test_stopped_tracks_end() -> None:
    clock = FakeClock(0.0)
    pacer = Pacer(clock, 25, STILL)
    pictures, voice = pictures_of(pacer, clock), VoiceTrack(pacer)
    pictures.stop()
    voice.stop()
    for track in (pictures, voice):
        with pytest.raises(MediaStreamError):
            await track.recv()
    await settle()


def test_bit_rate_follows_the_size() -> None:
    assert suitable_bit_rate(64, 64, 25) == 300_000
    assert 800_000 < suitable_bit_rate(256, 256, 25) < 1_000_000
    assert 2_500_000 < suitable_bit_rate(512, 512, 25) < 3_000_000
    assert suitable_bit_rate(2048, 2048, 25) == 6_000_000
