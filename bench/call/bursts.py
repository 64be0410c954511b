"""The sound the end-to-end measurement sends: short "ba" syllables at known times, made from nothing.

In flow onset times; out flow 48 kHz samples. Each syllable opens with the click of its release, so that its
return can be found to a fraction of a millisecond, and goes on as a vowel, so that a mouth moves with it.
Long vowels may follow, to be interrupted: `clear` is due where one ends in the microphone, while the server still
has a third of a second of it to play. Numpy only, deterministic.

Source of the vowel's formants: Peterson & Barney, "Control methods used in a study of the vowels" (1952),
the /ɑ/ of men; the transitions are those of a labial release (Delattre, Liberman & Cooper, 1955).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

MIC_RATE_HZ = 48_000
PACKET_SAMPLES = MIC_RATE_HZ // 100  # 10 ms, what the server asks browsers for

VOWEL_S = 1.2
VOWEL_PERIOD_S = 3.0

_FORMANTS_HZ = ((350.0, 730.0, 90.0), (850.0, 1090.0, 110.0), (2240.0, 2440.0, 170.0))  # start, steady, width
_FORMANT_GAINS = (1.0, 0.5, 0.18)
_TRANSITION_S = 0.03


@dataclass(frozen=True, slots=True)
class BurstPlan:
    """When syllables sound.

    Attributes:
        duration_s: length of the whole track.
        lead_in_s: silence before the first syllable; the server settles in it.
        period_s: mean distance between onsets.
        jitter_s: each onset is moved by up to this much, so that onsets meet every phase of a hop.
        seed: of the jitter.
        grid_samples: onsets lie on multiples of this: on packets by default; 1 lets them meet every phase.
        interruptions: long vowels after `duration_s`.
    """

    duration_s: float
    lead_in_s: float = 3.0
    period_s: float = 1.9
    jitter_s: float = 0.2
    seed: int = 0
    grid_samples: int = PACKET_SAMPLES
    interruptions: int = 0

    def __post_init__(self) -> None:
        if not self.duration_s > self.lead_in_s > 0:
            raise ValueError(
                f"expected a duration above the lead-in of {self.lead_in_s} s, got {self.duration_s} s."
            )
        if not self.period_s > 2 * self.jitter_s >= 0:
            raise ValueError(
                f"expected a period above twice the jitter of {self.jitter_s} s, got {self.period_s} s."
            )

        if self.interruptions < 0 or self.grid_samples < 1:
            raise ValueError(
                f"expected interruptions >= 0 and grid_samples >= 1, got {self.interruptions} and "
                f"{self.grid_samples}."
            )

    @property
    def total_s(self) -> float:
        """Length of the whole track, long vowels included."""
        return self.duration_s + self.interruptions * VOWEL_PERIOD_S

    def vowel_spans(self) -> npt.NDArray[np.int64]:
        """(interruptions, 2): first sample of each long vowel, and the one after its last."""
        starts = np.round((self.duration_s + np.arange(self.interruptions) * VOWEL_PERIOD_S) * MIC_RATE_HZ)
        return np.stack([starts, starts + round(VOWEL_S * MIC_RATE_HZ)], axis=1).astype(np.int64)

    def onset_samples(self) -> npt.NDArray[np.int64]:
        """First sample of every syllable at 48 kHz."""
        room_s = self.duration_s - self.lead_in_s - self.period_s  # the last one has time to come back
        count = max(0, int(room_s // self.period_s) + 1)
        jitter = np.random.default_rng(self.seed).uniform(-self.jitter_s, self.jitter_s, count)
        onsets_s = self.lead_in_s + np.arange(count) * self.period_s + jitter
        return np.round(onsets_s * MIC_RATE_HZ / self.grid_samples).astype(np.int64) * self.grid_samples

    def render(self) -> Float32Array:
        """The whole track, (total_s * 48000,) in [-1, 1], silent between syllables."""
        track = np.zeros(round(self.total_s * MIC_RATE_HZ), dtype=np.float32)
        syllable = make_syllable()
        for onset in self.onset_samples():
            end = min(int(onset) + syllable.size, track.size)
            track[onset:end] = syllable[: end - onset]
        vowel = make_syllable(VOWEL_S) if self.interruptions else syllable
        for start, end in self.vowel_spans():
            track[start:end] = vowel
        return track


def make_syllable(duration_s: float = 0.3, pitch_hz: float = 125.0) -> Float32Array:
    """One "ba": a labial release, then /ɑ/ with falling pitch.

    Args:
        duration_s: its length.
        pitch_hz: pitch at the start; it falls by a fifth of that.

    Returns:
        (duration_s * 48000,) float32, peak 0.6.
    """
    time_s = np.arange(round(duration_s * MIC_RATE_HZ)) / MIC_RATE_HZ
    pitch = pitch_hz * (1.0 - 0.2 * time_s / duration_s)
    phase = 2 * np.pi * np.cumsum(pitch) / MIC_RATE_HZ
    voice = np.zeros_like(time_s)
    for harmonic in range(1, int(4000 / pitch_hz)):
        # A glottal source falls by 12 dB an octave, lips radiate with +6.
        voice += _formant_gain(harmonic * pitch, time_s) / harmonic * np.sin(harmonic * phase)
    voice /= np.abs(voice).max()
    envelope = np.minimum(1.0, time_s / 0.012) * np.clip((duration_s - time_s) / 0.08, 0.0, 1.0)
    noise = np.random.default_rng(1).standard_normal(time_s.size)
    release = noise * np.exp(-time_s / 0.002) * 0.35
    syllable = voice * envelope * 0.8 + release
    loud: Float32Array = (0.6 * syllable / np.abs(syllable).max()).astype(np.float32)
    return loud


def _formant_gain(
    frequency_hz: npt.NDArray[np.float64], time_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """How much the vocal tract passes at each moment: one resonance per formant."""
    moved = np.minimum(1.0, time_s / _TRANSITION_S)
    gain = np.zeros_like(time_s)
    for (start, steady, width), level in zip(_FORMANTS_HZ, _FORMANT_GAINS, strict=True):
        centre = start + (steady - start) * moved
        gain += level / (1.0 + ((frequency_hz - centre) / width) ** 2)
    return gain
