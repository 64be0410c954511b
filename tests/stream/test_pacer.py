"""The output clock: face and voice locked together, late frames held, delay adapted where nobody hears it."""

from __future__ import annotations

import numpy as np
import pytest

from stream.pacer import Pacer, PacerConfig
from stream.timeline import RATE_HZ
from tests.fakes import FakeClock

FPS = 25
SLOT = RATE_HZ // FPS
HOP = 4
STILL = np.full((4, 4, 3), 9, np.uint8)


def speech(frame: int) -> np.ndarray:
    """One media frame's samples, loud, every sample telling the frame it belongs to."""
    return np.full(SLOT, 5000 + frame, np.int16)


def pictures(first: int, count: int = HOP) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), (first + index) % 256, np.uint8) for index in range(count)])


class Stage:
    """A pacer with a fake clock, a microphone in real time, and an engine of a given delay.

    Windows come `delay_s` after the microphone spoke their last needed sample (two frames of look-ahead).
    """

    def __init__(self, config: PacerConfig | None = None, quiet: bool = False, pace: float = 1.0) -> None:
        self.clock = FakeClock(50.0)
        self.pacer = Pacer(self.clock, FPS, STILL, config)
        self.quiet = quiet
        self.pace = pace
        self.heard = 0
        self.next_window = 0
        self.arrivals: list[tuple[float, int]] = []
        self.slots: list[tuple[int | None, int, int | None]] = []  # shown frame, voice value, settled frame
        self.voice: list[np.ndarray] = []
        self.pacer.due(0)

    def run(self, slots: int, delay_s: float = 0.05, lost: tuple[int, ...] = ()) -> None:
        for _ in range(slots):
            slot = len(self.slots)
            while True:
                due_s = self.pacer.due(slot)
                spoken_s = 50.0 + (self.heard + 1) / FPS * self.pace
                ready = min(self.arrivals, default=(np.inf, 0))
                if min(spoken_s, ready[0]) > due_s:
                    break
                if ready[0] <= spoken_s:
                    self.arrivals.remove(ready)
                    self.clock.set(max(self.clock.now(), ready[0]))
                    self.pacer.push_frames(ready[1], pictures(ready[1]))
                    continue
                self.clock.set(max(self.clock.now(), spoken_s))
                sound = np.zeros(SLOT, np.int16) if self.quiet else speech(self.heard)
                self.pacer.push_voice(sound, self.clock.now())
                self.heard += 1
                if self.heard >= self.next_window * HOP + HOP + 3:
                    if self.next_window not in lost:
                        self.arrivals.append((self.clock.now() + delay_s, self.next_window * HOP))
                    self.next_window += 1
            self.clock.set(max(self.clock.now(), due_s))  # settling may move t0, by less than matters here
            picture, voice = self.pacer.picture(slot), self.pacer.voice(slot)
            self.pacer.sent_voice(slot)
            self.pacer.sent_picture(picture)
            settled = self.pacer._settled(slot).media_frame
            self.slots.append((picture.media_frame, int(voice[-1]), settled))
            self.voice.append(voice)

    @property
    def shown(self) -> list[int | None]:
        return [slot[0] for slot in self.slots]


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


def test_lasting_lateness_grows_the_delay_in_silence_and_all_frames_show_again() -> None:
    stage = Stage(quiet=True)
    stage.run(60)
    stage.run(100, delay_s=0.25)
    assert stage.pacer.stats.moves >= 1
    shown = stage.shown[-40:]
    assert shown == list(range(shown[0], shown[0] + 40))


def test_in_speech_the_delay_grows_only_after_patience_and_nothing_is_said_twice() -> None:
    stage = Stage()
    stage.run(60)
    stage.run(100, delay_s=0.25)
    assert stage.pacer.stats.moves == 1
    voiced = [voice - 5000 for _, voice, _ in stage.slots if voice]
    assert voiced == list(range(len(voiced)))
    silent = [slot for slot in range(30, len(stage.slots)) if stage.slots[slot][1] == 0]
    assert len(silent) == silent[-1] - silent[0] + 1 <= 8  # one pause, as long as the delay grew
    shown = stage.shown[-40:]
    assert shown == list(range(shown[0], shown[0] + 40))


def test_growing_the_delay_does_not_click() -> None:
    stage = Stage()
    stage.run(60)
    stage.run(100, delay_s=0.25)
    sound = np.concatenate(stage.voice[stage.shown.index(0) + 1 :]).astype(int)
    assert np.abs(np.diff(sound)).max() < 100  # 5000 to 0 over 240 samples is 21 a sample


def test_delay_that_is_no_longer_needed_is_given_back_slot_by_slot_in_silence() -> None:
    stage = Stage(quiet=True)
    stage.run(60)
    stage.run(100, delay_s=0.25)
    late = stage.pacer.stats.report(stage.clock.now()).latency_ms
    stage.run(700, delay_s=0.05)
    early = stage.pacer.stats.report(stage.clock.now()).latency_ms
    assert late is not None
    assert early is not None
    assert early < late - 150
    assert stage.pacer.stats.held_frames < 20


