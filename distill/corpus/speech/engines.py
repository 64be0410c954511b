"""The three speech engines: text in, 16 kHz audio and phone times out.

Each function runs one utterance in a child process (so results depend on the request alone and nothing
native is loaded here) and returns `RawSpeech`. Which engines exist is found at run time; where none is
found, `find_engines` says which Debian packages to install.
"""

from __future__ import annotations

import ctypes.util
import functools
import io
import json
import shutil
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from distill.corpus.speech.phones import PAUSE, is_mark

SAMPLE_RATE_HZ: Final = 16_000
ENGINES: Final = ("espeak", "flite", "festival")
PACKAGES: Final = "espeak-ng, flite, festival, festvox-kallpc16k, festvox-us-slt-hts"
_TIMEOUT_S: Final = 60.0
_SILENT_GLITCH_S: Final = 0.06

FloatArray = npt.NDArray[np.float32]
Phone = tuple[str, float, float]


class SpeechEngineError(RuntimeError):
    """A speech engine is missing or failed; the message says what to install or which request failed."""


@dataclass(frozen=True, slots=True)
class RawSpeech:
    """`audio` (N,) float32 at 16 kHz in [-1, 1] and its `phones` (symbol, start_s, end_s), contiguous."""

    audio: FloatArray
    phones: tuple[Phone, ...]


@functools.cache
def find_engines() -> tuple[str, ...]:
    """Return the names of the engines present here, in the order of `ENGINES`.

    Raises:
        SpeechEngineError: none is present.
    """
    present = {
        "espeak": ctypes.util.find_library("espeak-ng") is not None,
        "flite": shutil.which("flite") is not None,
        "festival": shutil.which("festival") is not None,
    }
    found = tuple(name for name in ENGINES if present[name])
    if not found:
        raise SpeechEngineError(f"No speech engine was found; install Debian packages: {PACKAGES}.")
    return found


def resample(audio: FloatArray, from_hz: float, to_hz: int = SAMPLE_RATE_HZ) -> FloatArray:
    """Band-limited resampling of a whole signal (N,) by its spectrum; returns (round(N * to / from),)."""
    count = audio.shape[0]
    wanted = max(1, round(count * to_hz / from_hz))
    if wanted == count or count == 0:
        return audio
    # Silence at the end keeps the transform from wrapping the ends into each other; its length is the one
    # for which the resampled length is nearest to a whole number, so that time is not stretched.
    lengths = np.arange(count + 512, count + 1536)
    exact = lengths * (to_hz / from_hz)
    best = int(np.abs(exact - np.round(exact)).argmin())
    padded, out = int(lengths[best]), max(wanted, round(float(exact[best])))
    spectrum = np.fft.rfft(audio, padded)
    bins = out // 2 + 1
    if bins <= spectrum.shape[0]:
        spectrum = spectrum[:bins]
    else:
        spectrum = np.pad(spectrum, (0, bins - spectrum.shape[0]))
    return np.asarray(np.fft.irfft(spectrum, out)[:wanted] * (out / padded), dtype=np.float32)


def speak_espeak(text: str, voice: str, rate: float, pitch: float, liveliness: float) -> RawSpeech:
    """Speak by espeak-ng's library. `voice` is `language+variant`; rate 1 = 165 words a minute."""
    request = {
        "text": text,
        "voice": voice,
        "rate_wpm": round(165 * rate),
        "pitch": round(50 + 30 * pitch),
        "pitch_range": round(20 + 60 * liveliness),
    }
    child = Path(__file__).with_name("espeak_child.py")
    command = [sys.executable, "-I", "-S", str(child)]
    output = _run(command, json.dumps(request).encode(), f"espeak-ng voice {voice!r}")
    line, _, pcm = output.partition(b"\n")
    header = json.loads(line)
    if header["error"]:
        raise SpeechEngineError(header["error"] + "; install Debian packages espeak-ng and espeak-ng-data.")
    rate_hz = header["sample_rate_hz"]
    audio = _from_pcm(pcm)
    starts = [(name, sample / rate_hz) for name, sample in header["events"]]
    phones = _phones_from_starts(starts, audio.shape[0] / rate_hz)
    return RawSpeech(resample(audio, rate_hz), phones)


def speak_flite(text: str, voice: str, rate: float, pitch: float, liveliness: float) -> RawSpeech:
    """Speak by flite (voices kal16, awb, rms, slt); pitch -1..1 moves the voice's mean pitch by ±25%."""
    mean_hz = {"kal16": 105.0, "awb": 130.0, "rms": 105.0, "slt": 175.0}.get(voice, 120.0)
    with tempfile.TemporaryDirectory(prefix="fada-flite-") as folder:
        out = Path(folder) / "speech.wav"
        settings = [
            "--setf",
            f"duration_stretch={1 / rate:.3f}",
            "--setf",
            f"int_f0_target_mean={mean_hz * (1 + 0.25 * pitch):.1f}",
            "--setf",
            f"int_f0_target_stddev={8 + 22 * liveliness:.1f}",
        ]
        command = ["flite", "-voice", voice, *settings, "-psdur", "-t", text, "-o", str(out)]
        report = _run(command, b"", f"flite voice {voice!r}").decode("utf-8", "replace")
        audio, rate_hz = _read_wav(out.read_bytes())
    ends = [item.rsplit(":", 1) for item in report.split() if ":" in item]
    phones = _phones_from_ends([(name, float(end)) for name, end in ends])
    return RawSpeech(resample(audio, rate_hz), phones)


