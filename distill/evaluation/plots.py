"""The pictures of an evaluation: contact sheets, tracks over time, suites side by side.

In: frames, tracks, figures. Out: PNG files. matplotlib is imported when a plot is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.evaluation.readings import read_openings
from distill.evaluation.run import ClipFrames
from distill.evaluation.speech import SpokenFile
from distill.probe import Probe
from distill.training.sheets import save_grid
from models.face import FPS


def contact_sheet(path: Path, clips: Sequence[ClipFrames], moments: int = 8, people: int = 8) -> None:
    """Truth above the student's frames, ``moments`` for each of ``people`` clips."""
    rows = []
    for clip in clips[:people]:
        # moments of rest and of wide mouths alike: evenly over the sorted true openings, then in time's order
        order = np.argsort(clip.opening_px, kind="stable")
        picks = np.sort(order[np.linspace(0, len(order) - 1, moments).astype(int)])
        for frames in (clip.true, clip.made):
            rows.append(torch.from_numpy(frames[picks]).permute(0, 3, 1, 2).float() / 255)
    save_grid(path, rows)


def reference_sheet(path: Path, clips: Sequence[ClipFrames], columns: int = 6) -> None:
    """The pictures that the streams were opened with."""
    pictures = [torch.from_numpy(c.clip.reference).permute(2, 0, 1).float() / 255 for c in clips]
    rows = [torch.stack(pictures[n : n + columns]) for n in range(0, len(pictures), columns)]
    save_grid(path, rows)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=size, squeeze=False)


def _finish(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def plot_openings(path: Path, clips: Sequence[ClipFrames], probe: Probe, count: int = 4) -> None:
    """True opening and what the probe sees in the student's frames, over time."""
    shown = [clip for clip in clips if clip.opening_px.any()][:count] or list(clips[:1])
    figure, axes = _figure(len(shown), 1, (10, 2 * len(shown)))
    for axis, clip in zip(axes[:, 0], shown, strict=True):
        seconds = np.arange(len(clip.opening_px)) / FPS
        axis.plot(seconds, clip.opening_px, label="true", linewidth=1.2)
        axis.plot(seconds, read_openings(probe, clip.made), label="student", linewidth=1.2)
        axis.set_ylabel("opening, px", fontsize=8)
        axis.set_title(f"clip {clip.clip.seed} {clip.clip.label}".strip(), fontsize=8)
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    axes[-1, 0].set_xlabel("s")
    _finish(figure, path)


def plot_suites(path: Path, suites: Mapping[str, Mapping[str, float]]) -> None:
    """The main figures of each suite as bars."""
    keys = (
        "r_opening",
        "worst_clip_r",
        "silence_share",
        "identity_distance",
        "psnr_outside",
        "sharpness_mouth",
    )
    figure, axes = _figure(1, len(keys), (2.6 * len(keys), 2.8))
    for axis, key in zip(axes[0], keys, strict=True):
        axis.bar(list(suites), [figures.get(key, 0.0) for figures in suites.values()], color="#4477aa")
        axis.set_title(key, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3, axis="y")
    _finish(figure, path)


def plot_long_run(path: Path, run: Mapping[str, Any]) -> None:
    """Identity, PSNR, sharpness and sync over the minutes."""
    keys = ("identity_distance", "psnr_outside", "sharpness_face", "r_opening")
    figure, axes = _figure(len(keys), 1, (9, 1.9 * len(keys)))
    minutes = [window["second"] / 60 for window in run["windows"]]
    for axis, key in zip(axes[:, 0], keys, strict=True):
        axis.plot(minutes, [window[key] for window in run["windows"]], marker="o", markersize=3)
        axis.set_ylabel(key, fontsize=8)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlabel("minutes")
    _finish(figure, path)


def plot_speech(path: Path, files: Sequence[SpokenFile], count: int = 5) -> None:
    """Loudness and opening of recordings; pauses are shaded."""
    shown = files[:count]
    figure, axes = _figure(len(shown), 1, (10, 2 * len(shown)))
    for axis, one in zip(axes[:, 0], shown, strict=True):
        seconds = np.arange(len(one.opening_px)) / FPS
        axis.fill_between(seconds, 0, one.opening_px.max() * one.pauses, color="#dddddd", step="mid")
        axis.plot(seconds, one.opening_px, color="#bb5566", linewidth=1.2)
        axis.set_ylabel("opening, px", fontsize=8)
        axis.set_title(f"{one.name}: r {one.figures()['r_envelope']:.2f}", fontsize=8)
        level = axis.twinx()
        level.plot(seconds, one.envelope_db, color="#4477aa", linewidth=0.9)
        level.set_ylabel("dB", fontsize=8)
    axes[-1, 0].set_xlabel("s")
    _finish(figure, path)
