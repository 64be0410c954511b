"""Head motion: the stream's generator against the corpus' pose tracks.

In: clips of speech. Out: for each axis its size and spectrum, streamed and in the corpus. The head is a warp of
the finished picture, so this needs no network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill.data.speech_set import SpeechSet
from distill.evaluation.measures import (
    Floats,
    count_blinks,
    spectral_centroid_hz,
    spectral_peak_hz,
)
from distill.evaluation.suites import driven_motion
from models.face import FPS, POSE_DIMS

_AXES = ("yaw", "pitch", "roll")


def head_motion(data: Path, split: str = "test", clips: int = 12, seconds: float = 8.0) -> dict[str, float]:
    """Rms (rad), spectral centroid and peak (Hz) of yaw, pitch and roll, and blinks per second; means over clips.

    Names end in ``_corpus`` for the corpus' own tracks of the same sounds.
    """
    speech = SpeechSet(data, split, clips, seconds)
    streamed, corpus = [], []
    blinks = {"": 0, "_corpus": 0}
    for index in range(clips):
        item = speech[index]
        expression, pose = driven_motion(item.audio, item.pose.shape[0], index)
        streamed.append(pose.double().numpy())
        corpus.append(item.pose.double().numpy())
        blinks[""] += count_blinks(expression[:, 0].double().numpy())
        blinks["_corpus"] += count_blinks(item.expression[:, 0].double().numpy())
    figures: dict[str, float] = {}
    for suffix, tracks in (("", streamed), ("_corpus", corpus)):
        for axis in _AXES:
            figures |= _axis([track[:, POSE_DIMS.index(axis)] for track in tracks], axis, suffix)
        figures[f"blink_rate_hz{suffix}"] = blinks[suffix] * FPS / sum(len(track) for track in tracks)
    return {key: round(value, 5) for key, value in figures.items()}


def _axis(tracks: list[Floats], axis: str, suffix: str) -> dict[str, float]:
    return {
        f"{axis}_rms{suffix}": float(np.mean([track.std() for track in tracks])),
        f"{axis}_centroid_hz{suffix}": float(np.mean([spectral_centroid_hz(track) for track in tracks])),
        f"{axis}_peak_hz{suffix}": float(np.mean([spectral_peak_hz(track) for track in tracks])),
    }
