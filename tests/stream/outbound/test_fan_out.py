"""One encode for everybody, on a clock turned by hand: joins, key frames, and viewers that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from stream.outbound.fan_out import PICTURES_KEPT, VOICE_KEPT, SharedTrack
from stream.outbound.pacer import Pacer
from stream.outbound.tracks import KEYFRAME_REST_S, PictureTrack, VoiceTrack
from tests.fakes import FakeClock, settle
from tests.stream.outbound.test_tracks import STILL, Encoders, decoded, pictures_of

Got = list[tuple[float, object]]


class Scene:
    """A picture and a voice track whose caller reads all the time, and viewers who read if they like."""

    def __init__(self) -> None:
        self.clock = FakeClock(0.0)
        self.pacer = Pacer(self.clock, 25, STILL)
        self.encoders = Encoders()
        self.pictures = pictures_of(self.pacer, self.clock, self.encoders)
        self.voice = VoiceTrack(self.pacer)
        self.voice.encode_for("audio/opus")
        self.tasks: list[asyncio.Task[None]] = []

    def read(self, track: PictureTrack | VoiceTrack | SharedTrack) -> Got:
        """Read a track from now on, into what is returned."""
        got: Got = []

        async def reader() -> None:
            while True:
                got.append((self.clock.now(), await track.recv()))

        self.tasks.append(asyncio.create_task(reader()))
        return got

    async def play(self, seconds: float) -> None:
        end_s = self.clock.now() + seconds
        while self.clock.now() < end_s - 1e-9:
            await self.clock.advance(0.005)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


def packets(got: Got) -> list[object]:
    return [packet for _, packet in got]


def keyframes(got: Got) -> list[float]:
    return [at_s for at_s, packet in got if packet.is_keyframe]  # type: ignore[attr-defined]


async def test_all_get_the_same_packets_at_the_same_moment_for_one_encode() -> None:
    async with scene() as on:
        viewers = [on.read(on.pictures.fan_out.track()) for _ in range(3)]
        listeners = [on.read(on.voice.fan_out.track()) for _ in range(3)]
        await settle()
        caller, ear = on.read(on.pictures), on.read(on.voice)
        await on.play(1.0)
        assert len(caller) >= 25 and len(ear) >= 50
        for got in viewers:
            assert [(at_s, id(packet)) for at_s, packet in got] == [
                (at_s, id(packet)) for at_s, packet in caller
            ]
        for got in listeners:
            assert [(at_s, id(packet)) for at_s, packet in got] == [
                (at_s, id(packet)) for at_s, packet in ear
            ]
        assert len(on.encoders.keyframes) - len(caller) in (0, 1), "one more may be encoded and not due yet"
        assert len(on.encoders.rates) == 1


async def test_a_late_viewer_begins_with_a_key_frame_that_it_asks_for() -> None:
    async with scene() as on:
        caller = on.read(on.pictures)
        await on.play(2.0)
        viewer = on.read(on.pictures.fan_out.track())
        await on.play(1.0)
        assert len(keyframes(caller)) == 2
        assert viewer[0][1] is caller[-len(viewer)][1] and keyframes(viewer) == [viewer[0][0]]
        assert viewer[0][0] - 2.0 <= 0.085, "one of the next two pictures"
        assert len(decoded(viewer)) == len(viewer)  # type: ignore[arg-type]


async def test_viewers_who_come_one_after_the_other_share_key_frames_at_the_least_distance() -> None:
    async with scene() as on:
        caller = on.read(on.pictures)
        await on.play(1.0)
        viewers = []
        for _ in range(16):
            viewers.append(on.read(on.pictures.fan_out.track()))
            await on.play(0.05)
        await on.play(1.0)
        assert all(viewers)
        distances = np.diff(keyframes(caller))
        assert len(distances) <= 4 and distances.min() > KEYFRAME_REST_S
        assert keyframes(caller)[-1] < 2.3, "nobody asks any more once all have one"


async def test_one_that_stops_reading_loses_pictures_and_nobody_else_notices() -> None:
    async with scene() as on:
        caller, good = on.read(on.pictures), on.read(on.pictures.fan_out.track())
        lazy = on.pictures.fan_out.track()
        first = asyncio.create_task(lazy.recv())
        await on.play(0.5)
        assert (await first).is_keyframe  # type: ignore[union-attr]
        asked = len(keyframes(caller))
        await on.play(5.0)
        assert len(keyframes(caller)) == asked, "while it does not read it asks for nothing"
        assert len(lazy._queue) <= PICTURES_KEPT
        assert lazy.lost > 100
        assert packets(good) == packets(caller)
        assert np.diff([at_s for at_s, _ in caller]).max() < 0.05
        again = on.read(lazy)
        await on.play(1.0)
        assert again[0][1].is_keyframe, "it goes on with a key frame of its own"  # type: ignore[attr-defined]
        assert packets(again) == packets(caller)[-len(again) :]
        assert len(keyframes(caller)) == asked + 1


async def test_a_voice_that_was_not_read_goes_on_with_the_newest_packet() -> None:
    async with scene() as on:
        caller = on.read(on.voice)
        lazy = on.voice.fan_out.track()
        first = asyncio.create_task(lazy.recv())
        await on.play(0.1)
        await first
        await on.play(3.0)
        assert 0 < len(lazy._queue) <= VOICE_KEPT
        again = on.read(lazy)
        await on.play(0.5)
        assert packets(again) == packets(caller)[-len(again) :]
        assert len(again) <= 2 * VOICE_KEPT


async def test_a_picture_that_the_encoder_leaves_out_is_asked_for_again() -> None:
    async with scene() as on:
        refusals = iter([True, True])
        encode: Callable[..., object] = on.pictures._encoder.encode

        def leave_out(image: np.ndarray, pts: int, keyframe: bool) -> object:
            packet = encode(image, pts, keyframe)
            return None if keyframe and pts > 3600 * 25 and next(refusals, False) else packet

        on.pictures._encoder.encode = leave_out  # type: ignore[method-assign, assignment]
        on.read(on.pictures)
        await on.play(2.0)
        viewer = on.read(on.pictures.fan_out.track())
        await on.play(2.0)
        assert viewer and viewer[0][1].is_keyframe  # type: ignore[attr-defined]


async def test_a_stopped_track_ends_its_reader_and_leaves_the_fan_out() -> None:
    async with scene() as on:
        for source in (on.pictures, on.voice):
            track = source.fan_out.track()
            waiting = asyncio.create_task(track.recv())
            await settle()
            assert len(source.fan_out) == 1
            track.stop()
            track.stop()
            with pytest.raises(MediaStreamError):
                await waiting
            with pytest.raises(MediaStreamError):
                await track.recv()
            assert len(source.fan_out) == 0
