"""Phone symbols to mouth targets."""

from __future__ import annotations

import pytest

from distill.corpus.speech.phones import ARPABET, PAUSE, Viseme, is_known, is_mark, visemes_of

OPEN, WIDTH, ROUND, TEETH, TONGUE, TUCK = range(6)


def target(symbol: str, engine: str = "espeak") -> tuple[float, ...]:
    return visemes_of(symbol, engine)[0][0].target


@pytest.mark.parametrize("symbol", sorted(ARPABET))
def test_every_arpabet_phone_has_a_shape(symbol: str) -> None:
    parts = visemes_of(symbol, "flite")
    assert sum(share for _, share in parts) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "symbol",
    [
        "ɑː",
        "əl",
        "aɪ",
        "oːɹ",
        "tʃ",
        "dʒ",
        "œ̃",
        "ɲ",
        "pf",
        "tɕ",
        "ɪɹ",
        "a-",
        "i:",
        "tʲ",
        "ç",
        "ɡ",
        "ɔ̃",
        "ᵻ",
        "n̩",
        "kʷ",
        "r",
    ],
)
def test_ipa_variants_are_known(symbol: str) -> None:
    assert is_known(symbol, "espeak")
    assert sum(share for _, share in visemes_of(symbol, "espeak")) == pytest.approx(1.0)


@pytest.mark.parametrize("symbol", ["p", "b", "m", "mʲ", "pʰ"])
def test_lips_close(symbol: str) -> None:
    viseme = visemes_of(symbol, "espeak")[0][0]
    assert viseme.open_cap == 0.0
    assert viseme.target[OPEN] == 0.0


@pytest.mark.parametrize("symbol", ["f", "v"])
def test_lip_is_tucked_under_the_teeth(symbol: str) -> None:
    viseme = visemes_of(symbol, "flite")[0][0]
    assert viseme.tuck_floor > 0.9
    assert viseme.target[TEETH] > 0.7


def test_vowels_follow_the_chart() -> None:
    assert target("i")[OPEN] < target("e")[OPEN] < target("ɛ")[OPEN] < target("a")[OPEN]
    assert target("u")[OPEN] < target("o")[OPEN] < target("ɔ")[OPEN] < target("ɑ")[OPEN]
    assert target("i")[WIDTH] > 0.5 > 0 > target("u")[WIDTH]
    assert target("u")[ROUND] > target("o")[ROUND] > target("ɔ")[ROUND] > target("a")[ROUND] == 0
    assert target("y")[ROUND] > 0.8


def test_engines_agree_on_the_same_sound() -> None:
    assert visemes_of("iy", "flite") == visemes_of("i", "espeak")
    assert visemes_of("aa", "festival") == visemes_of("ɑ", "espeak")
    assert visemes_of("ch", "flite") == visemes_of("tʃ", "espeak")


def test_affricate_is_mostly_its_fricative_and_diphthong_mostly_its_first_vowel() -> None:
    assert [share for _, share in visemes_of("tʃ", "espeak")] == [0.4, 0.6]
    first, second = visemes_of("aɪ", "espeak")
    assert first[1] > second[1]
    assert first[0] == visemes_of("a", "espeak")[0][0]


def test_pause_rests() -> None:
    for engine in ("espeak", "flite"):
        assert visemes_of(PAUSE, engine)[0][0].target == (0.0,) * 6


def test_unknown_symbols_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'qq9'"):
        visemes_of("qq9", "flite")
    with pytest.raises(ValueError, match="'7'"):
        visemes_of("7", "espeak")
    assert not is_known("qq9", "flite")
    assert not is_known("Ж", "espeak")


def test_lone_marks_are_told_from_sounds() -> None:
    assert is_mark("ʲ")
    assert is_mark("")
    assert is_mark("(en)")  # espeak-ng says so where a foreign word begins
    assert not is_known("(en)", "espeak")
    assert not is_mark("tʲ")


def test_targets_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="range of MOUTH_DIMS"):
        Viseme((1.2, 0, 0, 0, 0, 0), (0.5,) * 6)
    with pytest.raises(ValueError, match="Dominance"):
        Viseme((1.0, 0, 0, 0, 0, 0), (1.5,) * 6)
