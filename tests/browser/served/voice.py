"""A voice for the browser's fake microphone: some speech, some silence, as a WAV file.

In: a path. Out: 16-bit mono at 48 kHz. Speech comes from espeak-ng where it is installed; otherwise buzzing
vowels are drawn by formula, so that the tests need nothing of the system for it.
"""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

RATE_HZ: Final = 48_000
SENTENCE: Final = (
    "Good evening, and thank you for opening the window. We would move all the boats before noon."
)
_VOWEL_FORMANTS_HZ: Final = ((730, 1090), (270, 2290), (300, 870), (530, 1840))
_PITCH_HZ: Final = 120

Float32Array = npt.NDArray[np.float32]


def draw_vowels(seconds: float) -> Float32Array:
    """Syllables of a buzzing voice.

    Args:
        seconds: length.

    Returns:
        (N,) float32 in [-1, 1] at 48 kHz; four syllables a second.
    """
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = np.zeros_like(t)
    syllable = (t * 4).astype(int) % len(_VOWEL_FORMANTS_HZ)
    for harmonic in range(1, 30):
        frequency = harmonic * _PITCH_HZ
        gains = np.array(
            [sum(np.exp(-(((frequency - f) / 150) ** 2)) for f in pair) for pair in _VOWEL_FORMANTS_HZ]
        )
        sound += (gains[syllable] + 0.02) * np.sin(2 * np.pi * frequency * t) / harmonic**0.5
    sound *= np.sin(np.pi * (t * 4 % 1)) ** 0.5
    loud: Float32Array = (0.4 * sound / np.abs(sound).max()).astype(np.float32)
    return loud


def _speak(path: Path) -> Float32Array | None:
    """The sentence in espeak-ng's voice at 48 kHz, or None where the program is missing."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    subprocess.run([program, "-s", "150", "-w", str(path), SENTENCE], check=True, capture_output=True)
    with wave.open(str(path), "rb") as file:
        rate_hz = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32) / 32768
    at = np.arange(round(len(samples) * RATE_HZ / rate_hz)) * rate_hz / RATE_HZ
    return (0.6 * np.interp(at, np.arange(len(samples)), samples)).astype(np.float32)


def write_voice(path: Path, silence_s: float = 3.0) -> Path:
    """Writes speech followed by silence; the browser plays it round and round.

    Args:
        path: of the WAV file to write.
        silence_s: length of the silence.

    Returns:
        `path`.
    """
    spoken = _speak(path)
    samples = draw_vowels(4.0) if spoken is None else spoken
    quiet = np.zeros(round(silence_s * RATE_HZ), dtype=np.float32)
    pcm = (np.concatenate([samples, quiet]) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.tobytes())
    return path
