"""Windows for any sound, any cut and any shape of window: any chunking equals whole, the past never changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.engine.protocol import EngineSpec
from stream.engine.windower import Window, Windower
from tests.fakes import SMALL_SPEC


@st.composite
def specs(draw: st.DrawFn) -> EngineSpec:
    """Short frames (8 samples), so that many windows fit into little sound."""
    hop = draw(st.integers(1, 4))
    return replace(
        SMALL_SPEC,
        fps=25,
        sample_rate_hz=200,
        hop_frames=hop,
        overlap_frames=draw(st.integers(0, hop)),
        context_samples=draw(st.integers(0, 30)),
        lookahead_samples=draw(st.integers(0, 30)),
    )


LENGTHS = st.integers(0, 300)
CUTS = st.lists(st.integers(0, 300), max_size=12)


def sound(length: int) -> np.ndarray:
    """Every sample is another, so that one in the wrong place shows."""
    return np.arange(1, length + 1, dtype=np.float32)


def pushed(windower: Windower, samples: np.ndarray, cuts: list[int]) -> list[Window]:
    places = sorted(min(cut, len(samples)) for cut in cuts)
    return [window for chunk in np.split(samples, places) for window in windower.push(chunk)]


def same(got: list[Window], wanted: list[Window]) -> None:
    assert [(w.index, w.first_frame) for w in got] == [(w.index, w.first_frame) for w in wanted]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one.audio, other.audio)


@given(specs(), LENGTHS, CUTS)
def test_any_chunking_equals_the_whole(spec: EngineSpec, length: int, cuts: list[int]) -> None:
    whole, cut = Windower(spec), Windower(spec)
    same(
        pushed(cut, sound(length), cuts) + cut.flush(),
        whole.push(sound(length)) + whole.flush(),
    )


@given(specs(), LENGTHS, st.integers(0, 300))
def test_more_sound_never_changes_the_past(spec: EngineSpec, length: int, more: int) -> None:
    before, after = Windower(spec).push(sound(length)), Windower(spec).push(sound(length + more))
    same(after[: len(before)], before)


@given(specs(), LENGTHS, CUTS)
def test_windows_cover_every_frame_once_and_no_hop_more(
    spec: EngineSpec, length: int, cuts: list[int]
) -> None:
    windower = Windower(spec)
    windows = pushed(windower, sound(length), cuts) + windower.flush()
    frames = -(-length // spec.samples_per_frame)
    assert [window.index for window in windows] == list(range(-(-frames // spec.hop_frames)))
    assert all(window.first_frame == window.index * spec.hop_frames for window in windows)
    assert all(window.audio.shape == (spec.window_samples,) for window in windows)


@given(specs(), LENGTHS, st.integers(0, 300), CUTS)
def test_after_a_restart_it_is_as_if_new_from_the_next_frame_on(
    spec: EngineSpec, before: int, after: int, cuts: list[int]
) -> None:
    windower, samples = Windower(spec), sound(before + after)
    windower.push(samples[:before])
    frame = windower.restart()
    start = frame * spec.samples_per_frame
    assert before <= start < before + spec.samples_per_frame
    again = pushed(windower, samples[before:], cuts) + windower.flush()
    fresh = Windower(spec)
    wanted = fresh.push(samples[start:]) + fresh.flush()
    same(again, [Window(w.index, w.first_frame + frame, w.audio) for w in wanted])
