"""Measures against signals whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from distill.measures import best_lag, border_ratio, pearson, quiet_frames, sharpness


def _wave(count: int = 300) -> np.ndarray:
    return np.convolve(np.random.default_rng(0).normal(size=count + 8), np.ones(5) / 5, mode="same")[:count]


def test_pearson() -> None:
    wave = _wave()
    assert pearson(wave, 3 * wave + 1) == pytest.approx(1.0)
    assert pearson(wave, -wave) == pytest.approx(-1.0)
    assert pearson(wave, np.ones_like(wave)) == 0.0


@pytest.mark.parametrize("lag", [-4, -1, 0, 1, 3])
def test_best_lag_finds_a_known_delay(lag: int) -> None:
    wave = _wave()
    found, r = best_lag([np.roll(wave, lag)] * 2, [wave] * 2)
    assert found == lag and r > 0.95


def test_quiet_frames_keep_their_distance_from_speech() -> None:
    opening = np.zeros(20)
    opening[10] = 5.0
    quiet = quiet_frames(opening, margin=3)
    assert not quiet[7:14].any() and quiet[:7].all() and quiet[14:].all()


def test_border_ratio_sees_a_jump_at_window_borders() -> None:
    rng = np.random.default_rng(1)
    smooth = np.cumsum(rng.normal(0, 1, (40, 4, 4, 3)), axis=0) + 128
    assert border_ratio(smooth.astype(np.uint8), 4) == pytest.approx(1.0, abs=0.3)
    jumpy = smooth + np.repeat(np.arange(10) % 2 * 20, 4)[:, None, None, None]
    assert border_ratio(jumpy.astype(np.uint8), 4) > 3


def test_sharpness_falls_with_blur() -> None:
    frames = np.random.default_rng(2).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    blurred = (frames.astype(float) + np.roll(frames, 1, axis=1) + np.roll(frames, 1, axis=2)) / 3
    assert sharpness(blurred.astype(np.uint8)) < 0.5 * sharpness(frames)
