"""The pacer's delay: grows with what drawing takes, given back where nobody hears it, true to drifting clocks."""

from __future__ import annotations

import numpy as np
import pytest

from stream.outbound.pacer import PacerConfig
from tests.stream.outbound.pacer_stage import FPS, Stage


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


@pytest.mark.parametrize("keep", [True, False])
def test_the_pauses_of_who_has_sound_ahead_are_all_kept(keep: bool) -> None:
    stage = Stage(quiet=True)
    stage.face.keep_silence(keep)
    stage.run(60)
    stage.run(100, delay_s=0.25)
    moves = stage.pacer.stats.moves
    stage.run(400, delay_s=0.05)
    assert (stage.pacer.stats.moves == moves) is keep


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
