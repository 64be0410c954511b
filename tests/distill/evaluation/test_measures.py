"""Measures against signals whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from distill.evaluation.measures import (
    best_lag,
    border_ratio,
    count_blinks,
    frechet_distance,
    gaussian_frechet,
    jitter,
    pause_frames,
    pearson,
    psnr,
    quiet_frames,
    sharpness,
    spectral_centroid_hz,
    spectral_peak_hz,
    speech_envelope,
)


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


def test_psnr_of_a_known_error_where_it_is_asked_for() -> None:
    true = np.full((3, 8, 8, 3), 100, np.uint8)
    made = true.copy()
    made[:, :4] += 5
    top = np.zeros((8, 8), bool)
    top[:4] = True
    assert psnr(made, true, top) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(made, true, ~top) == 99.0


def test_jitter_of_steady_motion_is_nothing_and_of_flicker_its_swing() -> None:
    everywhere = np.ones((2, 2), bool)
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None] * 3, (20, 2, 2, 3))
    assert jitter(ramp, everywhere) == 0.0
    flicker = np.broadcast_to((np.arange(20) % 2 * 7).astype(np.uint8)[:, None, None, None], (20, 2, 2, 3))
    assert jitter(flicker, everywhere) == pytest.approx(14.0)


def test_blinks_are_counted_once_each() -> None:
    blink = np.array([0, 0.3, 1, 0.8, 0.55, 0.45, 0.6, 0, 0, 0.4, 0.2, 0.9, 0.1, 0])
    assert count_blinks(blink) == 2
    assert count_blinks(np.zeros(9)) == 0


def test_frechet_of_known_gaussians() -> None:
    mean, cov = np.zeros(3), np.diag([1.0, 4.0, 9.0])
    assert gaussian_frechet(mean, cov, mean, cov) == pytest.approx(0, abs=1e-9)
    assert gaussian_frechet(np.array([3.0, 0, 4]), cov, mean, cov) == pytest.approx(25)
    # commuting covariances: the sum of squared differences of deviations
    other = np.diag([4.0, 1.0, 25.0])
    assert gaussian_frechet(mean, cov, mean, other) == pytest.approx(
        (1 - 2) ** 2 + (2 - 1) ** 2 + (3 - 5) ** 2
    )
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = gaussian_frechet(turn @ mean, turn @ cov @ turn.T, turn @ mean, turn @ other @ turn.T)
    assert turned == pytest.approx(6.0)


def test_frechet_of_samples() -> None:
    rng = np.random.default_rng(4)
    cloud = rng.normal(size=(4000, 5))
    assert frechet_distance(cloud, cloud) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(cloud, rng.normal(size=(4000, 5)) + 2) == pytest.approx(20, rel=0.05)
    few = rng.normal(size=(6, 40))
    assert np.isfinite(frechet_distance(few, few + 1)) and frechet_distance(few, few + 1) == pytest.approx(40)
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(cloud[:1], cloud)


def test_spectrum_of_a_sine() -> None:
    track = np.sin(2 * np.pi * 2.0 * np.arange(250) / 25) + 5
    assert spectral_peak_hz(track) == pytest.approx(2.0, abs=0.1)
    assert spectral_centroid_hz(track) == pytest.approx(2.0, abs=0.1)
    assert spectral_centroid_hz(np.ones(100)) == 0.0


def test_envelope_is_in_db_below_the_loud_syllables() -> None:
    frames = 100
    gain = np.where(np.arange(frames) < 50, 0.5, 0.05)
    sound = np.repeat(gain, 640) * np.random.default_rng(5).normal(size=frames * 640)
    envelope = speech_envelope(sound, frames)
    assert envelope[10:40].mean() == pytest.approx(0, abs=0.7)
    assert envelope[60:90].mean() == pytest.approx(-20, abs=0.7)
    assert (speech_envelope(np.zeros(0), 30) <= -30).all()
    assert speech_envelope(sound[: 50 * 640], frames)[-20:].max() == pytest.approx(-40)


def test_pauses_leave_time_to_close_and_to_prepare() -> None:
    envelope = np.zeros(60)
    envelope[:10] = envelope[20:40] = envelope[50:53] = -40
    pauses = pause_frames(envelope, settle=6, ahead=3, shortest=8)
    expected = np.zeros(60, bool)
    expected[0:7] = expected[26:37] = True
    np.testing.assert_array_equal(pauses, expected)
