"""The parts of `fada eval` that look at faces as they are: suite "heads", and framed pictures from anywhere.

In: choices, and for pictures what the avatars' room framed. Out: figures, a table, contact sheets.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from distill.evaluation.config import StudentConfig
from distill.evaluation.faces.heads import (
    HEADS,
    HeadClip,
    against,
    head_figures,
    held_out_heads,
    perform_head,
)
from distill.evaluation.faces.line import LINE_S, MOMENTS, choose_line, find_moments
from distill.evaluation.faces.opened import open_performer
from distill.evaluation.faces.performers import Performer
from distill.evaluation.faces.pictures import Framed, Spoken, speak
from distill.evaluation.faces.sheet import Strip, draw_sheets, strips_of
from distill.evaluation.faces.table import Rows, markdown, medians
from distill.evaluation.measures import UInt8
from distill.probe import Probe, load_probe

ON_FACES: Final = ("heads", "photos")
"""Suites of this room; "photos" needs the avatars' room to frame it."""


@dataclass(frozen=True, slots=True)
class FacesConfig:
    """What is looked at, and by whom.

    Attributes:
        student: who is measured. other: a second one on the same heads; None measures one alone.
        preset: of whole models.
        probe: its checkpoint. data: cache of the corpus and of rendered clips.
        split: of heads, voices and texts. heads: how many. seconds: length of what they say.
        sheet: where the contact sheet goes. folder: where sheet and table go, and films.
    """

    student: StudentConfig
    preset: str
    probe: Path
    data: Path
    other: StudentConfig | None = None
    split: str = "test"
    heads: int = HEADS
    seconds: float = LINE_S
    sheet: Path | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.heads < 1 or self.seconds < 1:
            raise ValueError(
                f"Expected 1 head or more of 1 s or more, got {self.heads} of {self.seconds:g} s."
            )

    def sheet_path(self, name: str) -> Path | None:
        """Where the sheet of that name goes."""
        return self.sheet or (self.folder and self.folder / f"{name}.png")


@dataclass(frozen=True, slots=True)
class _HeadRun:
    """One performer over all heads: figures by head, and the frames of eight moments of each."""

    rows: Rows
    moments: Sequence[UInt8]


def run_heads(config: FacesConfig) -> dict[str, Any]:
    """The suite "heads"; with a second performer also how the two compare."""
    probe = load_probe(config.probe)
    found = held_out_heads(config.data, config.split, config.heads, config.seconds)
    clips = list(tqdm(found, total=config.heads, desc="render heads", file=sys.stderr, mininterval=5))
    performers = [
        open_performer(one, config.preset, config.data) for one in (config.student, config.other) if one
    ]
    runs = [_over_heads(performer, clips, probe) for performer in performers]
    figures: dict[str, Any] = medians(runs[0].rows) | {
        "suite": "heads", "split": config.split, "clips": len(clips), "heads": dict(runs[0].rows)
    }  # fmt: skip
    if len(runs) > 1:
        figures["other"] = medians(runs[1].rows) | {"heads": dict(runs[1].rows)}
        figures["against"] = against(medians(runs[0].rows), medians(runs[1].rows))
    _write_heads(config, clips, runs)
    return figures


def _over_heads(performer: Performer, clips: Sequence[HeadClip], probe: Probe) -> _HeadRun:
    rows, moments = [], []
    for clip in tqdm(clips, desc="heads speak", file=sys.stderr, mininterval=5):
        made = perform_head(performer, clip)
        rows.append((clip.name, head_figures(made, clip, performer.preset.face_box, probe)))
        moments.append(made[list(find_moments(clip.line).values())])
    return _HeadRun(rows, moments)


def _write_heads(config: FacesConfig, clips: Sequence[HeadClip], runs: Sequence[_HeadRun]) -> None:
    names = [config.student.weights.stem, config.other.weights.stem if config.other else ""]
    text = "\n\n".join(markdown(run.rows, f"{name}: head") for name, run in zip(names, runs, strict=False))
    print(text)
    if config.folder:
        config.folder.mkdir(parents=True, exist_ok=True)
        (config.folder / "heads.md").write_text(text + "\n", encoding="utf-8")
    if (path := config.sheet_path("heads")) is None:
        return
    strips = []
    for number, clip in enumerate(clips):
        at = list(find_moments(clip.line).values())
        strips.append(Strip(clip.name, [("truth", False)], (clip.reference, *clip.frames()[at])))
        for name, run in zip(names, runs, strict=False):
            figures = run.rows[number][1]
            lines = [
                (name[:24], False),
                (f"opening r  {figures['r_opening']:.2f}", figures["r_opening"] < 0.85),
            ]
            lines += [
                (f"mouth  {figures['mouth_db']:.1f} dB, detail {figures['mouth_detail']:.2f}",
                 figures["mouth_detail"] < 0.8),
                (f"eyes  {figures['eyes_db']:.1f} dB", False),
                (f"rest  {figures['rest_db']:.1f} dB", False),
            ]  # fmt: skip
            strips.append(Strip("", lines, (clip.reference, *run.moments[number])))
    draw_sheets(path, strips, f"held-out heads · {' · '.join(filter(None, names))}", ("portrait", *MOMENTS))


def run_pictures(
    config: FacesConfig, pictures: Sequence[Framed], refused: Sequence[str], name: str = "pictures"
) -> dict[str, Any]:
    """Let framed pictures speak; prints a table, draws the sheet.

    Args:
        pictures: what was framed.
        refused: a sentence for each picture that was not.
        name: of the suite, and of the files written.

    Raises:
        ValueError: there is no picture.
    """
    if not pictures:
        raise ValueError(f"None of the pictures can be used. {' '.join(refused[:1])}".strip())
    probe = load_probe(config.probe)
    line = choose_line(config.data, config.split, config.seconds)
    performer = open_performer(config.student, config.preset, config.data)
    spoken = list(
        tqdm(
            speak(performer, pictures, line, probe),
            total=len(pictures), desc="pictures speak", file=sys.stderr, mininterval=5,
        )
    )  # fmt: skip
    rows = [(one.picture.name, one.figures) for one in spoken]
    found = len(pictures) / (len(pictures) + len(refused))
    text = markdown(rows) + "".join(f"\n- refused: {sentence}" for sentence in refused)
    print(text)
    title = f"{name} · {config.student.weights.stem} · {len(pictures)} framed, {len(refused)} refused"
    _write_pictures(config, spoken, text, title, name)
    return medians(rows) | {
        "suite": name, "pictures": {key: dict(figures) for key, figures in rows}, "refused": list(refused),
        "framed_share": round(found, 4), "worst_rest_picture_db": min(f["rest_db"] for _, f in rows),
        "answering_share": round(float(np.mean([f["r_opening"] >= 0.6 for _, f in rows])), 4),
    }  # fmt: skip


def _write_pictures(config: FacesConfig, spoken: Sequence[Spoken], text: str, title: str, name: str) -> None:
    if config.folder:
        config.folder.mkdir(parents=True, exist_ok=True)
        (config.folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    if (path := config.sheet_path(name)) is not None:
        for written in draw_sheets(path, strips_of(spoken), title):
            print(written)
