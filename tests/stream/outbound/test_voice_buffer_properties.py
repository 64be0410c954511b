"""The voice buffer beside the plainest one there is: everything ever pushed, in one array."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.media import RATE_HZ, Int16Array
from stream.outbound.voice_buffer import VoiceBuffer, joined, loudness

SIZE = 48
CHUNKS = st.lists(st.integers(0, 130), max_size=12)


def filled(sizes: list[int]) -> tuple[VoiceBuffer, Int16Array]:
    """A buffer of 48 samples after pushes of these sizes, and all that was pushed: 1, 2, 3, …"""
    buffer, whole = VoiceBuffer(SIZE / RATE_HZ), np.arange(1, sum(sizes) + 1, dtype=np.int16)
    for chunk in np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []:
        buffer.push(chunk)
    return buffer, whole


@given(CHUNKS, st.integers(-50, 1600), st.integers(0, 200))
def test_it_reads_what_was_pushed_and_zeros_elsewhere(sizes: list[int], start: int, count: int) -> None:
    buffer, whole = filled(sizes)
    kept = np.zeros(max(len(whole), start + count, 0) + 60, dtype=np.int16)
    oldest = max(0, len(whole) - SIZE)
    kept[oldest : len(whole)] = whole[oldest:]
    wanted = np.concatenate([np.zeros(60, dtype=np.int16), kept])[start + 60 : start + 60 + count]
    np.testing.assert_array_equal(buffer.read(start, count), wanted)
    assert buffer.end_samples == len(whole)
    assert buffer.has(start, count) == (oldest <= start and start + count <= len(whole))


@given(CHUNKS, st.integers(0, 1600), st.integers(0, 100))
def test_any_chunking_equals_the_whole(sizes: list[int], start: int, count: int) -> None:
    cut, whole = filled(sizes)
    once, _ = filled([len(whole)])
    np.testing.assert_array_equal(cut.read(start, count), once.read(start, count))


@given(st.lists(st.integers(-32768, 32767), max_size=600), st.lists(st.integers(-32768, 32767), max_size=600))
def test_a_join_stays_between_its_two_sides(old: list[int], new: list[int]) -> None:
    before, after = np.array(old, dtype=np.int16), np.array(new, dtype=np.int16)
    out = joined(before, after)
    assert out.dtype == np.int16 and len(out) == len(after)
    edge = min(len(before), len(after))
    lower, upper = np.minimum(before[:edge], after[:edge]), np.maximum(before[:edge], after[:edge])
    assert np.all(out[:edge] >= lower) and np.all(out[:edge] <= upper)
    np.testing.assert_array_equal(out[edge:], after[edge:])
    assert 0.0 <= loudness(out) <= 1.0
