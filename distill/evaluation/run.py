"""One suite, measured: every clip streamed, its truth drawn with the same motion, both read by the probe.

In: a streamer, the probe, a `Suite`. Out: flat figures, and on request the frames of every clip.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from distill.evaluation.figures import ClipReading, read_clip, summarise
from distill.evaluation.measures import Floats, UInt8
from distill.evaluation.streams import stream_boxes
from distill.evaluation.suites import EvalClip, Suite, driven_motion, load_clip
from distill.probe import Probe
from models.hop import HopControls
from models.streaming import Streamer


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """One clip: the truth and what the student made of the sound; face boxes."""

    clip: EvalClip
    true: UInt8  # (T, h, w, 3)
    made: UInt8  # (T, h, w, 3)
    opening_px: Floats  # (T,) true visible gap
    blink: Floats  # (T,) lids as the stream drove them
    ms_per_frame: float


def perform(streamer: Streamer, clips: list[EvalClip], controls: HopControls) -> list[ClipFrames]:
    """Stream clips of one length as one batch, and draw their truth with the stream's own expression."""
    frames = clips[0].frames
    if any(clip.frames != frames for clip in clips):
        raise ValueError("Clips of one batch must be equally long.")
    if streamer.move_head:
        raise ValueError(
            "Faces are measured with the head held still; open the Streamer with move_head=False."
        )
    began = time.perf_counter()
    made = stream_boxes(
        streamer,
        [clip.reference for clip in clips],
        [clip.item.audio for clip in clips],
        frames,
        [clip.seed for clip in clips],
        controls,
    )
    spent = (time.perf_counter() - began) * 1e3 / (frames * len(clips))
    out = []
    for clip, boxes in zip(clips, made, strict=True):
        expression, _ = driven_motion(clip.item.audio, frames, clip.seed)
        blink = expression[:, 0].double().numpy()
        out.append(ClipFrames(clip, clip.true_frames(expression), boxes, clip.opening_px, blink, spent))
    return out


def evaluate(
    streamer: Streamer,
    probe: Probe,
    suite: Suite,
    controls: HopControls,
    data: Path,
    batch: int = 4,
    keep: list[ClipFrames] | None = None,
) -> dict[str, float]:
    """Every figure of a suite; see `docs/evaluation.md` for what each one means.

    Args:
        streamer: with ``move_head`` False.
        probe: one with an identity tower.
        suite: what to measure on.
        controls: guidance scales and steps.
        data: cache of the corpus.
        batch: clips that are streamed together; changes the time per frame alone.
        keep: clips' frames are appended here, for sheets and plots.

    Raises:
        ValueError: the probe has no identity tower or the streamer moves the head.
    """
    readings: list[ClipReading] = []
    spent: list[float] = []
    with tqdm(total=suite.clips, desc=f"eval {suite.name}", mininterval=5) as bar:
        for first in range(0, suite.clips, batch):
            clips = [load_clip(suite, n, data) for n in range(first, min(first + batch, suite.clips))]
            for done in perform(streamer, clips, controls):
                readings.append(
                    read_clip(
                        probe,
                        streamer.preset.stream.hop_frames,
                        clip=done.clip,
                        true=done.true,
                        made=done.made,
                        driven_blink=done.blink,
                    )
                )
                spent.append(done.ms_per_frame)
                if keep is not None:
                    keep.append(done)
                bar.update()
    branches = int(getattr(streamer.networks, "branches", 1))
    return summarise(readings) | {
        "ms_per_frame": round(float(np.mean(spent)), 3),
        "nfe": controls.nfe * branches,
        "steps": controls.nfe,
        "audio_scale": controls.audio_scale,
        "reference_scale": controls.reference_scale,
    }
