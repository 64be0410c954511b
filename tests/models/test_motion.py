"""Expression and head pose: the same however time is cut, natural rates, no jumps."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from models.face import FPS, SAMPLES_PER_FRAME
from models.motion import LOUD_DBFS, SILENCE_DBFS, MotionState, advance_motion, init_motion, speech_level


def talking(seconds: float, seed: int = 0) -> np.ndarray:
    """A level track with syllables at 4 Hz in phrases of two seconds, then a second of rest."""
    time_s = np.arange(round(seconds * FPS)) / FPS
    jitter = np.random.default_rng(seed).uniform(0.75, 1.0, time_s.shape)
    syllables = np.clip(0.55 + 0.6 * np.sin(2 * np.pi * 4.1 * time_s), 0, 1)
    return (syllables * jitter * (time_s % 3.0 < 2.0)).astype(np.float32)


def listening(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * FPS), np.float32)


@pytest.mark.parametrize("step", [1, 4, 5, 63])
def test_any_split_of_time_gives_the_same_motion(step: int) -> None:
    level = talking(20)
    whole_state, whole_expression, whole_pose = advance_motion(init_motion(5), level)
    state, expressions, poses = init_motion(5), [], []
    for first in range(0, len(level), step):
        state, expression, pose = advance_motion(state, level[first : first + step])
        expressions.append(expression)
        poses.append(pose)
    assert state == whole_state
    np.testing.assert_array_equal(np.concatenate(expressions), whole_expression)
    np.testing.assert_array_equal(np.concatenate(poses), whole_pose)


def test_advance_leaves_the_old_state_and_nothing_happens_in_no_time() -> None:
    state = init_motion(1)
    before = dataclasses.asdict(state)
    advance_motion(state, talking(2))
    assert dataclasses.asdict(state) == before
    same, expression, pose = advance_motion(state, np.zeros(0, np.float32))
    assert same == state
    assert expression.shape == (0, 4)
    assert pose.shape == (0, 6)


def test_state_survives_json() -> None:
    state, _, _ = advance_motion(init_motion(2**63 + 11), talking(3))
    again = MotionState(**json.loads(json.dumps(dataclasses.asdict(state))))
    assert again == state
    np.testing.assert_array_equal(advance_motion(again, talking(2))[2], advance_motion(state, talking(2))[2])


def test_seeds_differ() -> None:
    level = talking(5)
    assert not np.array_equal(
        advance_motion(init_motion(1), level)[2], advance_motion(init_motion(2), level)[2]
    )


def test_blinks_close_fully_reopen_and_come_at_a_natural_rate() -> None:
    rates = []
    for seed in range(4):
        _, expression, _ = advance_motion(init_motion(seed), np.concatenate([talking(90), listening(90)]))
        closed = expression[:, 0] > 0.3
        starts = np.flatnonzero(closed[1:] & ~closed[:-1])
        rates.append(len(starts) / 3)
        lid = np.concatenate([[0], (expression[:, 0] > 0.01).astype(int), [0]])
        lengths = np.flatnonzero(np.diff(lid) == -1) - np.flatnonzero(np.diff(lid) == 1)
        assert lengths[1:-1].min() >= 3  # 120 ms
        assert lengths[1:-1].max() <= 7
        peaks = [expression[start : start + 6, 0].max() for start in starts[:-1]]
        assert min(peaks) > 0.9
    assert 11 < np.mean(rates) < 21


def test_ranges_hold_and_nothing_jumps() -> None:
    for seed in range(6):
        _, expression, pose = advance_motion(init_motion(seed), np.concatenate([talking(60), listening(20)]))
        assert expression[:, 0].min() >= 0
        assert expression[:, 0].max() <= 1
        assert np.abs(expression[:, 1:]).max() <= 1
        assert np.abs(pose[:, :3]).max() < 0.30
        assert np.abs(pose[:, 3:5]).max() < 5.0
        assert pose[:, 5].min() >= 0
        assert pose[:, 5].max() <= 1
        speed = np.diff(pose, axis=0)
        assert np.abs(speed[:, :3]).max() < 0.025
        assert np.abs(speed[:, 3:5]).max() < 0.35
        assert np.abs(speed[:, 5]).max() < 0.06
        acceleration = np.diff(speed, axis=0)
        assert np.abs(acceleration[:, :3]).max() < 0.014
        assert np.abs(acceleration[:, 3:5]).max() < 0.30


def test_head_moves_in_speech_and_is_calm_when_listening() -> None:
    poses = [
        advance_motion(init_motion(seed), np.concatenate([talking(60), listening(60)]))[2]
        for seed in range(5)
    ]
    stacked = np.stack(poses)
    talk = np.sqrt((stacked[:, : 60 * FPS, :3] ** 2).mean((0, 1)))
    calm = np.sqrt((stacked[:, 64 * FPS :, :3] ** 2).mean((0, 1)))
    assert np.all(talk > [0.035, 0.02, 0.015])
    assert np.all(talk < [0.085, 0.06, 0.045])
    assert np.all(calm < 0.7 * talk)


def test_breathing_goes_on_at_about_fourteen_a_minute() -> None:
    _, _, pose = advance_motion(init_motion(3), listening(120))
    rising = np.diff((pose[:, 5] > 0.5).astype(int)) == 1
    assert 12 <= rising.sum() / 2 <= 16


def test_speech_level_is_zero_in_silence_one_when_loud_and_monotone() -> None:
    levels = []
    for dbfs in (-90, SILENCE_DBFS - 1, -40, -30, -20, LOUD_DBFS + 1):
        tone = np.sqrt(2) * 10 ** (dbfs / 20) * np.sin(2 * np.pi * 200 / 16000 * np.arange(SAMPLES_PER_FRAME))
        levels.append(float(speech_level(tone.astype(np.float32))[0]))
    assert levels[0] == levels[1] == 0.0
    assert levels[-1] == 1.0
    assert levels == sorted(levels)


def test_speech_level_depends_on_its_own_frame_only() -> None:
    audio = np.random.default_rng(0).normal(0, 0.05, 9 * SAMPLES_PER_FRAME).astype(np.float32)
    parts = [speech_level(audio[n * SAMPLES_PER_FRAME : (n + 1) * SAMPLES_PER_FRAME]) for n in range(9)]
    np.testing.assert_array_equal(speech_level(audio), np.concatenate(parts))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 640"):
        speech_level(np.zeros(641, np.float32))
    with pytest.raises(ValueError, match="shape"):
        advance_motion(init_motion(0), np.zeros((2, 2), np.float32))


def test_imports_without_torch() -> None:
    code = "import sys; import models.motion; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def listen(
    seconds: float, listening: bool, level: float = 0.0, seed: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Expression and pose of a face that hears `level` all the time."""
    levels = np.full(round(seconds * FPS), level, np.float32)
    _, expression, pose = advance_motion(init_motion(seed), levels, listening)
    return expression, pose


