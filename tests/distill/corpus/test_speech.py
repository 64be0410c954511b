"""Speech with the real engines: phone times, splits, the same spec twice."""

from __future__ import annotations

import random

import numpy as np
import pytest

from distill.corpus.speech import engines
from distill.corpus.speech.engines import SpeechEngineError, find_engines, resample
from distill.corpus.speech.phones import PAUSE, is_known
from distill.corpus.speech.synthesis import SpeechSpec, draw_spec, draw_voice, synthesise
from distill.corpus.speech.texts import SPLITS, draw_text, split_of
from distill.corpus.speech.voices import voices_of
from distill.corpus.speech.words import WORDS

SPECS = [
    SpeechSpec("A bottle of fresh milk, and five maps.", "espeak", "en-us+f2", "en-us", 1.1, 0.3, 0.6, 1.05),
    SpeechSpec("Der Möwe gehört das schöne Boot.", "espeak", "de+m3", "de"),
    SpeechSpec("A bottle of fresh milk, and five maps.", "flite", "slt", "en-us", 0.9, -0.4, 0.6, 0.95),
    SpeechSpec("A bottle of fresh milk, and five maps.", "flite", "awb", "en-us"),
    SpeechSpec("A bottle of fresh milk.", "festival", "kal_diphone", "en-us", 1.2, 0.2),
    SpeechSpec("A bottle of fresh milk.", "festival", "cmu_us_slt_arctic_hts", "en-us"),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.engine}-{spec.voice}")
def test_engine_speaks_with_contiguous_known_phones(spec: SpeechSpec) -> None:
    said = synthesise(spec)
    assert said.audio.dtype == np.float32
    assert 1.0 < said.audio.shape[0] / 16000 < 8.0
    assert 0.02 < np.abs(said.audio).max() <= 1.2
    assert said.phones[0][1] == 0.0
    assert all(a[2] == pytest.approx(b[1], abs=1e-6) for a, b in zip(said.phones[:-1], said.phones[1:]))
    assert said.phones[-1][2] == pytest.approx(said.audio.shape[0] / 16000, abs=0.02)
    assert all(is_known(symbol, spec.engine) for symbol, _, _ in said.phones)
    assert sum(symbol != PAUSE for symbol, _, _ in said.phones) > 8


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[2], SPECS[4]], ids=lambda spec: spec.engine)
def test_same_spec_same_speech(spec: SpeechSpec) -> None:
    first, second = synthesise(spec), synthesise(spec)
    np.testing.assert_array_equal(first.audio, second.audio)
    assert first.phones == second.phones


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[2], SPECS[4]], ids=lambda spec: spec.engine)
def test_phone_times_fit_the_sound(spec: SpeechSpec) -> None:
    """The hiss of s lies where the phones say: its high band is strong inside and weak in vowels."""
    said = synthesise(SpeechSpec("Sasa sasa. Asa sa.", spec.engine, spec.voice, spec.language))
    hiss, voiced = [], []
    for symbol, start, end in said.phones:
        piece = said.audio[
            int((start + 0.25 * (end - start)) * 16000) : int((end - 0.25 * (end - start)) * 16000)
        ]
        power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
        split_bin = round(3500 * len(piece) / 16000)
        share = power[split_bin:].sum() / (power.sum() + 1e-12)
        if symbol == "s":
            hiss.append(share)
        elif symbol != PAUSE:
            voiced.append(share)
    assert len(hiss) >= 4
    assert np.median(hiss) > 0.5
    assert np.median(voiced) < 0.2


def test_rate_and_warp_change_the_length() -> None:
    def seconds(**change: float) -> float:
        return synthesise(
            SpeechSpec("My brother paints the map.", "flite", "rms", "en-us", **change)
        ).audio.shape[0]

    assert seconds(rate=1.3) < 0.9 * seconds()
    assert seconds(warp=1.2) == pytest.approx(seconds() / 1.2, rel=0.02)


def test_wrong_specs_are_refused() -> None:
    with pytest.raises(ValueError, match="engine"):
        SpeechSpec("hello", "mbrola", "x", "en")
    with pytest.raises(ValueError, match="empty"):
        SpeechSpec(" ", "flite", "slt", "en")
    with pytest.raises(ValueError, match="rate"):
        SpeechSpec("hello", "flite", "slt", "en", rate=5.0)


def test_missing_voice_and_missing_engines_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpeechEngineError, match="espeak-ng"):
        synthesise(SpeechSpec("hello", "espeak", "xx-none", "en"))
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    monkeypatch.setattr(engines.ctypes.util, "find_library", lambda name: None)
    find_engines.cache_clear()
    with pytest.raises(SpeechEngineError, match="festvox-us-slt-hts"):
        find_engines()
    find_engines.cache_clear()


def test_splits_share_no_voice() -> None:
    owned = {s: {(v.engine, v.name) for e in engines.ENGINES for v in voices_of(s, e)} for s in SPLITS}
    for a in SPLITS:
        assert owned[a]
        for b in SPLITS:
            assert a == b or not owned[a] & owned[b]
    # Held out by speaker, not only by pair of language and variant.
    variants = {s: {name.split("+")[-1] for engine, name in owned[s] if engine == "espeak"} for s in SPLITS}
    assert not variants["train"] & variants["test"]
    assert not variants["train"] & variants["validation"]


@pytest.mark.parametrize("language", sorted(WORDS))
def test_texts_belong_to_their_split_and_vary(language: str) -> None:
    for split in SPLITS:
        texts = [draw_text(seed, split, language) for seed in range(60)]
        assert all(split_of(text) == split for text in texts)
        assert len(set(texts)) > 50
    assert draw_text(3, "train", language) == draw_text(3, "train", language)


def test_case_and_punctuation_do_not_change_the_split() -> None:
    assert split_of("The old boat, moves!") == split_of("the OLD boat moves.")


def test_unknown_split_and_language_are_refused() -> None:
    with pytest.raises(ValueError, match="split"):
        draw_text(0, "dev", "en")
    with pytest.raises(ValueError, match="language"):
        draw_text(0, "train", "xx")
    with pytest.raises(ValueError, match="split"):
        voices_of("dev", "espeak")


def test_drawn_specs_are_deterministic_and_use_every_engine() -> None:
    assert draw_spec(7, "train") == draw_spec(7, "train")
    rng = random.Random(0)
    assert {draw_voice(rng, "train").engine for _ in range(200)} == set(find_engines())


def test_resampling_keeps_tone_level_and_place() -> None:
    time_s = np.arange(22050) / 22050
    tone = (0.5 * np.sin(2 * np.pi * 440 * time_s) * np.hanning(22050)).astype(np.float32)
    out = resample(tone, 22050)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000) * np.hanning(16000)
    assert out.shape == (16000,)
    np.testing.assert_allclose(out, wanted, atol=5e-4)
    assert resample(tone[:0], 22050).shape == (0,)


def test_change_of_language_and_glitches_are_no_phones() -> None:
    starts = [("a", 0.1), ("(en)", 0.2), ("ʲ", 0.21), ("b", 0.3), ("", 0.4), ("", 0.44), ("o", 0.9)]
    assert engines._phones_from_starts(starts, 1.0) == (
        (PAUSE, 0.0, 0.1),
        ("a", 0.1, 0.3),
        ("b", 0.3, 0.44),
        (PAUSE, 0.44, 0.9),
        ("o", 0.9, 1.0),
    )