_FESTIVAL_PITCH: Final = {
    "kal_diphone": "(set! int_lr_params '((target_f0_mean {mean}) (target_f0_std {std})"
    " (model_f0_mean 170) (model_f0_std 34)))",
    "cmu_us_slt_arctic_hts": "",
}


def speak_festival(text: str, voice: str, rate: float, pitch: float, liveliness: float) -> RawSpeech:
    """Speak by festival (voices kal_diphone, cmu_us_slt_arctic_hts); pitch acts on the diphone voice only."""
    plain = text.replace("\\", " ").replace('"', " ")
    pitch_lines = _FESTIVAL_PITCH.get(voice, "").format(
        mean=round(105 * (1 + 0.25 * pitch)), std=round(8 + 14 * liveliness)
    )
    with tempfile.TemporaryDirectory(prefix="fada-festival-") as folder:
        wav, segments, script = (Path(folder) / name for name in ("a.wav", "a.seg", "a.scm"))
        script.write_text(
            f"(voice_{voice})\n{pitch_lines}\n(Parameter.set 'Duration_Stretch {1 / rate:.3f})\n"
            f'(set! u (SynthText "{plain}"))\n'
            f'(utt.save.wave u "{wav}" \'riff)\n(utt.save.segs u "{segments}")\n',
            encoding="utf-8",
        )
        # festival's default heap takes longer to clear than the sentence takes to speak.
        _run(["festival", "--heap", "1000000", "-b", str(script)], b"", f"festival voice {voice!r}")
        if not (wav.exists() and segments.exists()):
            raise SpeechEngineError(
                f"festival wrote nothing for voice {voice!r}; install Debian packages festival,"
                " festvox-kallpc16k and festvox-us-slt-hts."
            )
        audio, rate_hz = _read_wav(wav.read_bytes())
        lines = [line.split() for line in segments.read_text(encoding="utf-8").splitlines()]
    phones = _phones_from_ends([(parts[2], float(parts[0])) for parts in lines if len(parts) == 3])
    return RawSpeech(resample(audio, rate_hz), phones)


def _run(command: list[str], data: bytes, what: str) -> bytes:
    """Run a child process and return its standard output; raise SpeechEngineError where it fails."""
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SpeechEngineError(f"{what} could not run: {error}. Debian packages: {PACKAGES}.") from error
    if done.returncode != 0:
        tail = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise SpeechEngineError(f"{what} failed with exit code {done.returncode}: {tail}")
    return done.stdout


def _read_wav(data: bytes) -> tuple[FloatArray, int]:
    """Return (mono float32 audio (N,), rate in Hz) of a 16-bit mono WAV file."""
    with wave.open(io.BytesIO(data)) as file:
        pcm = file.readframes(file.getnframes())
        rate_hz = file.getframerate()
    return _from_pcm(pcm), rate_hz


def _from_pcm(pcm: bytes) -> FloatArray:
    """16-bit little-endian samples as float32 in [-1, 1)."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) * np.float32(1 / 32768)


def _phones_from_starts(starts: list[tuple[str, float]], end_s: float) -> tuple[Phone, ...]:
    """Turn (name, start) into contiguous phones. A nameless event is a pause, or, if very short, a glitch
    (palatalisation, glottal catch) that lengthens the phone before it."""
    phones: list[Phone] = []
    if starts and starts[0][1] > 0:
        phones.append((PAUSE, 0.0, starts[0][1]))
    bounds = [start for _, start in starts[1:]] + [end_s]
    for (name, start), end in zip(starts, bounds, strict=True):
        if end <= start:
            continue
        after_sound = bool(phones) and phones[-1][0] != PAUSE
        if after_sound and is_mark(name) and (name or end - start < _SILENT_GLITCH_S):
            before = phones.pop()
            phones.append((before[0], before[1], end))
        else:
            phones.append((PAUSE if is_mark(name) else name, start, end))
    return tuple(phones)


def _phones_from_ends(ends: list[tuple[str, float]]) -> tuple[Phone, ...]:
    """Turn (name, end) into contiguous phones; pau, sil and ssil become `PAUSE`."""
    phones: list[Phone] = []
    start = 0.0
    for name, end in ends:
        if end > start:
            phones.append((PAUSE if name in {"pau", "sil", "ssil", "h#", "#"} else name, start, end))
            start = end
    return tuple(phones)
