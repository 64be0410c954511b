"""Idle is measured rightly, and the shipped student rests: noise opens no mouth, speech comes and goes smoothly."""

from __future__ import annotations

import numpy as np
import pytest

from bench.idle import (
    Face,
    babble,
    border_figures,
    measure_borders,
    measure_quiet,
    room_noise,
    speech_and_silence,
)
from models.face import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from tests.tolerances import IDLE_BORDER_RATIO, QUIET_MOUTH_SHARE


def flicker(steps: np.ndarray) -> np.ndarray:
    """Canvases whose frame-to-frame changes have these sizes."""
    grey = 100 + np.cumsum(steps * np.where(np.arange(len(steps)) % 2, 1, -1))
    return np.repeat(grey.astype(np.uint8), 256 * 256 * 3).reshape(-1, 256, 256, 3)


@pytest.mark.parametrize("jump", [4, 12])
def test_a_jump_at_the_borders_shows(jump: int) -> None:
    speaking = np.tile(np.repeat([False, True], 25), 2)
    steps = np.where(speaking, 4, 4)
    steps[np.flatnonzero(np.diff(speaking.astype(int))) + 1] = jump
    figures = border_figures(flicker(steps), speaking)
    assert figures["changes"] == 3
    assert figures["worst_over_inside_max"] == pytest.approx(jump / 4, rel=0.05)
    assert (figures["ratio_of_means"] > 1.1) == (jump > 4)


def test_without_borders_there_is_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="begins or ends"):
        border_figures(flicker(np.ones(50)), np.ones(50, bool))


def test_sounds_are_as_long_as_asked_for_and_the_same_each_time() -> None:
    assert len(babble(2.0)) == 2 * SAMPLE_RATE_HZ and len(room_noise(3.0)) == 3 * SAMPLE_RATE_HZ
    np.testing.assert_array_equal(room_noise(3.0), room_noise(3.0))
    sound, speaking = speech_and_silence(3, 0.8)
    assert (
        len(sound) == len(speaking) * SAMPLES_PER_FRAME
        and np.diff(speaking.astype(int)).tolist().count(1) == 2
    )
    assert np.abs(sound.reshape(-1, SAMPLES_PER_FRAME)[~speaking]).max() == 0.0


def test_the_shipped_student_rests_in_noise_and_has_no_seam() -> None:
    """`fada bench idle` measures the same at length: a minute of noise, twenty changes."""
    face = Face.load()
    quiet = measure_quiet(face, room_noise(8.0), speech_s=2.0)
    assert quiet["range_px"] > 3
    assert quiet["open_share_max"] <= QUIET_MOUTH_SHARE, quiet
    borders = measure_borders(face, changes=4, part_s=1.0)
    assert borders["ratio_of_means"] <= IDLE_BORDER_RATIO, borders