def test_a_listener_nods_looks_and_blinks() -> None:
    expression, pose = listen(60, True)
    idle_expression, idle_pose = listen(60, False)
    pitch, idle_pitch = pose[:, 1], idle_pose[:, 1]
    assert pitch.min() < idle_pitch.min() - 0.02  # nods go down
    nods = np.diff((pitch - np.median(pitch) < -0.025).astype(int)) == 1
    assert 8 <= nods.sum() <= 60
    assert 6 <= (np.diff((expression[:, 0] > 0.5).astype(int)) == 1).sum() <= 40
    assert (np.abs(expression[:, 1]) > 0.3).mean() < (np.abs(idle_expression[:, 1]) > 0.3).mean() + 0.02
    assert np.abs(np.diff(pose[:, :3], axis=0)).max() < 0.02  # never a jerk


def test_listening_comes_and_goes_without_a_jump_and_the_own_voice_ends_it() -> None:
    state = init_motion(4)
    poses = []
    for listening, level in ((False, 0.0), (True, 0.0), (True, 0.8), (True, 0.0), (False, 0.0)):
        state, _, pose = advance_motion(state, np.full(75, level, np.float32), listening)
        poses.append(pose)
        assert (state.attention > 0.9) == (listening and level == 0.0)
    assert np.abs(np.diff(np.concatenate(poses)[:, :3], axis=0)).max() < 0.03


def test_listening_is_the_same_however_it_is_cut() -> None:
    levels = np.zeros(200, np.float32)
    _, _, whole = advance_motion(init_motion(8), levels, True)
    state, parts = init_motion(8), []
    for first in range(0, 200, 8):
        state, _, pose = advance_motion(state, levels[first : first + 8], True)
        parts.append(pose)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
