"""What microphones and rooms do to speech, and sounds that are not speech.

In: clean audio (N,) float32 at 16 kHz and a seeded generator. Out: the same length, augmented, with a list
of what was done. Every function keeps time: nothing is delayed by more than a few milliseconds, so the
mouth still fits. Pure functions of NumPy arrays, any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from models.face import SAMPLE_RATE_HZ

FloatArray = npt.NDArray[np.float32]
Rng = np.random.Generator

_NOISE_SLOPES: Final = {"white": 0.0, "pink": 0.5, "brown": 1.0}


def fast_length(count: int) -> int:
    """Smallest length of at least `count` with no prime factor above 5, where transforms are quick."""
    best = 1 << max(0, count - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            best = min(best, three << max(0, -(-count // three) - 1).bit_length())
            three *= 3
        five *= 5
    return best


def coloured_noise(rng: Rng, count: int, slope: float) -> FloatArray:
    """Noise (count,) of unit rms whose amplitude falls as frequency ** -slope."""
    length = fast_length(count)
    spectrum = rng.standard_normal(length // 2 + 1) + 1j * rng.standard_normal(length // 2 + 1)
    bins = np.maximum(np.arange(length // 2 + 1), max(1, round(40 * length / SAMPLE_RATE_HZ)))
    return _unit(np.fft.irfft(spectrum * bins ** (-slope), length)[:count])


def room_response(rng: Rng, decay_s: float, strength: float) -> FloatArray:
    """A room's impulse response: the direct sound first, early reflections, an exponential tail."""
    count = int(min(decay_s * 1.2, 0.9) * SAMPLE_RATE_HZ) + 1
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(count) * np.exp(-6.9 * time_s / decay_s)
    tail[: int(0.012 * SAMPLE_RATE_HZ)] = 0.0
    response = strength * 0.35 * tail / max(1e-9, float(np.sqrt((tail**2).sum())))
    for _ in range(int(rng.integers(3, 9))):
        at = int(rng.uniform(0.0015, 0.03) * SAMPLE_RATE_HZ)
        if at < count:
            response[at] += strength * rng.uniform(-0.35, 0.35)
    response[0] = 1.0
    return response.astype(np.float32)


def convolve(audio: FloatArray, response: FloatArray) -> FloatArray:
    """Causal convolution, cut to the audio's length."""
    count = fast_length(audio.shape[0] + response.shape[0])
    out = np.fft.irfft(np.fft.rfft(audio, count) * np.fft.rfft(response, count), count)
    return out[: audio.shape[0]].astype(np.float32)


def equalise(audio: FloatArray, rng: Rng, low_hz: float, high_hz: float, ripple_db: float) -> FloatArray:
    """Band-pass with soft edges and a smooth random tilt and ripple, zero phase."""
    count = fast_length(audio.shape[0] + 1024)
    hz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE_HZ)
    gain = 1 / (1 + (low_hz / np.maximum(hz, 1.0)) ** 6) / (1 + (hz / high_hz) ** 10)
    octave = np.log2(np.maximum(hz, 50.0) / 1000.0)
    ripple = sum(rng.normal() * np.sin(octave * k * 1.1 + rng.uniform(0, 6.3)) / k for k in (1, 2, 3))
    gain *= 10 ** (ripple_db * ripple / 20)
    return np.fft.irfft(np.fft.rfft(audio, count) * gain, count)[: audio.shape[0]].astype(np.float32)


def soft_clip(audio: FloatArray, drive: float) -> FloatArray:
    """Saturate like an overdriven input; drive 1 hardly, 6 strongly. Peaks keep their size."""
    peak = max(1e-6, float(np.abs(audio).max()))
    return np.asarray(peak * np.tanh(drive * audio / peak) / np.tanh(drive), np.float32)


def quantise(audio: FloatArray, rng: Rng, bits: int) -> FloatArray:
    """Companded quantisation as in telephone codecs (mu-law, 5..8 bits)."""
    mu = 255.0
    peak = max(1e-6, float(np.abs(audio).max()))
    bent = np.sign(audio) * np.log1p(mu * np.abs(audio) / peak) / np.log1p(mu)
    levels = 2.0 ** (bits - 1)
    bent = np.round(bent * levels + rng.uniform(-0.3, 0.3, audio.shape)) / levels
    return np.asarray(np.sign(bent) * np.expm1(np.abs(bent) * np.log1p(mu)) / mu * peak, np.float32)


def hum(rng: Rng, count: int) -> FloatArray:
    """Mains hum of unit rms: 50 or 60 Hz with harmonics."""
    base = rng.choice((50.0, 60.0)) * (1 + rng.normal() * 0.002)
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    waves = [np.sin(2 * np.pi * base * k * time_s + rng.uniform(0, 6.3)) / k ** rng.uniform(0.5, 1.5)
             for k in range(1, 9)]  # fmt: skip
    return _unit(np.sum(waves, axis=0))


