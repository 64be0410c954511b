"""Several channels as one: the mean where it can be heard, the louder side where it cancels, in any pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.sound import DownMix, ffmpeg_url

RATE_HZ = 16_000


def voice(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20))
    return (0.2 * buzz * (0.55 - 0.45 * np.cos(2 * np.pi * 4 * t))).astype(np.float32)


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def test_one_channel_is_itself_and_sides_alike_are_their_mean() -> None:
    one = voice()
    np.testing.assert_array_equal(DownMix(RATE_HZ).push(one[None]), one)
    np.testing.assert_array_equal(DownMix(RATE_HZ).push(np.stack((one, one))), one)
    other = np.random.default_rng(0).standard_normal(len(one)).astype(np.float32) * 0.1
    np.testing.assert_array_equal(
        DownMix(RATE_HZ).push(np.stack((one, other))), np.stack((one, other)).mean(0)
    )


@pytest.mark.parametrize("right", [-1.0, -0.9, -0.5])
def test_sides_that_cancel_leave_the_louder_one(right: float) -> None:
    one = voice()
    mixed = DownMix(RATE_HZ).push(np.stack((one, right * one)))
    np.testing.assert_array_equal(mixed[800:], one[800:])
    assert level(mixed) > 0.9 * level(one)


def test_one_silent_side_is_no_reason_to_leave_the_mean() -> None:
    one = voice()
    np.testing.assert_array_equal(DownMix(RATE_HZ).push(np.stack((one, 0 * one))), one / 2)


def test_a_voice_in_one_of_sixty_channels_is_heard() -> None:
    channels = np.zeros((60, RATE_HZ), np.float32)
    channels[17] = voice()
    assert level(DownMix(RATE_HZ).push(channels)) > 0.9 * level(voice())


def test_the_cut_into_pieces_changes_nothing() -> None:
    one = voice(2.0)
    sides = np.stack((one, np.where(np.arange(len(one)) < RATE_HZ, -one, one)))
    whole = DownMix(RATE_HZ).push(sides)
    mix, rng = DownMix(RATE_HZ), np.random.default_rng(1)
    pieces = np.split(sides, np.sort(rng.integers(0, len(one), 200)), axis=1)
    np.testing.assert_array_equal(np.concatenate([mix.push(piece) for piece in pieces]), whole)
    np.testing.assert_allclose(whole[-RATE_HZ // 2 :], one[-RATE_HZ // 2 :], atol=1e-6)  # back in phase
    assert np.abs(np.diff(whole)).max() < 1.2 * np.abs(np.diff(one)).max()  # no click where it changes


def test_ffmpeg_is_told_that_a_path_is_a_file() -> None:
    assert ffmpeg_url(Path("rec-10:20.wav")) == "file:rec-10:20.wav"
