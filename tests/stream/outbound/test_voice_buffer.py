"""The returned voice: right samples at right positions, bounded, no clicks."""

from __future__ import annotations

import numpy as np
import pytest

from stream.outbound.voice_buffer import VoiceBuffer, joined, loudness


@pytest.mark.parametrize("seed", range(4))
def test_what_goes_in_comes_out_at_its_position(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.integers(-32768, 32767, 200_000).astype(np.int16)
    buffer = VoiceBuffer(seconds=0.5)
    for chunk in np.split(samples, np.sort(rng.integers(0, len(samples), 100))):
        buffer.push(chunk)
        start = max(0, buffer.end_samples - 10_000)
        np.testing.assert_array_equal(
            buffer.read(start, buffer.end_samples - start), samples[start : buffer.end_samples]
        )


def test_what_is_gone_and_what_is_to_come_is_silence() -> None:
    buffer = VoiceBuffer(seconds=0.01)  # 480 samples
    buffer.push(np.full(1000, 7, np.int16))
    out = buffer.read(0, 1200)
    assert not out[:520].any()
    assert (out[520:1000] == 7).all()
    assert not out[1000:].any()
    assert buffer.has(520, 480)
    assert not buffer.has(519, 480)
    assert not buffer.has(900, 101)


def test_a_push_longer_than_the_buffer_keeps_the_newest() -> None:
    buffer = VoiceBuffer(seconds=0.01)
    buffer.push(np.arange(5000, dtype=np.int16))
    np.testing.assert_array_equal(buffer.read(4520, 480), np.arange(4520, 5000, dtype=np.int16))


def test_joints_start_where_the_sound_was() -> None:
    continuation, pcm = np.full(960, 10_000, np.int16), np.full(960, -10_000, np.int16)
    out = joined(continuation, pcm)
    assert out[0] == 10_000
    assert (out[240:] == -10_000).all()
    assert np.abs(np.diff(out.astype(int))).max() < 200
    assert (pcm == -10_000).all()


def test_loudness_is_rms_of_full_scale() -> None:
    assert loudness(np.zeros(0, np.int16)) == 0.0
    assert loudness(np.full(100, 16_384, np.int16)) == pytest.approx(0.5)
