"""Recorded human speech: does the mouth follow the voice, and does it rest in pauses?

In: a folder of WAV files, of which no truth is known. Out: for each file the correlation of the probe's opening
with the sound's loudness and the share of pause frames in which the mouth rests. Half a second of silence is
put before and after each file; "inner" pauses are the speaker's own, without these edges.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torchaudio.functional
from torch import Tensor
from tqdm import tqdm

from distill.evaluation.measures import (
    QUIET_DB,
    Bools,
    Floats,
    best_lag,
    pause_frames,
    pearson,
    speech_envelope,
)
from distill.evaluation.readings import read_openings
from distill.evaluation.streams import neutral_picture, stream_boxes
from distill.probe import Probe
from models.face import FPS, SAMPLE_RATE_HZ
from models.hop import HopControls
from models.streaming import Streamer

EDGE_S: Final = 0.5
REST_SHARE: Final = 0.1
"""A mouth rests when its opening is below this share of its range in the file..."""
REST_PX: Final = 2.0
"""...or below this many pixels, whichever is more."""


@dataclass(frozen=True, slots=True)
class SpokenFile:
    """What a student made of one recording."""

    name: str
    envelope_db: Floats  # (T,)
    opening_px: Floats  # (T,) as the probe sees it
    pauses: Bools  # (T,)
    inner: Bools  # (T,) those of them that lie between the first and the last sound

    def figures(self) -> dict[str, Any]:
        """r with the envelope, the lag at which it is highest, and rest in pauses."""
        low, high = np.percentile(self.opening_px, (2.5, 97.5))
        rest_px = max(REST_PX, float(low.clip(0) + REST_SHARE * (high - low)))
        lag, r_at_lag = best_lag([self.opening_px], [self.envelope_db])
        out: dict[str, Any] = {
            "file": self.name,
            "seconds": round(len(self.opening_px) / FPS, 2),
            "r_envelope": round(pearson(self.opening_px, self.envelope_db), 4),
            "lag_frames": lag,
            "r_at_best_lag": round(r_at_lag, 4),
        }
        for name, where in (("", self.pauses), ("inner_", self.inner)):
            out[f"{name}pause_frames"] = int(where.sum())
            out[f"{name}rest_frames"] = int((self.opening_px[where] < rest_px).sum())
        return out


def read_wav(path: Path) -> Tensor:
    """A WAV file of 16-bit PCM as mono samples (N,) at 16 kHz in [-1, 1].

    Raises:
        ValueError: not such a file.
    """
    try:
        with wave.open(str(path), "rb") as source:
            rate, channels, width = source.getframerate(), source.getnchannels(), source.getsampwidth()
            raw = source.readframes(source.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(
            f"Expected a PCM WAV file at {path}, got something else ({error}); convert it."
        ) from error
    if width != 2 or not raw:
        raise ValueError(
            f"Expected 16-bit samples in {path}, got {8 * width}-bit, {len(raw)} bytes; convert it."
        )
    samples = np.frombuffer(raw, "<i2").astype(np.float32).reshape(-1, channels).mean(1) / 32768
    sound = torch.from_numpy(samples)
    return sound if rate == SAMPLE_RATE_HZ else torchaudio.functional.resample(sound, rate, SAMPLE_RATE_HZ)


def human_speech(
    streamer: Streamer,
    probe: Probe,
    folder: Path,
    controls: HopControls,
    longest: int = 0,
    keep: list[SpokenFile] | None = None,
) -> dict[str, Any]:
    """Stream every WAV file of a folder, each with another of four held-out faces.

    Args:
        streamer: with ``move_head`` False.
        probe: reads openings.
        folder: of 16-bit WAV files of any rate.
        controls: guidance scales and steps.
        longest: take only so many files, the largest; 0 takes all.
        keep: tracks are appended here, for plots.

    Raises:
        ValueError: no WAV file there, or one cannot be read.
    """
    paths = sorted(folder.glob("*.wav"), key=lambda path: (-path.stat().st_size, path.name))
    if not paths:
        raise ValueError(f"Expected WAV files in {folder}, found none; give a folder of recordings.")
    spoken = []
    for number, path in enumerate(tqdm(paths[:longest] if longest else paths, desc="speech", mininterval=5)):
        spoken.append(_speak(streamer, probe, path, number % 4, controls))
    if keep is not None:
        keep.extend(spoken)
    files = [one.figures() for one in spoken]
    pauses, inner = (sum(f[f"{kind}pause_frames"] for f in files) for kind in ("", "inner_"))
    resting, inner_resting = (sum(f[f"{kind}rest_frames"] for f in files) for kind in ("", "inner_"))
    scores = [f["r_envelope"] for f in files]
    lag, r_at_lag = best_lag([one.opening_px for one in spoken], [one.envelope_db for one in spoken])
    return {
        "files": len(files),
        "envelope": "dB re 95th percentile, floor -40, 40 ms frames of 20 ms rms, Gaussian 1 frame",
        "r_envelope": round(float(np.mean(scores)), 4),
        "r_envelope_worst": min(scores),
        "lag_frames": lag,
        "r_at_best_lag": round(r_at_lag, 4),
        "pause_frames": pauses,
        "rest_share": round(resting / pauses, 4) if pauses else None,
        "inner_pause_frames": inner,
        "inner_rest_share": round(inner_resting / inner, 4) if inner else None,
        "per_file": files,
    }


def _speak(streamer: Streamer, probe: Probe, path: Path, face: int, controls: HopControls) -> SpokenFile:
    edge = torch.zeros(int(EDGE_S * SAMPLE_RATE_HZ))
    sound = torch.cat((edge, read_wav(path), edge))
    frames = int(sound.shape[0] / SAMPLE_RATE_HZ * FPS)
    boxes = stream_boxes(streamer, [neutral_picture(face)], [sound], frames, [face], controls)[0]
    envelope = speech_envelope(sound.double().numpy(), frames)
    pauses = pause_frames(envelope)
    loud = np.flatnonzero(envelope > QUIET_DB)
    inner = pauses.copy()
    if loud.size:
        inner[: loud[0]] = inner[loud[-1] :] = False
    return SpokenFile(path.stem, envelope, read_openings(probe, boxes), pauses, inner)
