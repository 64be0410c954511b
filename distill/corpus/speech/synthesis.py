"""One utterance: a `SpeechSpec` in, audio with phone times out, the same for the same spec.

`draw_spec` picks voice, text, rate and pitch by seed and split; `synthesise` speaks it. A spec's `warp`
plays the finished recording faster or slower like a tape, which moves pitch and formants together and so
makes a new speaker out of each voice; phone times move with it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

import numpy as np

from distill.corpus.speech.engines import (
    ENGINES,
    SAMPLE_RATE_HZ,
    FloatArray,
    Phone,
    RawSpeech,
    SpeechEngineError,
    find_engines,
    resample,
    speak_espeak,
    speak_festival,
    speak_flite,
)
from distill.corpus.speech.phones import PAUSE
from distill.corpus.speech.texts import draw_text
from distill.corpus.speech.voices import Voice, voices_of

__all__ = ["SpeechEngineError", "SpeechSpec", "Utterance", "draw_spec", "draw_voice", "synthesise"]

_SHARES: Final = {"espeak": 0.45, "flite": 0.45, "festival": 0.1}
_SPEAK: Final = {"espeak": speak_espeak, "flite": speak_flite, "festival": speak_festival}


@dataclass(frozen=True, slots=True)
class SpeechSpec:
    """What is to be said and how.

    Attributes:
        text, engine, voice, language: see `distill.corpus.speech.voices` and `texts`.
        rate: speed against the voice's own, 0.5..2.
        pitch: -1..1 of the voice's range. liveliness: 0 monotone .. 1 lively.
        warp: tape speed 0.8..1.25; above 1 is higher, quicker, with smaller formant spacing.
    """

    text: str
    engine: str
    voice: str
    language: str
    rate: float = 1.0
    pitch: float = 0.0
    liveliness: float = 0.5
    warp: float = 1.0

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"Expected an engine of {ENGINES}, got {self.engine!r}.")
        if not self.text.strip():
            raise ValueError("Expected a text to speak, got an empty one.")
        bounds = {"rate": (0.5, 2.0), "pitch": (-1.0, 1.0), "liveliness": (0.0, 1.0), "warp": (0.8, 1.25)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"Expected {name} in {low}..{high}, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech with its phones.

    Attributes:
        audio: (N,) float32, 16 kHz, in [-1, 1], silence at both ends cut to at most 30 ms.
        phones: (symbol, start_s, end_s), contiguous from 0; `PAUSE` is silence.
        voice, engine, text, language: as in the spec.
    """

    audio: FloatArray
    phones: tuple[Phone, ...]
    voice: str
    engine: str
    text: str
    language: str


def draw_voice(rng: random.Random, split: str) -> Voice:
    """Return a voice of the split, engines by their shares among those present.

    Raises:
        SpeechEngineError: no engine here has a voice of the split.
    """
    choices = [(name, voices) for name in find_engines() if (voices := voices_of(split, name))]
    if not choices:
        raise SpeechEngineError(f"No engine found here has a voice for split {split!r}; install espeak-ng.")
    weights = [_SHARES[name] for name, _ in choices]
    return rng.choice(rng.choices(choices, weights)[0][1])


def draw_spec(seed: int, split: str, voice: Voice | None = None) -> SpeechSpec:
    """Return the spec number `seed` of the split; with `voice`, spoken by it."""
    rng = random.Random(f"spec/{seed}/{split}")
    voice = voice or draw_voice(rng, split)
    return SpeechSpec(
        text=draw_text(rng.getrandbits(48), split, voice.language),
        engine=voice.engine,
        voice=voice.name,
        language=voice.language,
        rate=round(rng.triangular(0.75, 1.35, 1.0), 3),
        pitch=round(rng.triangular(-1.0, 1.0, 0.0), 3),
        liveliness=round(rng.uniform(0.2, 1.0), 3),
        warp=round(rng.triangular(0.86, 1.16, 1.0), 3),
    )


def synthesise(spec: SpeechSpec) -> Utterance:
    """Speak the spec.

    Raises:
        SpeechEngineError: the engine is missing, lacks the voice, or said nothing.
    """
    raw = _SPEAK[spec.engine](spec.text, spec.voice, spec.rate, spec.pitch, spec.liveliness)
    if not any(symbol != PAUSE for symbol, _, _ in raw.phones) or raw.audio.shape[0] == 0:
        raise SpeechEngineError(f"{spec.engine} said nothing for {spec.text!r} with voice {spec.voice!r}.")
    audio, phones = _trim(_warp(raw, spec.warp))
    return Utterance(audio, phones, spec.voice, spec.engine, spec.text, spec.language)


def _warp(raw: RawSpeech, warp: float) -> RawSpeech:
    audio = resample(raw.audio, SAMPLE_RATE_HZ * warp)
    return RawSpeech(audio, tuple((symbol, start / warp, end / warp) for symbol, start, end in raw.phones))


def _trim(raw: RawSpeech, keep_s: float = 0.03) -> tuple[FloatArray, tuple[Phone, ...]]:
    """Cut silence at both ends to `keep_s` and shift the phones."""
    sounding = [phone for phone in raw.phones if phone[0] != PAUSE]
    first = max(0, int((sounding[0][1] - keep_s) * SAMPLE_RATE_HZ))
    last = min(raw.audio.shape[0], int((sounding[-1][2] + keep_s) * SAMPLE_RATE_HZ))
    shift, length = first / SAMPLE_RATE_HZ, (last - first) / SAMPLE_RATE_HZ
    moved = ((s, max(0.0, start - shift), min(length, end - shift)) for s, start, end in raw.phones)
    return np.ascontiguousarray(raw.audio[first:last]), tuple(p for p in moved if p[2] - p[1] > 1e-6)
