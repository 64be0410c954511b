"""The output clock: face and voice locked together, late frames held, nothing said twice."""

from __future__ import annotations

import numpy as np
import pytest

from stream.outbound.pacer import Pacer, PacerConfig
from tests.fakes import FakeClock
from tests.stream.outbound.pacer_stage import FPS, HOP, SLOT, STILL, Stage, pictures, speech


def test_pictures_flow_from_the_first_slot_and_drawn_ones_follow_without_a_hole() -> None:
    stage = Stage()
    stage.run(100)
    first = next(slot for slot, frame in enumerate(stage.shown) if frame is not None)
    assert first <= 10  # 7 frames of hearing, 50 ms of drawing, 20 to 60 ms of margin
    assert stage.shown[:first] == [None] * first
    assert stage.shown[first:] == list(range(100 - first))
    assert stage.pacer.stats.held_frames == stage.pacer.stats.dropped_frames == stage.pacer.stats.moves == 0


def test_every_slot_carries_exactly_the_samples_of_the_frame_it_shows() -> None:
    stage = Stage()
    stage.run(200)
    for shown, voice, _ in stage.slots:
        assert voice == (0 if shown is None else 5000 + shown)


def test_the_returned_voice_is_the_spoken_one_sample_for_sample() -> None:
    stage = Stage()
    stage.run(60)
    first = stage.shown.index(0)
    returned = np.concatenate(stage.voice[first:])
    spoken = np.concatenate([speech(frame) for frame in range(60 - first)])
    np.testing.assert_array_equal(returned[240:], spoken[240:])


def test_skew_is_measured_as_nothing_when_all_is_well() -> None:
    stage = Stage()
    stage.run(100)
    report = stage.pacer.stats.report(stage.clock.now())
    assert report.skew_ms == 0.0
    assert report.skew_p95_ms == 0.0
    assert report.fps == pytest.approx(25, abs=0.1)
    assert report.latency_ms == pytest.approx(1000 * (7 + 0.05 * 25) / 25 + 10, abs=45)


def test_a_lost_window_holds_the_picture_and_never_the_voice() -> None:
    stage = Stage()
    stage.run(100, lost=(8,))
    first = stage.shown.index(0)
    expected = [min(frame, 31) if frame < 36 else frame for frame in range(100 - first)]
    assert stage.shown[first:] == expected
    assert [voice for _, voice, _ in stage.slots[first:]] == [5000 + frame for frame in range(100 - first)]
    assert stage.pacer.stats.held_frames == HOP


def test_one_late_window_is_forgiven_without_moving() -> None:
    stage = Stage()
    stage.run(60)
    stage.run(4, delay_s=0.2)
    stage.run(60)
    assert stage.pacer.stats.moves == 0
    assert stage.pacer.stats.dropped_frames > 0  # frames that came after a newer one was due
    assert stage.shown[-1] == stage.slots[-1][2]


def test_an_engine_that_dies_leaves_the_voice_alone() -> None:
    stage = Stage()
    stage.run(60)
    stage.run(100, lost=tuple(range(1000)))
    voiced = [voice - 5000 for _, voice, _ in stage.slots if voice]
    assert voiced == list(range(len(voiced)))
    assert len(voiced) > 140


def test_the_reference_picture_melts_into_the_first_drawn_frames() -> None:
    stage = Stage()
    clock, pacer = stage.clock, stage.pacer
    pacer.push_voice(np.zeros(40 * SLOT, np.int16), clock.now())
    values = [int(pacer.picture(0).image[0, 0, 0])]
    pacer.push_frames(0, np.full((8, 4, 4, 3), 109, np.uint8))
    for slot in range(1, 10):
        clock.set(pacer.due(slot))
        values.append(int(pacer.picture(slot).image[0, 0, 0]))
    assert values[0] == 9
    rising = [value for value in values if value > 9]
    assert rising[:5] == [29, 49, 69, 89, 109]


async def test_after_a_standstill_the_clock_moves_on_instead_of_hurrying() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, FPS, STILL)
    await pacer.wait_as_master(0)
    clock.set(clock.now() + 5.0)
    await pacer.wait_as_master(1)
    assert pacer.due(1) == pytest.approx(clock.now())
    assert pacer.stats.stalls == 1


async def test_a_slow_picture_never_makes_the_voice_wait() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, FPS, STILL)
    due_s = pacer.due(30)
    clock.set(pacer.due(20))
    await pacer.wait(3)  # the picture is 17 slots late
    assert pacer.due(30) == due_s