def clicks(rng: Rng, count: int) -> FloatArray:
    """Keyboard or mouse clicks: short resonant bursts in flurries, peak about 1."""
    out = np.zeros(count)
    at = rng.uniform(0, 0.4)
    while at < count / SAMPLE_RATE_HZ:
        length = int(rng.uniform(0.006, 0.035) * SAMPLE_RATE_HZ)
        time_s = np.arange(length) / SAMPLE_RATE_HZ
        burst = rng.standard_normal(length) * np.exp(-time_s * rng.uniform(150, 600))
        burst += 0.5 * np.sin(2 * np.pi * rng.uniform(700, 4500) * time_s) * np.exp(-time_s * 300)
        _add(out, burst * rng.uniform(0.3, 1.0), int(at * SAMPLE_RATE_HZ))
        at += rng.uniform(0.07, 0.25) if rng.random() < 0.85 else rng.uniform(0.4, 1.2)
    return (out / max(1.0, float(np.abs(out).max()))).astype(np.float32)


def breath(rng: Rng, length_s: float) -> FloatArray:
    """One breath: band-passed noise that swells and fades, peak about 1."""
    count = int(length_s * SAMPLE_RATE_HZ)
    noise = equalise(
        coloured_noise(rng, count, 0.2), rng, rng.uniform(250, 600), rng.uniform(2500, 5500), 3.0
    )
    shape = np.sin(np.pi * np.linspace(0, 1, count) ** rng.uniform(0.7, 1.4)) ** 1.5
    return _peak(noise * shape)


def cough(rng: Rng) -> FloatArray:
    """One cough-like or knock-like burst: sharp onset, noisy voiced decay, peak about 1."""
    count = int(rng.uniform(0.15, 0.4) * SAMPLE_RATE_HZ)
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    noise = coloured_noise(rng, count, rng.uniform(0.1, 0.7)) * np.exp(-time_s * rng.uniform(10, 30))
    rough = 1 + 0.6 * np.sign(np.sin(2 * np.pi * rng.uniform(90, 220) * time_s))
    return _peak(noise * rough * np.minimum(1.0, time_s / 0.004))


