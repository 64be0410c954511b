"""A program's sound on a virtual clock: at the face's pace, each sample once, positions to the frame."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from stream.errors import SignalingError
from tests.stream.programs.program_stage import LEAD, ProgramStage, ramp

FRAME = 1920
FADE = 240
SLOT_EDGE = LEAD - FRAME
"""A sample of a segment with which a slot begins: two silent frames lead in, the voice goes ahead by its lead."""


async def test_ten_seconds_pushed_at_once_play_in_their_time_and_every_sample_leaves_once() -> None:
    stage = ProgramStage(48_000)
    said = ramp(480_000)
    async with stage.playing():
        began = len(stage.seen)
        for start in range(0, len(said), 48_000):
            stage.caller.offer(said[start : start + 48_000])
        stage.caller.end()
        await stage.clock.advance(9.0)
        assert not stage.events("drained"), "not faster than it is spoken"
        await stage.clock.advance(2.0)
    voice = stage.voice[began * FRAME :]
    first = int(np.flatnonzero(voice)[0])
    assert np.array_equal(voice[first : first + len(said)], said), "each sample once, in order, unchanged"
    assert not voice[first + len(said) :].any()
    assert stage.events("started") == [{"segment": 0}]
    assert stage.events("drained") == [{"segment": 0, "samples": 480_000, "ms": 10_000.0}]


async def test_what_is_at_hand_is_drawn_without_waiting_for_it() -> None:
    stage = ProgramStage(24_000)
    async with stage.playing():
        asked_s = stage.clock.now()
        stage.caller.offer(ramp(24_000))
        while not stage.events("started"):
            await stage.clock.advance(0.01)
        waited_s = stage.clock.now() - asked_s
    # a look, drawing, the pacer's margin, the two frames of the voice's lead, a slot's edge; no hop
    assert waited_s <= 0.01 + 0.05 + 0.015 + 0.08 + 0.04 + 0.011


async def test_played_is_told_every_tenth_of_a_second_to_the_frame() -> None:
    stage = ProgramStage(24_000)
    async with stage.playing():
        stage.caller.offer(ramp(48_000))
        stage.caller.end()
        await stage.clock.advance(3.0)
    places = [fields["samples"] for fields in stage.events("played")]
    frames = [sample / 960 for sample in places]
    assert all(frame == int(frame) for frame in frames)
    assert set(np.diff([0, *frames])) <= {2, 3}
    assert len(places) == 19
    assert stage.events("drained") == [{"segment": 0, "samples": 48_000, "ms": 2000.0}]


async def test_a_position_is_what_has_been_seen_and_no_more() -> None:
    stage = ProgramStage(48_000)
    async with stage.playing():
        stage.caller.offer(ramp(96_000))
        await stage.clock.advance(0.9)
        stage.caller.clear()
        (cleared,) = stage.events("cleared")
    shown = [slot.picture.media_frame for slot in stage.seen if slot.picture.media_frame is not None]
    begun = next(window.first_frame for window in reversed(stage.easel.windows) if window.index == 0)
    lead_in = 2  # frames of silence, since the voice is sent ahead of its picture
    assert cleared["samples"] == (shown[-1] - begun - lead_in + 1) * FRAME
    assert (cleared["segment"], cleared["by"]) == (0, "page")


async def test_an_interruption_silences_and_drops_and_the_next_word_is_whole() -> None:
    stage = ProgramStage(48_000)
    async with stage.playing():
        stage.caller.offer(ramp(480_000))
        await stage.clock.advance(1.0)
        stage.caller.clear()
        cut = len(stage.seen)
        await stage.clock.advance(0.5)
        assert not np.concatenate([slot.voice for slot in stage.seen[cut + 1 :]]).any()
        assert stage.caller.backlog_s == 0
        next_words = ramp(48_000)
        stage.caller.offer(next_words)
        stage.caller.end()
        await stage.clock.advance(2.0)
        voice = np.concatenate([slot.voice for slot in stage.seen[cut + 1 :]])
    first = int(np.flatnonzero(voice)[0])
    assert np.array_equal(voice[first : first + 48_000], next_words)
    assert not voice[first + 48_000 :].any()
    assert stage.events("drained") == [{"segment": 1, "samples": 48_000, "ms": 1000.0}]


async def test_a_hundred_interruptions_leave_nothing() -> None:
    stage = ProgramStage(24_000)
    async with stage.playing():
        tasks = len(asyncio.all_tasks())
        for index in range(100):
            stage.caller.offer(ramp(24_000))
            await stage.clock.advance(0.2 + 0.003 * index)
            stage.caller.clear()
        await stage.clock.advance(1.0)
        assert len(asyncio.all_tasks()) <= tasks + 2, "but for windows that are being drawn"
        assert not stage.caller._speech.segments
        assert not stage.caller._speech._runs
    places = [fields["samples"] for fields in stage.events("cleared")]
    assert [fields["segment"] for fields in stage.events("cleared")] == list(range(100))
    assert all(place % 960 == 0 for place in places)
    behind = np.maximum.accumulate(places) - places
    assert behind.max() <= 960, "the longer it spoke, the further it came, but for where in a slot it began"
    assert stage.events("drained") == []


async def test_segments_follow_each_other_without_a_gap_and_end_where_the_program_says() -> None:
    stage = ProgramStage(48_000)
    said = ramp(100_000)
    async with stage.playing():
        for start, stop in ((0, 30_001), (30_001, 30_001), (30_001, 100_000)):
            stage.caller.offer(said[start:stop], {"item_id": f"item {stop}"})
            stage.caller.end()
        await stage.clock.advance(4.0)
    voice = stage.voice
    first = int(np.flatnonzero(voice)[0])
    assert np.array_equal(voice[first : first + 100_000], said)
    assert [(each["segment"], each["samples"]) for each in stage.events("drained")] == [
        (0, 30_001),
        (1, 0),
        (2, 69_999),
    ]
    assert [each["item_id"] for each in stage.events("started")] == ["item 30001", "item 100000"]


async def test_an_answer_given_at_once_to_drained_is_hastened_as_well() -> None:
    stage = ProgramStage(48_000)
    stage.on_drained = lambda: stage.caller.offer(ramp(48_000)) if stage.easel.rests < 2 else None
    async with stage.playing():
        rests = stage.easel.rests
        stage.caller.offer(ramp(9_600))
        stage.caller.end()
        await stage.clock.advance(1.0)
        assert stage.easel.rests == rests + 2, "silence was forgotten before each"
        stage.caller.clear()
        assert stage.events("cleared")[0]["samples"] % FRAME == 0


async def test_a_program_as_slow_as_its_voice_is_heard_whole() -> None:
    stage = ProgramStage(48_000)
    said = ramp(144_000)
    async with stage.playing():
        for start in range(0, len(said), FRAME):
            stage.caller.offer(said[start : start + FRAME])
            await stage.clock.advance(0.055 if start == 20 * FRAME else 0.04)  # once a little late
        stage.caller.end()
        await stage.clock.advance(2.0)
    voice = stage.voice
    first = int(np.flatnonzero(voice)[0])
    assert np.array_equal(voice[first : first + len(said)], said)
    assert stage.caller._feeding is not None
    assert stage.caller._feeding.underruns == 0


async def test_a_program_that_stops_in_a_word_leaves_silence_there_and_loses_nothing() -> None:
    stage = ProgramStage(48_000)
    said = ramp(96_000)
    async with stage.playing():
        stage.caller.offer(said[:48_000])
        await stage.clock.advance(1.1)
        stage.caller.offer(said[48_000:])
        stage.caller.end()
        await stage.clock.advance(3.0)
        assert stage.events("drained")[0]["samples"] == 96_000
        voice = stage.voice
    loud = voice[np.flatnonzero(voice)[0] :]
    gap = loud[48_000:]
    assert np.array_equal(loud[:48_000], said[:48_000])
    resumed = gap[np.flatnonzero(gap > 900)[0] :]
    assert np.array_equal(resumed[240:48_000], said[48_240:]), "but for the fade into it"


async def test_a_segment_left_open_comes_to_rest_and_goes_on_at_once_when_more_comes() -> None:
    stage = ProgramStage(24_000)
    async with stage.playing():
        stage.caller.offer(ramp(12_000))
        await stage.clock.advance(5.0)
        asked_s = stage.clock.now()
        stage.caller.offer(ramp(12_000))
        stage.caller.end()
        while len(stage.events("played")) < 5:
            await stage.clock.advance(0.01)
        assert stage.clock.now() - asked_s < 0.4
        await stage.clock.advance(1.0)
    assert stage.events("drained")[0]["samples"] == 24_000


async def test_what_is_said_before_the_face_is_drawn_waits_for_it() -> None:
    stage = ProgramStage(48_000)
    said = ramp(48_000)
    async with stage.playing(drawn_at_once=False):
        stage.caller.offer(said)
        stage.caller.end()
        await stage.clock.advance(2.0)
        assert stage.events("started") == []
        stage.face.draw_on(stage.easel)
        await stage.clock.advance(2.0)
    voice = stage.voice
    first = int(np.flatnonzero(voice)[0])
    assert np.array_equal(voice[first : first + 48_000], said)


async def test_an_engine_that_is_slow_to_begin_costs_no_word() -> None:
    stage = ProgramStage(48_000, delay_s=0.6)
    said = ramp(96_000)
    async with stage.playing():
        stage.caller.offer(said)
        stage.caller.end()
        await stage.clock.advance(5.0)
    voice = stage.voice
    first = int(np.flatnonzero(voice)[0])
    assert np.array_equal(voice[first : first + 48_000], said[:48_000])
    assert stage.events("drained")[0]["samples"] == 96_000


async def test_a_process_that_stands_still_again_and_again_loses_no_sample() -> None:
    stage = ProgramStage(48_000)
    said = np.random.default_rng(7).integers(2000, 9000, 480_000).astype(np.int16)
    async with stage.playing():
        stage.caller.offer(said)
        stage.caller.end()
        for _ in range(6):
            seen = len(stage.seen)
            while len(stage.seen) == seen:
                await stage.clock.advance(0.005)
            stage.clock.set(stage.clock.now() + 0.262)  # a standstill to the feeding, and none to the pacer
            await stage.clock.advance(1.0)
        await stage.clock.advance(7.0)
    voice, place = stage.voice.tobytes(), -1
    for start in range(SLOT_EDGE, len(said) - FRAME, FRAME):  # late pictures move the rest by silent slots
        piece = said[start + FADE : start + FRAME].tobytes()
        found = voice.find(piece)
        assert found > place, f"sample {start} is not in its order"
        assert voice.find(piece, found + 2) < 0, f"sample {start} was said twice"
        place = found
    assert stage.events("drained")[0]["samples"] == len(said)


async def test_push_waits_for_room_and_offer_refuses_in_one_sentence() -> None:
    stage = ProgramStage(24_000, most_s=1.0)
    async with stage.playing():
        await stage.caller.push(ramp(24_000))
        with pytest.raises(SignalingError, match="at most 1 s of sound to wait") as refused:
            stage.caller.offer(ramp(2400))
        assert refused.value.code == "backlog_full"
        pushing = asyncio.create_task(stage.caller.push(ramp(2400)))
        await asyncio.sleep(0)
        assert not pushing.done()
        await stage.clock.advance(0.5)
        assert pushing.done()
        stage.caller.end()
        await stage.clock.advance(2.0)
    assert stage.events("drained")[0]["samples"] == 26_400


async def test_who_waits_for_room_hears_that_the_call_has_ended() -> None:
    stage = ProgramStage(24_000, most_s=0.1)
    async with stage.playing():
        stage.caller.offer(ramp(24_000))
        pushing = asyncio.create_task(stage.caller.push(ramp(2400)))
        await asyncio.sleep(0)
        await stage.caller.close()
        with pytest.raises(SignalingError, match="may have ended"):
            await pushing
        assert await stage.caller.gone() == "closed"


async def test_too_many_ends_are_refused() -> None:
    stage = ProgramStage(24_000)
    async with stage.playing():
        stage.caller.offer(ramp(24_000))
        for _ in range(256):
            stage.caller.end()
        with pytest.raises(SignalingError, match="at most 256 segments"):
            stage.caller.end()
