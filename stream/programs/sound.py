"""A program's sound: bytes of a declared form to samples, and those to the 48 kHz of the media timeline.

In: little-endian samples in any pieces. Out: int16 mono, at the program's rate for the backlog and at 48 kHz for
the face, each sample once: n samples become exactly n * 48000 / rate, however they were cut. Event loop only; ten
milliseconds cost some tens of microseconds.

Source: ITU-T G.711 for the two companded forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import av
import numpy as np

from stream.media import RATE_HZ, Int16Array

RATES_HZ: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
FORMS: Final = {"s16le": 2, "f32le": 4, "pcmu": 1, "pcma": 1}
"""Bytes of a sample in each form."""
LOUDEST_FLOAT: Final = 8.0
"""Beyond this a float is no sample that overshoots but an integer in the wrong form."""


@dataclass(frozen=True, slots=True)
class SoundForm:
    """How a program's samples come: mono.

    Raises:
        ValueError: a rate or a form that is not taken.
    """

    rate_hz: int
    form: str = "s16le"

    def __post_init__(self) -> None:
        if self.rate_hz not in RATES_HZ:
            known = ", ".join(map(str, RATES_HZ))
            raise ValueError(
                f"Expected a rate of {known} Hz, got {self.rate_hz}; send the sound at one of these."
            )
        if self.form not in FORMS:
            raise ValueError(f"Expected a format of {', '.join(FORMS)}, got {self.form[:16]!r}.")

    def read(self, data: bytes) -> Int16Array:
        """Samples (n,) int16 of one message.

        Raises:
            ValueError: no whole number of samples, or floats that are no sound.
        """
        size = FORMS[self.form]
        if len(data) % size:
            raise ValueError(
                f"Expected whole samples of {size} bytes ({self.form}), got {len(data)} bytes; cut between samples."
            )
        if self.form == "s16le":
            return np.frombuffer(data, "<i2").astype(np.int16)
        if self.form == "f32le":
            return _of_floats(np.frombuffer(data, "<f4"))
        return _companded(self.form)[np.frombuffer(data, np.uint8)]

    def span_s(self, samples: int) -> float:
        """How long so many of the program's samples last."""
        return samples / self.rate_hz

    def to_media(self, samples: int) -> int:
        """How many samples at 48 kHz the first `samples` of a segment become."""
        return (2 * samples * RATE_HZ + self.rate_hz) // (2 * self.rate_hz)


class Upsampler:
    """One segment's way to 48 kHz, in pieces.

    Args:
        form: whose rate the samples have.
    """

    def __init__(self, form: SoundForm) -> None:
        self._form = form
        self._taken = self._given = 0
        self._resampler = (
            None if form.rate_hz == RATE_HZ else av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        )

    def push(self, pcm: Int16Array) -> Int16Array:
        """(n,) int16 at the program's rate in, (m,) int16 at 48 kHz out; a filter holds some back."""
        self._taken += len(pcm)
        if self._resampler is None or not len(pcm):
            return pcm
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm[None]), format="s16", layout="mono")
        frame.sample_rate = self._form.rate_hz
        return self._counted(self._resampler.resample(frame))

    def finish(self) -> Int16Array:
        """What was held back; with it, exactly `SoundForm.to_media` of all samples have come out."""
        if self._resampler is None or not self._taken:
            return np.zeros(0, np.int16)
        missing = self._form.to_media(self._taken) - self._given
        rest = self._counted(self._resampler.resample(None))[:missing]
        return np.concatenate((rest, np.zeros(missing - len(rest), np.int16)))

    def _counted(self, frames: list[av.AudioFrame]) -> Int16Array:
        parts = [frame.to_ndarray().reshape(-1) for frame in frames]
        out = np.concatenate(parts) if parts else np.zeros(0, np.int16)
        self._given += len(out)
        return np.asarray(out, np.int16)


def _of_floats(values: np.ndarray) -> Int16Array:
    if not np.isfinite(values).all():
        raise ValueError(
            "Expected samples that are numbers, got some that are NaN or infinite; nothing was taken."
        )
    loudest = float(np.abs(values).max(initial=0.0))
    if loudest > LOUDEST_FLOAT:
        raise ValueError(f"Expected float samples between -1 and 1, got one of {loudest:g}; divide by 32768.")
    return np.rint(values * 32768.0).clip(-32768, 32767).astype(np.int16)


@cache
def _companded(form: str) -> Int16Array:
    """What each byte of G.711 stands for, (256,) int16."""
    code = np.arange(256)
    if form == "pcmu":
        code = ~code & 0xFF
        exponent, mantissa = (code >> 4) & 7, code & 15
        size = ((2 * mantissa + 33) << exponent) - 33
        return np.where(code & 0x80, -4 * size, 4 * size).astype(np.int16)
    code = code ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    size = np.where(exponent > 0, (2 * mantissa + 33) << np.maximum(exponent - 1, 0), 2 * mantissa + 1)
    return np.where(code & 0x80, 8 * size, -8 * size).astype(np.int16)