def test_delay_is_never_given_back_in_speech() -> None:
    stage = Stage()
    stage.run(60)
    stage.run(100, delay_s=0.25)
    moves = stage.pacer.stats.moves
    stage.run(400, delay_s=0.05)
    assert stage.pacer.stats.moves == moves


def test_the_delay_has_a_ceiling() -> None:
    stage = Stage(PacerConfig(max_extra_slots=5), quiet=True)
    stage.run(60)
    stage.run(300, delay_s=3.0)
    assert stage.pacer._offset is not None
    assert stage.pacer._offset - stage.pacer._first_offset <= 5


def test_an_engine_that_dies_leaves_the_voice_alone() -> None:
    stage = Stage()
    stage.run(60)
    stage.run(100, lost=tuple(range(1000)))
    voiced = [voice - 5000 for _, voice, _ in stage.slots if voice]
    assert voiced == list(range(len(voiced)))
    assert len(voiced) > 140


@pytest.mark.parametrize("pace", [0.995, 1.005])
def test_two_clocks_that_drift_apart_stay_together(pace: float) -> None:
    """0.5 % is a hundred times what sound cards do: 80 s of it are 400 ms."""
    stage = Stage(quiet=True, pace=pace)
    stage.run(200)
    before = stage.pacer.stats.report(stage.clock.now()).latency_ms
    stage.run(2000)
    after = stage.pacer.stats.report(stage.clock.now())
    assert before is not None
    assert after.latency_ms == pytest.approx(before, abs=90)
    assert after.skew_ms == pytest.approx(0.0, abs=0.1)
    assert after.moves == 0, "nothing is put in or left out"
    assert after.held_frames == after.dropped_frames == 0


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


def test_delay_after_a_standstill_is_given_back_at_once() -> None:
    stage = Stage()
    stage.run(100)
    before = stage.pacer.stats.report(stage.clock.now()).latency_ms
    assert stage.pacer._t0_s is not None
    stage.pacer._t0_s += 3.0  # the process stood still; the microphone did not
    stage.run(100)
    after = stage.pacer.stats.report(stage.clock.now()).latency_ms
    assert before is not None
    assert after == pytest.approx(before, abs=90)
    assert stage.shown[-1] == stage.slots[-1][2]
    assert stage.slots[-1][1] == 5000 + (stage.shown[-1] or 0)


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


def test_clear_is_silent_from_the_next_slot_and_shows_the_rest_until_speech_comes_back() -> None:
    stage = Stage()
    stage.run(40)
    pacer, slot = stage.pacer, len(stage.slots)
    cut = stage.heard
    shown = pacer.picture(slot - 1).image
    pacer.clear(cut)
    assert not pacer.started and pacer.deadline(cut) is None
    stage.clock.set(pacer.due(slot))
    voice = pacer.voice(slot)
    assert voice[0] != 0 and not voice[300:].any(), "5 ms to fade, then silence"
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


@pytest.mark.parametrize("delay_s", [0.021, 0.034, 0.058])
def test_in_quiet_the_delay_shrinks_to_what_the_engine_needs_and_not_to_whole_slots(delay_s: float) -> None:
    stage = Stage(quiet=True)
    stage.run(400, delay_s=delay_s)
    guard_s = stage.pacer.reserve.config.guard_s
    assert stage.pacer.reserve.low_s(stage.pacer._anchor_s) == pytest.approx(guard_s, abs=0.002)
    assert stage.pacer.stats.moves == stage.pacer.stats.held_frames == 0


def test_an_engine_that_slows_down_a_little_is_followed_without_a_break() -> None:
    stage = Stage()
    stage.run(300, delay_s=0.03)
    stage.run(300, delay_s=0.045)
    held = stage.pacer.stats.held_frames
    stage.run(300, delay_s=0.045)
    assert stage.pacer.stats.moves == 0, "15 ms are made up by the clock alone"
    assert stage.pacer.stats.held_frames == held
    voiced = [voice - 5000 for _, voice, _ in stage.slots if voice]
    assert voiced == list(range(len(voiced)))


@pytest.mark.parametrize("quiet", [False, True])
def test_slots_never_move_by_more_than_their_limit(quiet: bool) -> None:
    stage = Stage(quiet=quiet)
    config = stage.pacer.reserve.config
    later, earlier = (
        (config.quiet_later_s, config.quiet_earlier_s)
        if quiet
        else (config.speech_later_s, config.speech_earlier_s)
    )
    stage.run(60, delay_s=0.03)
    for delay_s in (0.045, 0.02):
        dues = []
        for _ in range(500):
            stage.run(1, delay_s=delay_s)
            dues.append(stage.pacer.due(len(stage.slots)))
        steps = np.diff(dues) - 1 / FPS
        assert steps.max() <= later + 1e-9
        assert steps.min() >= -earlier - 1e-9


def test_the_voice_is_sent_ahead_of_its_picture_by_what_delays_it_afterwards() -> None:
    stage = Stage(PacerConfig(voice_lead_s=0.02))
    stage.run(100)
    first = stage.shown.index(0)
    returned = np.concatenate(stage.voice[first:])
    spoken = np.concatenate([speech(frame) for frame in range(100 - first + 1)])
    np.testing.assert_array_equal(returned[240:], spoken[960 : 960 + len(returned)][240:])
