"""From frames to figures: one clip's readings, and a suite's summary.

In: true and made face boxes of clips. Out: a flat dict of numbers. Where a figure has a floor or a scale of its
own (the probe's error on true frames, the distance between different people), that is given beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.data.regions import MEASURED_BOX, MOUTH_BOX
from distill.evaluation.measures import (
    Bools,
    Floats,
    UInt8,
    best_lag,
    border_ratio,
    count_blinks,
    frechet_distance,
    jitter,
    pearson,
    psnr,
    quiet_frames,
    sharpness,
    speech_envelope,
)
from distill.evaluation.readings import Reading, identity_distances, read_frames
from distill.evaluation.suites import EvalClip
from distill.probe import Probe
from models.face import FPS, MOUTH_DIMS


@dataclass(frozen=True, slots=True)
class ClipReading:
    """One clip as measured."""

    made: Reading
    seen: Reading  # the probe on the true frames
    opening_px: Floats  # (T,) truth
    mouth: Floats  # (T, 6) truth
    blink: Floats  # (T,) as the stream drove it
    envelope_db: Floats  # (T,) of the sound
    picture: dict[str, float]  # figures that need the pixels


def outside_mouth() -> Bools:
    """Pixels (h, w) of `MEASURED_BOX` that lie outside the mouth's box."""
    left, top, width, height = MOUTH_BOX
    where = np.ones((MEASURED_BOX[3], MEASURED_BOX[2]), bool)
    where[top : top + height, left : left + width] = False
    return where


def read_clip(
    probe: Probe, hop: int, *, clip: EvalClip, true: UInt8, made: UInt8, driven_blink: Floats
) -> ClipReading:
    """Measure one clip; ``hop`` frames between window borders."""
    outside = outside_mouth()
    left, top, width, height = MOUTH_BOX
    mouth = (slice(None), slice(top, top + height), slice(left, left + width))
    picture = {
        "psnr_outside": psnr(made, true, outside),
        "psnr_mouth": psnr(made, true, ~outside),
        "sharpness_face": sharpness(made) / max(sharpness(true), 1e-9),
        "sharpness_mouth": sharpness(made[mouth]) / max(sharpness(true[mouth]), 1e-9),
        "jitter": jitter(made, outside),
        "jitter_truth": jitter(true, outside),
        "border_ratio": border_ratio(made, hop),
        "border_ratio_truth": border_ratio(true, hop),
    }
    return ClipReading(
        made=read_frames(probe, made),
        seen=read_frames(probe, true),
        opening_px=clip.opening_px,
        mouth=clip.item.mouth.double().numpy(),
        blink=driven_blink,
        envelope_db=speech_envelope(clip.item.audio.double().numpy(), clip.frames),
        picture=picture,
    )


def summarise(clips: Sequence[ClipReading]) -> dict[str, float]:
    """Every figure over all clips of a suite."""
    figures = _sync(clips) | _shape(clips) | _silence(clips) | _identity(clips) | _lids(clips)
    for key in clips[0].picture:
        figures[key] = float(np.mean([clip.picture[key] for clip in clips]))
    figures["jitter"] /= max(figures.pop("jitter_truth"), 1e-9)
    figures |= {"clips": len(clips), "frames": sum(len(clip.opening_px) for clip in clips)}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in figures.items()}


def _spoken(clips: Sequence[ClipReading]) -> list[ClipReading]:
    """Clips with speech; one of breath or noise has no correlation."""
    return [clip for clip in clips if clip.opening_px.std() > 1e-6]


