"""Tracks from phones: alignment, closures, tucks, rest."""

from __future__ import annotations

import numpy as np
import pytest

from distill.corpus.speech.mouth_track import (
    loudness,
    mouth_track,
    mouth_track_100hz,
    speaking_frames,
    to_frames,
)
from distill.corpus.speech.phones import PAUSE

OPEN, WIDTH, ROUND, TEETH, TONGUE, TUCK = range(6)
Timed = tuple[str, str, float, float]


def spell(symbols: str, start_s: float = 0.5, each_s: float = 0.1) -> list[Timed]:
    """Phones one after another, IPA, equally long; a space is a pause."""
    return [
        (PAUSE if s == " " else s, "espeak", start_s + n * each_s, start_s + (n + 1) * each_s)
        for n, s in enumerate(symbols)
    ]


def loud(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)


def test_shape_range_and_rest_before_and_after() -> None:
    mouth = mouth_track(spell("tapimufa"), loud(3), 75)
    assert mouth.shape == (75, 6)
    assert mouth.dtype == np.float32
    assert np.all(mouth[:, [0, 2, 3, 4, 5]] >= 0)
    assert np.all(np.abs(mouth) <= 1)
    assert not mouth[: int(0.36 * 25)].any()  # before the lips prepare
    assert not mouth[int(1.56 * 25) :].any()  # after they have come to rest


def test_silence_is_exactly_rest() -> None:
    assert not mouth_track([], loud(2), 50).any()
    assert not mouth_track([(PAUSE, "flite", 0.0, 2.0)], loud(2), 50).any()


@pytest.mark.parametrize("stop", ["p", "b", "m"])
@pytest.mark.parametrize("shift_s", [0.0, 0.01, 0.02, 0.03])
def test_closure_is_seen_wherever_frames_fall(stop: str, shift_s: float) -> None:
    phones = spell(f"a{stop}a", 0.4 + shift_s, 0.09)
    mouth = mouth_track(phones, loud(2), 50)
    first, last = int((0.4 + shift_s) * 25), int((0.7 + shift_s) * 25)
    inside = mouth[first:last, OPEN]
    dip = inside[1:-1].min()
    assert dip < 0.12
    assert inside.max() > 0.55
    exact = mouth_track_100hz(phones, loud(2), 200)
    middle = round((0.4 + shift_s + 0.13) * 100)
    assert exact[middle, OPEN] == pytest.approx(0.0, abs=1e-9)


def test_frame_is_the_mean_of_its_forty_milliseconds() -> None:
    track = np.arange(8 * 6, dtype=np.float64).reshape(8, 6)
    np.testing.assert_allclose(to_frames(track), [track[:4].mean(0), track[4:].mean(0)])


def test_vowel_is_open_during_its_own_time() -> None:
    mouth = mouth_track([("a", "espeak", 1.0, 1.2)], loud(2), 50)
    assert 25 <= int(mouth[:, OPEN].argmax()) < 30
    assert mouth[:, OPEN].max() > 0.7


def test_lips_prepare_rounding_before_the_vowel() -> None:
    track = mouth_track_100hz([("t", "espeak", 0.5, 0.6), ("u", "espeak", 0.6, 0.8)], loud(1.5), 150)
    assert track[57, ROUND] > 0.3  # 30 ms before the vowel
    assert track[70, ROUND] > 0.7
    assert track[70, WIDTH] < -0.4


def test_tuck_and_tongue() -> None:
    track = mouth_track_100hz(spell("afala", each_s=0.1), loud(1.5), 150)
    assert track[65, TUCK] > 0.9
    assert track[65, OPEN] < 0.3
    assert track[85, TONGUE] > 0.5


def test_quiet_vowels_open_less() -> None:
    audio = loud(3)
    audio[:24000] *= 0.1
    mouth = mouth_track([("a", "espeak", 0.7, 0.9), ("a", "espeak", 2.0, 2.2)], audio, 75)
    assert mouth[:37, OPEN].max() < 0.9 * mouth[38:, OPEN].max()
    assert mouth[:37, OPEN].max() > 0.4


def test_longer_audio_and_no_audio_are_fine() -> None:
    assert mouth_track(spell("ama"), np.zeros(0, np.float32), 30).shape == (30, 6)
    assert mouth_track(spell("ama"), loud(9), 30).shape == (30, 6)


def test_nothing_jumps() -> None:
    track = mouth_track_100hz(spell("tapimufalonepisuwabe", each_s=0.08), loud(3), 300)
    assert np.abs(np.diff(track, axis=0)).max() < 0.4


def test_loudness_is_between_soft_and_loud() -> None:
    audio = loud(2)
    audio[16000:] = 0
    level = loudness(audio, 200)
    assert level.shape == (200,)
    assert level[:90].mean() > 0.8
    assert level[110:].max() == 0.0


def test_speaking_bridges_short_gaps_only() -> None:
    phones = [("a", "espeak", 0.4, 0.8), ("a", "espeak", 0.9, 1.2), ("a", "espeak", 1.6, 2.0)]
    speaking = speaking_frames(phones, 60)
    assert not speaking[:10].any()
    assert speaking[10:30].all()
    assert not speaking[31:39].any()
    assert speaking[40:50].all()
    assert not speaking[50:].any()
