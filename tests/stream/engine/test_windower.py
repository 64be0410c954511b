"""Windows: the same for any chunking, aligned with their frames, bounded in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream.engine.protocol import EngineSpec
from stream.engine.windower import Window, Windower
from tests.fakes import SMALL_SPEC

SPEC = replace(SMALL_SPEC, context_samples=1000, lookahead_samples=700)


def whole(samples: np.ndarray, spec: EngineSpec = SPEC) -> list[Window]:
    windower = Windower(spec)
    return windower.push(samples) + windower.flush()


def expected_window(samples: np.ndarray, index: int, spec: EngineSpec) -> np.ndarray:
    """The protocol's definition, word for word: zeros before 0 and after the end."""
    spf = spec.samples_per_frame
    start = index * spec.hop_frames * spf - spec.context_samples
    end = ((index + 1) * spec.hop_frames + spec.overlap_frames) * spf + spec.lookahead_samples
    padded = np.concatenate([np.zeros(20_000), samples, np.zeros(20_000)]).astype(np.float32)
    return padded[start + 20_000 : end + 20_000]


@pytest.mark.parametrize("length", [1, 639, 640, 641, 2560, 2561, 16_000, 48_123])
def test_each_window_is_what_the_protocol_says(length: int) -> None:
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    windows = whole(samples)
    frames = -(-length // SPEC.samples_per_frame)
    assert len(windows) == -(-frames // SPEC.hop_frames)
    for index, window in enumerate(windows):
        assert (window.index, window.first_frame) == (index, index * SPEC.hop_frames)
        np.testing.assert_array_equal(window.audio, expected_window(samples, index, SPEC))


@pytest.mark.parametrize("seed", range(8))
def test_any_chunking_gives_the_same_windows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(40_000).astype(np.float32)
    cuts = np.sort(rng.integers(0, len(samples), rng.integers(1, 200)))
    windower = Windower(SPEC)
    windows = [window for chunk in np.split(samples, cuts) for window in windower.push(chunk)]
    windows += windower.flush()
    reference = whole(samples)
    assert len(windows) == len(reference)
    for got, wanted in zip(windows, reference):
        np.testing.assert_array_equal(got.audio, wanted.audio)


def test_one_sample_at_a_time_gives_the_same_windows() -> None:
    samples = np.arange(6000, dtype=np.float32)
    windower = Windower(SPEC)
    windows = [window for sample in samples for window in windower.push(np.array([sample], np.float32))]
    assert len(windows) == 1
    np.testing.assert_array_equal(windows[0].audio, whole(samples)[0].audio)


def test_a_window_comes_out_with_its_last_sample_and_not_before() -> None:
    windower = Windower(SPEC)
    needed = SPEC.window_samples - SPEC.context_samples
    assert windower.push(np.zeros(needed - 1, np.float32)) == []
    assert len(windower.push(np.zeros(1, np.float32))) == 1
    assert windower.push(np.zeros(SPEC.hop_samples - 1, np.float32)) == []
    assert len(windower.push(np.zeros(1, np.float32))) == 1


def test_more_input_never_changes_the_past() -> None:
    samples = np.random.default_rng(3).standard_normal(30_000).astype(np.float32)
    long, short = Windower(SPEC).push(samples), Windower(SPEC).push(samples[:15_000])
    for got, wanted in zip(short, long):
        np.testing.assert_array_equal(got.audio, wanted.audio)


def test_windows_own_their_samples() -> None:
    samples = np.ones(40_000, np.float32)
    windows = Windower(SPEC).push(samples)
    windows[0].audio[:] = 9.0
    assert float(windows[1].audio.max()) == 1.0


def test_memory_stays_bounded_for_a_push_of_any_length() -> None:
    windower = Windower(SPEC)
    windower.push(np.zeros(400_000, np.float32))
    assert len(windower._buffer) == SPEC.window_samples + SPEC.hop_samples


def test_flushing_nothing_gives_nothing_and_pushing_after_it_is_refused() -> None:
    windower = Windower(SPEC)
    assert windower.flush() == []
    with pytest.raises(RuntimeError, match="flushed"):
        windower.push(np.zeros(1, np.float32))


@pytest.mark.parametrize("wrong", [np.zeros((2, 4), np.float32), np.zeros(4), np.zeros(4, np.int16)])
def test_other_shapes_and_types_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="float32"):
        Windower(SPEC).push(wrong)


def test_a_context_of_nothing_and_no_overlap_work() -> None:
    spec = replace(SPEC, context_samples=0, lookahead_samples=0, overlap_frames=0, hop_frames=1)
    samples = np.arange(3 * 640, dtype=np.float32)
    windows = whole(samples, spec)
    assert [window.first_frame for window in windows] == [0, 1, 2]
    np.testing.assert_array_equal(np.concatenate([window.audio for window in windows]), samples)


@pytest.mark.parametrize("pushed", [0, 1, 639, 640, 5000, 12_345])
def test_after_a_restart_windows_hear_silence_before_the_next_whole_frame(pushed: int) -> None:
    samples = np.random.default_rng(pushed).standard_normal(pushed + 20_000).astype(np.float32)
    windower = Windower(SPEC)
    windower.push(samples[:pushed])
    frame = windower.restart()
    start = frame * SPEC.samples_per_frame
    assert frame == -(-pushed // SPEC.samples_per_frame)
    windows = [w for part in np.array_split(samples[pushed:], 7) for w in windower.push(part)]
    later = samples[start:]
    assert len(windows) > 3
    for index, window in enumerate(windows):
        assert (window.index, window.first_frame) == (index, frame + index * SPEC.hop_frames)
        np.testing.assert_array_equal(window.audio, expected_window(later, index, SPEC))
    rest = windower.flush()
    frames = -(-len(samples) // SPEC.samples_per_frame) - frame
    assert len(windows) + len(rest) == -(-frames // SPEC.hop_frames)