def test_slots_that_the_picture_skips_keep_their_voice() -> None:
    stage = Stage()
    stage.run(60)
    clock, pacer = stage.clock, stage.pacer
    pacer.push_voice(
        np.concatenate([speech(frame) for frame in range(stage.heard, stage.heard + 40)]), clock.now()
    )
    clock.set(pacer.due(75))
    pacer.picture(pacer.latest_slot(60))
    voiced = [int(pacer.voice(slot)[-1]) for slot in range(60, 76)]
    assert voiced == list(range(stage.slots[-1][1] + 1, stage.slots[-1][1] + 17))


def test_slots_whose_time_has_passed_are_skipped_by_the_picture() -> None:
    clock = FakeClock()
    pacer = Pacer(clock, FPS, STILL)
    clock.set(pacer.due(3) + 0.001)
    assert pacer.latest_slot(1) == 3
    assert pacer.stats.missed_slots == 2
    assert pacer.latest_slot(4) == 4


def test_a_slot_long_gone_decides_nothing() -> None:
    stage = Stage()
    stage.run(100)
    before = (stage.pacer._offset, stage.pacer._voice_next)
    assert not stage.pacer.voice(2).any()
    assert (stage.pacer._offset, stage.pacer._voice_next) == before


def test_frames_are_bounded() -> None:
    pacer = Pacer(FakeClock(), FPS, STILL, PacerConfig(max_frames=10))
    for first in range(0, 100, HOP):
        pacer.push_frames(first, pictures(first))
    assert len(pacer._frames) == 10
    assert min(pacer._frames) == 90


def test_fps_must_divide_the_sample_rate() -> None:
    with pytest.raises(ValueError, match="divide"):
        Pacer(FakeClock(), 29, STILL)


def test_clear_is_silent_from_the_next_packet_and_shows_the_rest_until_speech_comes_back() -> None:
    stage = Stage()
    stage.run(40)
    pacer, slot = stage.pacer, len(stage.slots)
    cut = stage.heard
    shown = pacer.picture(slot - 1).image
    spoken = pacer.voice(slot - 1).copy()
    stage.clock.set(pacer.due(slot - 1) + 0.012)  # two packets of 10 ms are out
    pacer.clear(cut)
    assert not pacer.started and pacer.deadline(cut) is None
    voice = pacer.voice(slot - 1)
    np.testing.assert_array_equal(voice[:960], spoken[:960], err_msg="what is out stays as it was")
    assert voice[960] != 0 and not voice[960 + 240 :].any(), "5 ms to fade, then silence"
    stage.clock.set(pacer.due(slot))
    assert not pacer.voice(slot).any()
    np.testing.assert_array_equal(pacer.picture(slot).image, shown)
    pacer.push_frames(cut - 4, pictures(cut - 4))  # drawn before the clear, too late
    pacer.push_rest(np.stack([np.full((4, 4, 3), value, np.uint8) for value in (200, 100)]))
    for ahead, value in ((1, 200), (2, 100), (3, 100)):
        stage.clock.set(pacer.due(slot + ahead))
        picture = pacer.picture(slot + ahead)
        assert picture.image[0, 0, 0] == value and picture.media_frame is None
        assert not pacer.voice(slot + ahead).any()
    pacer.push_voice(np.full(8 * SLOT, 7000, np.int16), stage.clock.now())
    pacer.push_frames(cut, pictures(cut))
    pacer.push_rest(pictures(0))  # comes too late: speech goes on
    offset = None
    for ahead in range(4, 12):
        stage.clock.set(pacer.due(slot + ahead))
        picture = pacer.picture(slot + ahead)
        if picture.media_frame is not None:
            offset = slot + ahead - cut if offset is None else offset
            assert picture.media_frame <= cut + 3
    assert offset is not None and pacer.deadline(cut) == pytest.approx(pacer.due(cut + offset))
    assert pacer.voice(slot + 8).max() == 7000


@pytest.mark.parametrize("phase_s", [0.0, 0.013, 0.027, 0.039])
def test_the_first_frame_is_shown_as_soon_as_it_can_wherever_the_slots_lie(phase_s: float) -> None:
    clock = FakeClock(50.0)
    pacer = Pacer(clock, FPS, STILL, PacerConfig(margin_s=0.015))
    pacer.picture_lead_s = 0.005
    pacer.due(0)
    pacer.voice(4), pacer.picture(4)
    clock.set(50.2 + phase_s)
    pacer.push_frames(0, pictures(0))
    due_s = pacer.deadline(0)
    assert due_s is not None
    assert due_s == pytest.approx(clock.now() + 0.02, abs=1e-6)


def test_the_voice_is_sent_ahead_of_its_picture_by_what_delays_it_afterwards() -> None:
    stage = Stage(PacerConfig(voice_lead_s=0.02))
    stage.run(100)
    first = stage.shown.index(0)
    returned = np.concatenate(stage.voice[first:])
    spoken = np.concatenate([speech(frame) for frame in range(100 - first + 1)])
    np.testing.assert_array_equal(returned[240:], spoken[960 : 960 + len(returned)][240:])