def tones(rng: Rng, count: int) -> FloatArray:
    """Music-like notes: harmonic tones of a pentatonic scale with soft attacks, peak about 1."""
    out = np.zeros(count)
    at, base = 0.0, rng.uniform(110, 330)
    while at < count / SAMPLE_RATE_HZ:
        length_s = rng.choice((0.2, 0.3, 0.4, 0.6, 1.2))
        time_s = np.arange(int(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        for step in rng.choice((0, 2, 4, 7, 9, 12, 16), size=int(rng.integers(1, 4)), replace=False):
            note = base * 2 ** (step / 12)
            wave = sum(np.sin(2 * np.pi * note * k * time_s) / k**1.4 for k in range(1, 6))
            _add(out, wave * np.exp(-time_s * rng.uniform(1, 6)) * np.minimum(1, time_s / 0.01),
                 int(at * SAMPLE_RATE_HZ))  # fmt: skip
        at += length_s * rng.choice((0.5, 1.0, 1.0))
    return _peak(out)


def level_dbfs(audio: FloatArray) -> float:
    """Level of the sounding part: rms in dBFS of the 20 ms pieces within 25 dB of the loudest."""
    step = SAMPLE_RATE_HZ // 50
    power = (audio[: audio.shape[0] // step * step].reshape(-1, step).astype(np.float64) ** 2).mean(1)
    if power.size == 0 or power.max() < 1e-10:
        return -100.0
    return float(10 * np.log10(power[power > power.max() * 10**-2.5].mean()))


def set_level(audio: FloatArray, dbfs: float) -> FloatArray:
    """Scale so that `level_dbfs` becomes `dbfs`; silence stays."""
    level = level_dbfs(audio)
    return audio if level <= -100.0 else (audio * 10 ** ((dbfs - level) / 20)).astype(np.float32)


def augment(
    clean: FloatArray, rng: Rng, quality: str, babble: Callable[[], FloatArray] | None = None
) -> tuple[FloatArray, list[str]]:
    """Return clean speech as a microphone would give it, and the names of what was done.

    Args:
        clean: (N,) float32.
        rng: seeded generator; decides everything.
        quality: "high" (light room, SNR 25..50 dB) or "moderate" (heavy: SNR 3..25 dB, narrow bands,
            clipping, codecs).
        babble: returns (N,) other people's speech, called only if babble is drawn.

    Raises:
        ValueError: unknown quality.
    """
    if quality not in {"high", "moderate"}:
        raise ValueError(f"Expected quality 'high' or 'moderate', got {quality!r}.")
    hard = quality == "moderate"
    done: list[str] = []
    audio = set_level(clean, -20.0)
    if rng.random() < (0.8 if hard else 0.45):
        decay_s = rng.uniform(0.15, 0.7 if hard else 0.4)
        audio = convolve(audio, room_response(rng, decay_s, rng.uniform(0.2, 1.0 if hard else 0.6)))
        done.append(f"room {decay_s:.2f} s")
    if rng.random() < (0.9 if hard else 0.6):
        low, high, name = _band(rng, hard)
        audio = equalise(audio, rng, low, high, rng.uniform(0.5, 4.0))
        done.append(name)
    if rng.random() < (0.95 if hard else 0.7):
        snr_db = rng.uniform(3, 25) if hard else rng.uniform(25, 50)
        noise, name = _noise(rng, audio.shape[0], babble if hard else None)
        audio = audio + set_level(noise, level_dbfs(audio) - snr_db)
        done.append(f"{name} {snr_db:.0f} dB")
    if hard and rng.random() < 0.3:
        audio = soft_clip(audio, rng.uniform(1.5, 6.0))
        done.append("clip")
    if hard and rng.random() < 0.25:
        audio = quantise(audio, rng, int(rng.integers(5, 9)))
        done.append("codec")
    gain_db = rng.uniform(-20.0, 6.0) if hard else rng.uniform(-12.0, 4.0)
    audio = np.clip(set_level(audio, -20.0 + gain_db), -1.0, 1.0).astype(np.float32)
    return audio, [*done, f"gain {gain_db:.0f} dB"]


NON_SPEECH: Final = ("silence", "room noise", "hum", "breaths", "coughs", "keyboard", "tones")


def non_speech(rng: Rng, count: int, kind: str) -> FloatArray:
    """Return (count,) of a sound during which the mouth rests.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in NON_SPEECH:
        raise ValueError(f"Expected a kind of {NON_SPEECH}, got {kind!r}.")
    if kind == "silence":
        return np.zeros(count, np.float32)
    floor = set_level(coloured_noise(rng, count, rng.uniform(0, 1)), rng.uniform(-75, -50))
    if kind == "room noise":
        return set_level(coloured_noise(rng, count, rng.uniform(0, 1.1)), rng.uniform(-60, -28))
    if kind == "hum":
        return floor + set_level(hum(rng, count), rng.uniform(-60, -35))
    if kind == "keyboard":
        return floor + 10 ** (rng.uniform(-30, -8) / 20) * clicks(rng, count)
    if kind == "tones":
        return floor + set_level(tones(rng, count), rng.uniform(-45, -18))
    out = floor.astype(np.float64)
    at_s = rng.uniform(0.1, 1.0)
    while at_s < count / SAMPLE_RATE_HZ:
        burst = breath(rng, rng.uniform(0.3, 1.2)) if kind == "breaths" else cough(rng)
        loud_db = rng.uniform(-40, -18) if kind == "breaths" else rng.uniform(-22, -6)
        _add(out, burst * 10 ** (loud_db / 20), int(at_s * SAMPLE_RATE_HZ))
        at_s += rng.uniform(1.2, 3.5) if kind == "breaths" else rng.uniform(0.3, 2.5)
    return np.clip(out, -1.0, 1.0).astype(np.float32)


def _band(rng: Rng, hard: bool) -> tuple[float, float, str]:
    if hard and rng.random() < 0.35:
        return 300.0, 3400.0, "telephone"
    if rng.random() < 0.5:
        return rng.uniform(100, 250), rng.uniform(4500, 7000), "laptop microphone"
    return rng.uniform(30, 100), rng.uniform(6500, 7900), "equaliser"


def _noise(rng: Rng, count: int, babble: Callable[[], FloatArray] | None) -> tuple[FloatArray, str]:
    kinds = [*_NOISE_SLOPES, "hum", "keyboard"] + (["babble"] * 2 if babble is not None else [])
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "hum":
        return hum(rng, count), kind
    if kind == "keyboard":
        return clicks(rng, count), kind
    if kind == "babble" and babble is not None:
        return babble(), kind
    return coloured_noise(rng, count, _NOISE_SLOPES[kind]), kind


def _add(out: npt.NDArray[np.float64], piece: npt.NDArray[np.floating], at: int) -> None:
    """Add a piece at an offset, in place, cut at the end."""
    room = out.shape[0] - at
    if room > 0:
        out[at : at + piece.shape[0]] += piece[:room]


def _unit(wave: npt.NDArray[np.floating]) -> FloatArray:
    return (wave / max(1e-9, float(np.sqrt((wave**2).mean())))).astype(np.float32)


def _peak(wave: npt.NDArray[np.floating]) -> FloatArray:
    return (wave / max(1e-9, float(np.abs(wave).max()))).astype(np.float32)
