"""The measuring itself, on rows whose truth is known. Runs without a browser."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.playback import Float64Array, mouth_motion_from_rows, playback_from_rows


def steady(frames: int = 250, change: float = 1.0) -> Float64Array:
    """Rows of a perfect 25 fps: pictures at 40, 80, … ms."""
    rows = np.zeros((frames, 6))
    rows[:, 0] = 40 * np.arange(1, frames + 1)
    rows[:, 1] = np.arange(frames)
    rows[:, 2:5] = change
    return rows


def test_steady_pictures_have_no_freeze() -> None:
    playback = playback_from_rows(steady(), 10.0)
    assert playback.fps == 25
    assert playback.frozen_ratio == 0
    assert playback.freezes == 0


def test_a_gap_is_a_freeze() -> None:
    rows = steady()
    rows[100:, 0] += 500
    playback = playback_from_rows(rows, 10.5)
    assert playback.freezes == 1
    assert playback.longest_gap_s == 0.54
    assert playback.frozen_ratio == pytest.approx(0.54 / 10.5, abs=1e-4)


def test_a_short_hiccup_is_none() -> None:
    rows = steady()
    rows[100:, 0] += 80
    assert playback_from_rows(rows, 10.08).freezes == 0


def test_a_slide_show_is_frozen() -> None:
    rows = steady(20)
    rows[:, 0] *= 12.5
    playback = playback_from_rows(rows, 10.0)
    assert playback.fps == 2
    assert playback.frozen_ratio == 1


def test_pictures_that_stop_are_frozen_to_the_end() -> None:
    assert playback_from_rows(steady(125), 10.0).frozen_ratio == pytest.approx(0.5, abs=0.01)


def test_pictures_that_never_come_are_all_frozen() -> None:
    assert playback_from_rows(np.zeros((0, 6)), 10.0).frozen_ratio == 1


def test_the_same_picture_again_and_again_is_frozen() -> None:
    rows = steady()
    rows[50:100, 2] = 0
    playback = playback_from_rows(rows, 10.0)
    assert playback.fps == 25
    assert playback.still_ratio == pytest.approx(0.2, abs=0.01)
    assert playback.frozen_ratio == playback.still_ratio


def test_no_moment_is_frozen_twice() -> None:
    rows = steady()
    rows[50:100, 2] = 0
    rows[75:, 0] += 1000
    assert playback_from_rows(rows, 11.0).frozen_ratio == pytest.approx(3 / 11, abs=0.01)


def test_mouth_motion_keeps_clear_of_the_borders() -> None:
    rows = steady()
    speaking = (np.arange(len(rows)) // 50) % 2 == 0
    rows[:, 5] = np.where(speaking, -20, -90)
    rows[:, 3] = np.where(speaking, 4.0, 0.5)
    rows[50:54, 3] = 4.0  # the mouth closes a little after the voice
    mouth = mouth_motion_from_rows(rows)
    assert mouth.mouth_speech == 4.0
    assert mouth.mouth_silence == 0.5
    assert mouth.ratio == 8
    assert mouth.speech_frames > 100
