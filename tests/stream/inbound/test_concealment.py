"""Gaps are covered by the voice going on: alike, without steps, and not for long."""

from __future__ import annotations

import numpy as np
import pytest

from stream.inbound.concealment import HELD_SAMPLES, Concealer, find_period

RATE = 48_000


def vowel(pitch_hz: float, count: int) -> np.ndarray:
    """Harmonics of a pitch with one resonance, int16."""
    n = np.arange(count)
    gains = {k: 1 / (1 + ((k * pitch_hz - 700) / 200) ** 2) + 0.05 for k in range(1, int(3000 / pitch_hz))}
    wave = sum(gain * np.sin(2 * np.pi * k * pitch_hz * n / RATE + k) for k, gain in gains.items())
    return (9000 * wave / np.abs(wave).max()).astype(np.int16)


def covered(sound: np.ndarray, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What is put in for [start, start + count), and the whole with it and the next packet joined."""
    concealer = Concealer()
    for at in range(0, start, 960):
        concealer.remember(sound[at : min(at + 960, start)])
    gap = concealer.extend(count)
    after = concealer.join(sound[start + count :])
    return gap, np.concatenate((sound[:start], gap, after))


@pytest.mark.parametrize("pitch_hz", [90.0, 125.0, 210.0, 333.0])
def test_a_vowel_goes_on_as_it_would_have(pitch_hz: float) -> None:
    sound = vowel(pitch_hz, 9600)
    gap, whole = covered(sound, 4800, 960)
    truth = sound[4800:5760].astype(float)
    assert np.corrcoef(gap.astype(float), truth)[0, 1] > 0.95
    steps = np.abs(np.diff(whole.astype(int)))
    assert steps.max() <= 1.35 * np.abs(np.diff(sound.astype(int))).max()


@pytest.mark.parametrize("pitch_hz", [90.0, 125.0, 210.0])
def test_the_period_is_found(pitch_hz: float) -> None:
    assert find_period(vowel(pitch_hz, 4800).astype(float)) == pytest.approx(RATE / pitch_hz, abs=3)


def test_noise_is_covered_without_a_step_beyond_its_own() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 9600 + 60)
    sound = (9000 * np.convolve(noise, np.hanning(61), "valid") / 14).astype(np.int16)
    _, whole = covered(sound, 4800, 960)
    own = np.abs(np.diff(sound.astype(int))).max()
    assert np.abs(np.diff(whole.astype(int)))[4700:6200].max() <= 1.35 * own


def test_a_long_gap_fades_and_ends_in_silence_and_may_be_asked_for_in_pieces() -> None:
    sound = vowel(125.0, 4800)
    whole, pieces = Concealer(), Concealer()
    for concealer in (whole, pieces):
        concealer.remember(sound)
    gap = whole.extend(6000)
    np.testing.assert_array_equal(np.concatenate([pieces.extend(n) for n in (100, 860, 1920, 3120)]), gap)
    level = np.abs(gap[:HELD_SAMPLES].astype(int)).reshape(-1, 480).max(axis=1)
    assert np.all(np.diff(level) < 0.1 * level[0]) and level[-1] < 0.25 * level[0]
    assert not gap[HELD_SAMPLES:].any()


def test_nothing_before_is_silence() -> None:
    concealer = Concealer()
    assert not concealer.extend(960).any()
    joined = concealer.join(np.full(960, 5000, np.int16))
    assert joined[0] == 0 and np.all(np.diff(joined.astype(int)[:241]) >= 0) and joined[240] == 5000