def _sync(clips: Sequence[ClipReading]) -> dict[str, float]:
    spoken = _spoken(clips)
    if not spoken:
        return {"spoken_clips": 0}
    scores = [pearson(clip.made.opening_px, clip.opening_px) for clip in spoken]
    lag, r_at_lag = best_lag([c.made.opening_px for c in spoken], [c.opening_px for c in spoken])
    made = np.concatenate([clip.made.opening_px for clip in spoken])
    seen = np.concatenate([clip.seen.opening_px for clip in spoken])
    true = np.concatenate([clip.opening_px for clip in spoken])
    return {
        "r_opening": float(np.mean(scores)),
        "worst_clip_r": min(scores),
        "pooled_r_opening": pearson(made, true),
        "probe_r_on_truth": float(np.mean([pearson(c.seen.opening_px, c.opening_px) for c in spoken])),
        "lag_frames": lag,
        "r_at_best_lag": r_at_lag,
        "r_envelope": float(np.mean([pearson(c.made.opening_px, c.envelope_db) for c in spoken])),
        "r_envelope_truth": float(np.mean([pearson(c.opening_px, c.envelope_db) for c in spoken])),
        "amplitude_ratio": float(made.std() / max(true.std(), 1e-6)),
        "amplitude_ratio_truth": float(seen.std() / max(true.std(), 1e-6)),
        "spoken_clips": len(spoken),
    }


def _shape(clips: Sequence[ClipReading]) -> dict[str, float]:
    """Errors of opening (px), width and rounding (mouth dims), the probe's own on true frames beside them."""
    figures: dict[str, float] = {}
    true_px = np.concatenate([clip.opening_px for clip in clips])
    for suffix, read in (("", [c.made for c in clips]), ("_truth", [c.seen for c in clips])):
        openings = np.concatenate([reading.opening_px for reading in read])
        figures[f"err_opening_px{suffix}"] = float(np.abs(openings - true_px).mean())
        for dim in (1, 2):
            true = np.concatenate([clip.mouth[:, dim] for clip in clips])
            error = np.abs(np.concatenate([reading.mouth[:, dim] for reading in read]) - true)
            figures[f"err_{MOUTH_DIMS[dim]}{suffix}"] = float(error.mean())
    for dim in (1, 2):
        scores = [pearson(clip.made.mouth[:, dim], clip.mouth[:, dim]) for clip in _spoken(clips)]
        figures[f"r_{MOUTH_DIMS[dim]}"] = float(np.mean(scores)) if scores else 0.0
    return figures


def _silence(clips: Sequence[ClipReading]) -> dict[str, float]:
    """How far the mouth stands open where it is truly shut, as a share of its range."""
    quiet = np.concatenate([quiet_frames(clip.opening_px) for clip in clips])
    figures: dict[str, float] = {"silent_frames": int(quiet.sum())}
    for suffix, read in (("", [c.made for c in clips]), ("_truth", [c.seen for c in clips])):
        openings = np.concatenate([reading.opening_px for reading in read])
        spread = float(np.percentile(openings, 97.5) - np.percentile(openings, 2.5))
        rest = float(openings[quiet].clip(0).mean()) if quiet.any() else 0.0
        figures[f"silence_share{suffix}"] = rest / max(spread, 1e-6)
    return figures


def _identity(clips: Sequence[ClipReading]) -> dict[str, float]:
    """Distance to the truth; ``identity_scale`` is how far apart the suite's people are."""
    distances = [identity_distances(clip.made, clip.seen) for clip in clips]
    made = np.concatenate([clip.made.features for clip in clips])
    seen = np.concatenate([clip.seen.features for clip in clips])
    figures = {
        "identity_distance": float(np.concatenate(distances).mean()),
        "identity_worst_clip": max(float(d.mean()) for d in distances),
        "frechet": frechet_distance(made, seen),
    }
    if len(clips) > 1:
        people = np.stack([clip.seen.identity.mean(0) for clip in clips])
        people /= np.linalg.norm(people, axis=1, keepdims=True)
        apart = 1 - (people @ people.T)[np.triu_indices(len(people), 1)]
        figures["identity_scale"] = float(apart.mean())
    return figures


def _lids(clips: Sequence[ClipReading]) -> dict[str, float]:
    seconds = sum(len(clip.blink) for clip in clips) / FPS
    blinking = [clip for clip in clips if clip.blink.max() > 0.5]
    scores = [pearson(clip.made.blink, clip.blink) for clip in blinking]
    return {
        "blink_rate_hz": sum(count_blinks(clip.made.blink) for clip in clips) / seconds,
        "blink_rate_driven_hz": sum(count_blinks(clip.blink) for clip in clips) / seconds,
        "r_blink": float(np.mean(scores)) if scores else 0.0,
    }
