"""The film on a socket: the call's packets as they are, voice beside its picture, whole fragments."""

from __future__ import annotations

import asyncio
import io

import av
import numpy as np

from stream.outbound.encoder import H264Encoder
from stream.outbound.fan_out import FanOut
from stream.outbound.tracks import MOUTH_LEAD_S, VOICE_LEAD_S
from stream.outbound.voice_encoder import OpusEncoder
from stream.programs.live_film import LiveFilm
from tests.fakes import SMALL_SPEC, settle

FRAME = 1920
LEAD = round(VOICE_LEAD_S * 48_000)
LIT = 12
"""The frame in which the picture lights up and the voice begins."""


def voice_at(first: int, count: int) -> np.ndarray:
    """Samples of the media timeline: a tone from the lit frame on."""
    n = np.arange(first, first + count)
    return np.where(n >= LIT * FRAME, 9000 * np.sin(2 * np.pi * 1000 * n / 48_000), 0).astype(np.int16)


async def film_of(slots: int, first_slot: int = 1000, skipped: range = range(0)) -> list[bytes]:
    """The pieces of so many slots; the film's reader misses those that are skipped."""
    voices, pictures = FanOut("audio", 1000), FanOut("video", 1000, lambda: None)
    tracks = voices.track(), pictures.track()
    film = LiveFilm(*tracks, SMALL_SPEC)
    pieces: list[bytes] = []

    async def read() -> None:
        async for piece in film.pieces():
            pieces.append(piece)

    reading = asyncio.create_task(read())
    await settle()  # a track takes part once it is read
    opus, h264 = OpusEncoder(), H264Encoder(64, 64, 25, 300_000)
    for index in range(slots):
        slot = first_slot + index
        for part in range(4):
            pcm = voice_at(index * FRAME + part * 480 + LEAD, 480)
            packet = opus.encode(pcm, slot * FRAME + part * 480)
            if index not in skipped:
                voices.send(packet)
        image = np.full((64, 64, 3), 220 if index >= LIT else 20, np.uint8)
        picture = h264.encode(image, slot * 3600, keyframe=index == 0)
        assert picture is not None
        if index not in skipped:
            pictures.send(picture)
        await settle()
    for track in tracks:
        track.stop()
    await reading
    return pieces


async def test_the_voice_is_beside_its_picture() -> None:
    pieces = await film_of(30)
    assert pieces[0][4:8] == b"ftyp"
    assert all(piece[4:8] == b"moof" for piece in pieces[1:])
    data = b"".join(pieces)
    with av.open(io.BytesIO(data)) as film:
        lit_s = next(
            frame.time for frame in film.decode(video=0) if frame.to_ndarray(format="gray").mean() > 120
        )
    with av.open(io.BytesIO(data)) as film:
        heard_s = next(
            float(frame.pts * frame.time_base) + int(np.flatnonzero(loud)[0]) / 48_000
            for frame in film.decode(audio=0)
            if (loud := np.abs(frame.to_ndarray().reshape(-1)) > 0.1).any()
        )
    assert lit_s == LIT / 25
    assert abs(heard_s - lit_s + MOUTH_LEAD_S) < 0.002, "ahead by the lead of the mouth, as everywhere"


async def test_a_film_begins_at_zero_and_gaps_stay_where_they_were() -> None:
    pieces = await film_of(40, skipped=range(15, 20))
    with av.open(io.BytesIO(b"".join(pieces))) as film:
        times = [
            packet.pts * packet.time_base * 25 for packet in film.demux(video=0) if packet.pts is not None
        ]
    assert times == [index for index in range(39) if index not in range(15, 20)]


async def test_who_stops_reading_leaves_nothing() -> None:
    voices, pictures = FanOut("audio", 10), FanOut("video", 10, lambda: None)
    tracks = voices.track(), pictures.track()
    film = LiveFilm(*tracks, SMALL_SPEC)

    async def read() -> None:
        async for _ in film.pieces():
            raise AssertionError("nothing was sent")

    before = len(asyncio.all_tasks())
    reading = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert len(asyncio.all_tasks()) == before
