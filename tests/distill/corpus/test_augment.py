"""Microphones, rooms and sounds that are not speech."""

from __future__ import annotations

import numpy as np
import pytest

from distill.corpus.augment import (
    NON_SPEECH,
    augment,
    clicks,
    coloured_noise,
    convolve,
    fast_length,
    level_dbfs,
    non_speech,
    quantise,
    room_response,
    set_level,
    soft_clip,
)


def speechlike(seconds: float = 2.0) -> np.ndarray:
    """Bursts of noise at 4 Hz, so that envelope timing can be measured."""
    count = round(seconds * 16000)
    time_s = np.arange(count) / 16000
    noise = np.random.default_rng(1).normal(0, 0.1, count)
    return (noise * (np.sin(2 * np.pi * 4 * time_s) > 0)).astype(np.float32)


def babble() -> np.ndarray:
    return np.random.default_rng(9).normal(0, 0.1, 32000).astype(np.float32)


@pytest.mark.parametrize("quality", ["high", "moderate"])
@pytest.mark.parametrize("seed", range(12))
def test_augmented_keeps_length_range_and_is_repeatable(quality: str, seed: int) -> None:
    clean = speechlike()
    audio, done = augment(clean, np.random.default_rng(seed), quality, babble)
    again, _ = augment(clean, np.random.default_rng(seed), quality, babble)
    assert audio.dtype == np.float32
    assert audio.shape == clean.shape
    assert np.abs(audio).max() <= 1.0
    assert np.isfinite(audio).all()
    assert done
    np.testing.assert_array_equal(audio, again)


def test_augmented_is_not_late() -> None:
    clean = speechlike(4.0)
    envelope = np.abs(clean).reshape(-1, 80).mean(1)
    for seed in range(10):
        audio, _ = augment(clean, np.random.default_rng(seed), "high")
        heard = np.abs(audio).reshape(-1, 80).mean(1)
        scores = [np.corrcoef(np.roll(heard, -lag)[40:-40], envelope[40:-40])[0, 1] for lag in range(-8, 9)]
        assert abs(int(np.argmax(scores)) - 8) <= 3  # 15 ms


def test_unknown_quality_and_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="quality"):
        augment(speechlike(), np.random.default_rng(0), "low")
    with pytest.raises(ValueError, match="kind"):
        non_speech(np.random.default_rng(0), 1000, "dog")


@pytest.mark.parametrize("kind", NON_SPEECH)
def test_non_speech_sounds(kind: str) -> None:
    audio = non_speech(np.random.default_rng(3), 48000, kind)
    assert audio.shape == (48000,)
    assert audio.dtype == np.float32
    assert np.abs(audio).max() <= 1.0
    assert (kind == "silence") == (not audio.any())


def test_levels() -> None:
    assert level_dbfs(set_level(speechlike(), -31.0)) == pytest.approx(-31.0, abs=0.1)
    assert level_dbfs(np.zeros(1000, np.float32)) == -100.0
    assert not set_level(np.zeros(1000, np.float32), -20.0).any()


def test_noise_slope() -> None:
    power = np.abs(np.fft.rfft(coloured_noise(np.random.default_rng(0), 65536, 0.5))) ** 2
    low, high = power[800:1600].mean(), power[8000:16000].mean()
    assert 7 < low / high < 13  # 1/f: ten times the power at a tenth of the frequency


def test_room_begins_with_the_direct_sound() -> None:
    response = room_response(np.random.default_rng(2), 0.4, 0.8)
    assert response[0] == 1.0
    assert np.abs(response[1:]).max() < 0.6
    click = np.zeros(16000, np.float32)
    click[100] = 1.0
    heard = convolve(click, response)
    assert np.abs(heard[:100]).max() < 1e-5
    assert int(np.abs(heard).argmax()) == 100


def test_clipping_codec_and_clicks_keep_their_peaks() -> None:
    rng = np.random.default_rng(0)
    audio = speechlike()
    peak = np.abs(audio).max()
    assert np.abs(soft_clip(audio, 4.0)).max() == pytest.approx(peak, rel=1e-5)
    assert np.abs(quantise(audio, rng, 8) - audio).max() < 0.1 * peak
    assert np.abs(clicks(rng, 32000)).max() <= 1.0


@pytest.mark.parametrize("count", [1, 2, 7, 97, 1025, 96001])
def test_fast_lengths(count: int) -> None:
    length = fast_length(count)
    assert count <= length <= 2 * count
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1
