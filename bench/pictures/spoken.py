"""A spoken sentence for a microphone that is a file.

In: a text. Out: a WAV file of 16-bit mono at 48 kHz, with quiet before and after.
"""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np

RATE_HZ = 48_000
SPEAKER = "espeak-ng"


def write_spoken(path: Path, text: str, quiet_s: tuple[float, float], length_s: float | None = None) -> float:
    """Speak a text into a file.

    Args:
        path: the WAV file.
        text: what is said.
        quiet_s: silence before and after.
        length_s: the file's whole length, for one that goes round and round; None takes what it needs.

    Returns:
        The file's length in seconds.

    Raises:
        RuntimeError: no espeak-ng here.
        ValueError: the text takes longer than ``length_s``.
    """
    if shutil.which(SPEAKER) is None:
        raise RuntimeError(f"expected {SPEAKER} to speak the sentence, found none; `make test` installs it.")
    subprocess.run([SPEAKER, "-v", "en-gb", "-s", "165", "-w", str(path), text], check=True)
    with wave.open(str(path)) as file:
        rate_hz = file.getframerate()
        spoken = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32)
    count = len(spoken) * RATE_HZ // rate_hz
    samples = np.interp(np.arange(count) * rate_hz / RATE_HZ, np.arange(len(spoken)), spoken)
    whole = np.concatenate(
        [np.zeros(round(quiet_s[0] * RATE_HZ)), samples, np.zeros(round(quiet_s[1] * RATE_HZ))]
    )
    if length_s is not None:
        missing = round(length_s * RATE_HZ) - len(whole)
        if missing < 0:
            raise ValueError(
                f"expected a text of at most {length_s} s, this one takes {len(whole) / RATE_HZ:.1f}."
            )
        whole = np.concatenate([whole, np.zeros(missing)])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(whole.astype("<i2").tobytes())
    return len(whole) / RATE_HZ
