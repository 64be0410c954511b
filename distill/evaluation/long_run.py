"""Minutes of streaming without a break: does the face stay who it is?

In: a streamer, the probe, a length. Out: figures in windows of ten seconds, each against true frames with the
same motion, and how the last window compares with the one after the first ten seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from distill.corpus.drawn import sample_identities, true_opening
from distill.data.speech_set import SpeechSet
from distill.evaluation.figures import outside_mouth
from distill.evaluation.measures import Floats, UInt8, jitter, pearson, psnr, sharpness
from distill.evaluation.readings import identity_distances, read_frames, read_openings
from distill.evaluation.spoilt import Framing
from distill.evaluation.streams import face_box, neutral_picture, stream_hops
from distill.evaluation.suites import driven_motion, true_boxes
from distill.probe import Probe
from models.face import FPS
from models.hop import HopControls
from models.streaming import Streamer

WINDOW_S: Final = 10.0
LEAST_WINDOWS: Final = 3
_CLIP_S: Final = 8.0
_SEEN_EVERY: Final = 5
"""Of every fifth frame the truth is drawn; openings are read from all."""


@dataclass(frozen=True, slots=True)
class _Talk:
    """One person's endless speech."""

    person: int
    audio: Tensor  # (N,)
    mouth: Tensor  # (T, 6)
    expression: Tensor  # (T, 4) as the stream drives it


def long_run(
    streamer: Streamer,
    probe: Probe,
    minutes: float,
    controls: HopControls,
    data: Path,
    people: int = 2,
    split: str = "test",
    window_s: float = WINDOW_S,
) -> dict[str, Any]:
    """Stream ``people`` identities for ``minutes`` and measure every ``window_s``.

    Returns:
        ``identity_ratio``: identity distance in the last window over that in the second;
        the same for PSNR (a difference, dB) and sharpness (a ratio); ``windows``: the figures in time's order.

    Raises:
        ValueError: shorter than three windows, or the streamer moves the head.
    """
    size = round(window_s * FPS)
    frames = int(minutes * 60 * FPS) // size * size
    if frames < LEAST_WINDOWS * size:
        raise ValueError(f"A long run needs three windows of {window_s:g} s or more, got {minutes:g} min.")
    if streamer.move_head:
        raise ValueError(
            "Faces are measured with the head held still; open the Streamer with move_head=False."
        )
    talks = [_talk(data, split, person, people, frames) for person in range(people)]
    hops = stream_hops(
        streamer,
        [neutral_picture(talk.person, split) for talk in talks],
        [talk.audio for talk in talks],
        frames,
        [talk.person for talk in talks],
        controls,
    )
    windows: list[dict[str, float]] = []
    held: list[UInt8] = []
    for drawn in tqdm(
        hops, total=-(-frames // streamer.preset.stream.hop_frames), desc="long run", mininterval=5
    ):
        held.append(face_box(drawn))
        if sum(part.shape[1] for part in held) >= size:
            whole = np.concatenate(held, axis=1)
            windows.append(_measure(probe, talks, whole[:, :size], len(windows) * size, split))
            held = [whole[:, size:]] if whole.shape[1] > size else []
    if len(windows) < frames // size:  # the last hop ended before the last window did
        raise AssertionError("the stream ended early")
    return _summary(windows, people, size) | {"nfe": controls.nfe}


def spoken_for(data: Path, split: str, people: int, seconds: float) -> SpeechSet:
    """The speech that ``people`` need for ``seconds`` each."""
    return SpeechSet(data, split, math.ceil(seconds / _CLIP_S) * people, _CLIP_S)


def _talk(data: Path, split: str, person: int, people: int, frames: int) -> _Talk:
    """Clips of the corpus one after another; each person has others."""
    speech = spoken_for(data, split, people, frames / FPS)
    items = [speech[person + people * n] for n in range(len(speech) // people)]
    audio = torch.cat([item.audio for item in items])
    mouth = torch.cat([item.mouth for item in items])[:frames]
    expression, _ = driven_motion(audio, frames, person)
    return _Talk(person, audio, mouth, expression)


def _measure(probe: Probe, talks: Sequence[_Talk], boxes: UInt8, first: int, split: str) -> dict[str, float]:
    """Figures of one window; boxes (B, T, h, w, 3) from frame ``first``, the mean over people."""
    rows = [_measure_one(probe, talk, made, first, split) for talk, made in zip(talks, boxes, strict=True)]
    figures = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {"second": first / FPS} | {key: float(f"{value:.6g}") for key, value in figures.items()}


def _measure_one(probe: Probe, talk: _Talk, made: UInt8, first: int, split: str) -> dict[str, float]:
    who = sample_identities([talk.person], split=split)
    span = slice(first, first + made.shape[0])
    some = slice(first, first + made.shape[0], _SEEN_EVERY)
    true = true_boxes(who, None, Framing(), talk.mouth[some], talk.expression[some])
    seen = made[::_SEEN_EVERY]
    outside = outside_mouth()
    true_px: Floats = true_opening(who.repeat(made.shape[0]), talk.mouth[span]).double().numpy()
    distances = identity_distances(read_frames(probe, seen), read_frames(probe, true))
    return {
        "identity_distance": float(distances.mean()),
        "psnr_outside": psnr(seen, true, outside),
        "sharpness_face": sharpness(seen) / max(sharpness(true), 1e-9),
        "r_opening": pearson(read_openings(probe, made), true_px),
        "jitter_levels": jitter(made, outside),
    }


def _summary(windows: list[dict[str, float]], people: int, size: int) -> dict[str, Any]:
    start, end = windows[1], windows[-1]
    return {
        "minutes": round(len(windows) * size / FPS / 60, 3),
        "people": people,
        "identity_early": start["identity_distance"],
        "identity_end": end["identity_distance"],
        "identity_ratio": round(end["identity_distance"] / max(start["identity_distance"], 1e-9), 4),
        "identity_worst_ratio": round(
            max(w["identity_distance"] for w in windows[2:]) / max(start["identity_distance"], 1e-9), 4
        ),
        "psnr_change_db": round(end["psnr_outside"] - start["psnr_outside"], 3),
        "sharpness_ratio": round(end["sharpness_face"] / max(start["sharpness_face"], 1e-9), 4),
        "r_opening_mean": round(float(np.mean([w["r_opening"] for w in windows])), 4),
        "windows": windows,
    }
