"""Recordings as strangers have them: out of phase, with gaps, of sixty channels, too long, oddly named."""

from __future__ import annotations

import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stream.errors import MediaError
from stream.offline import sound_files
from stream.offline.sound_files import Recording

RATE_HZ = 48_000


def buzz(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 25))
    return np.asarray(voice * (0.5 - 0.5 * np.cos(2 * np.pi * 4 * t)) * 0.25)


def write(path: Path, *columns: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(columns))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.stack(columns, 1) * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())
    return path


def heard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with Recording(path) as recording:
        blocks = list(recording.blocks(16_000))
    return np.concatenate([b.engine for b in blocks]), np.concatenate([b.playback for b in blocks], axis=1)


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def refused(path: Path) -> str:
    with pytest.raises(MediaError) as raised, Recording(path) as recording:
        list(recording.blocks(16_000))
    assert "\n" not in raised.value.message and str(path) in raised.value.message
    return raised.value.message


def test_sides_out_of_phase_are_heard(tmp_path: Path) -> None:
    voice = buzz(2.0)
    alone, _ = heard(write(tmp_path / "mono.wav", voice))
    inverted, playback = heard(write(tmp_path / "inverted.wav", voice, -voice))
    assert level(inverted) == pytest.approx(level(alone), rel=0.03)
    np.testing.assert_allclose(playback[0], -playback[1], atol=1e-4)  # the film keeps its own sound
    left, _ = heard(write(tmp_path / "left.wav", voice, 0 * voice))
    assert level(left) == pytest.approx(level(alone) / 2, rel=0.02)


@pytest.mark.parametrize("name", ["rec-10:20.wav", "pipe:0.wav", "%03d.wav", "http:x.wav", "-i.wav"])
def test_names_that_look_like_addresses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(name), buzz(0.5))
    assert len(heard(Path(name))[0]) == 8000


def test_sixty_channels(tmp_path: Path) -> None:
    voice = buzz(1.0)
    alone, _ = heard(write(tmp_path / "mono.wav", voice))
    one_of_many, playback = heard(write(tmp_path / "one.wav", *([0 * voice] * 59), voice))
    assert level(one_of_many) == pytest.approx(level(alone), rel=0.1)
    assert playback.shape == (1, RATE_HZ)
    alike, _ = heard(write(tmp_path / "alike.wav", *([voice / 4] * 60)))
    assert level(alike) == pytest.approx(level(alone) / 4, rel=0.03)


def stamped(path: Path, pieces: list[tuple[float, float]], codec: str = "pcm_s16le") -> Path:
    """A sound file with pieces of (start, seconds) at a level of 0.25."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE_HZ, layout="mono")
        for start_s, seconds in pieces:
            for at in range(round(seconds * 50)):
                frame = av.AudioFrame.from_ndarray(
                    np.full((1, 960), 8192, np.int16), format="s16", layout="mono"
                )
                frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
                frame.pts = round(start_s * RATE_HZ) + 960 * at
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def test_gaps_and_a_late_start_are_silence(tmp_path: Path) -> None:
    engine, playback = heard(stamped(tmp_path / "gaps.mkv", [(1.0, 1.0), (3.0, 1.0), (4.5, 0.5)]))
    assert len(engine) == pytest.approx(80_000, abs=200)
    assert playback.shape[1] == pytest.approx(240_000, abs=600)
    for first_s, last_s, loud in ((0, 1, 0), (1, 2, 1), (2, 3, 0), (3, 4, 1), (4, 4.5, 0), (4.5, 5, 1)):
        inside = engine[round((first_s + 0.05) * 16_000) : round((last_s - 0.05) * 16_000)]
        assert level(inside) == pytest.approx(0.25 * loud, abs=0.01), (first_s, last_s)


def test_a_broadcasts_clock_begins_anywhere(tmp_path: Path) -> None:
    engine, _ = heard(stamped(tmp_path / "late.ts", [(50.0, 2.0)], codec="mp2"))
    assert len(engine) == pytest.approx(32_000, abs=2000)
    assert level(engine[4000:-4000]) == pytest.approx(0.25, abs=0.05)


def test_more_than_an_hour_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minute = np.zeros(8000 * 61, np.float32)
    long = write(tmp_path / "long.wav", *[np.tile(minute, 60)], rate_hz=8000)
    said = refused(long)
    assert "longer than 60 minutes" in said and "decoded" not in said
    monkeypatch.setattr(sound_files, "MAX_SECONDS", 3)
    for name in ("unsaid.mkv", "gap.mkv"):  # neither says its length beforehand in a way that is believed
        pieces = [(0.0, 5.0)] if name == "unsaid.mkv" else [(0.0, 0.5), (90.0, 0.5)]
        assert "longer than" in refused(stamped(tmp_path / name, pieces))


def test_samples_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_f32le", rate=RATE_HZ, layout="mono")
        samples = np.zeros((1, RATE_HZ), np.float32)
        samples[0, 500] = np.nan
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate = RATE_HZ
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert "no numbers" in refused(path)


def test_an_hour_of_stereo_is_never_in_memory(tmp_path: Path) -> None:
    """Read in a process of its own, whose peak is then the recording's."""
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(8):
            file.writeframes(bytes(16_000 * 60 * 4))
    script = (
        "import sys; from pathlib import Path; from stream.offline.sound_files import Recording\n"
        "from tests.peak_memory import peak_mb; before = peak_mb()\n"
        "with Recording(Path(sys.argv[1])) as r: n = sum(len(b.engine) for b in r.blocks(16_000))\n"
        "print(n, round(peak_mb() - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    samples, grown_mb = map(int, done.stdout.split())
    assert samples == pytest.approx(8 * 60 * 16_000, abs=100)
    assert grown_mb < 40  # eight minutes whole would be 215 MB
