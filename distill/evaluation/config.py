"""What one run of ``fada eval`` is: a frozen value, made once from the command line.

In: choices. Out: an `EvalConfig`; what measures and what draws each take their own piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.evaluation.suites import Suite
from models.hop import HopControls
from models.presets import HopChoice, StreamConfig


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """Who is measured, and how it runs; None is the preset's own.

    Attributes:
        weights: its checkpoint.
        backend: "auto" or one of `models.runtimes.options.BACKENDS`.
    """

    weights: Path
    backend: str = "auto"
    hop: HopChoice = field(default_factory=HopChoice)
    nfe: int | None = None
    audio_scale: float | None = None
    reference_scale: float | None = None

    def controls(self, usual: StreamConfig) -> HopControls:
        """Scales and evaluations, the preset's where none were chosen.

        Raises:
            ValueError: out of range.
        """
        return HopControls(
            usual.audio_scale if self.audio_scale is None else self.audio_scale,
            usual.reference_scale if self.reference_scale is None else self.reference_scale,
            self.nfe or usual.nfe,
        )


@dataclass(frozen=True, slots=True)
class Extras:
    """What is measured besides the suites.

    Attributes:
        long_run_min: minutes of a stream that is watched for drift; None or 0 leaves it out.
        sweep: whether each guidance scale is turned over its range.
        speech: folder of recordings; None leaves them out.
        speech_files: take only so many, the largest; 0 takes all.
    """

    long_run_min: float | None = None
    sweep: bool = False
    speech: Path | None = None
    speech_files: int = 0


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is drawn, and where to; None draws nothing.

    Attributes:
        sheet: contact sheet of the first suite.
        plots: folder of sheets and plots of everything.
        avatar_sheet: some bundled faces at some moments.
        avatars: folder of those faces.
    """

    avatars: Path
    sheet: Path | None = None
    plots: Path | None = None
    avatar_sheet: Path | None = None


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """Everything of one run.

    Attributes:
        suite: its name, or "all".
        suites: what that means, with split, number and length of clips as chosen.
        motion_clips, motion_s: clips of the corpus whose head motion is looked at, and their length.
        batch: clips that are streamed together.
    """

    student: StudentConfig
    probe: Path
    suite: str
    suites: Sequence[Suite]
    split: str
    motion_clips: int
    motion_s: float
    data: Path
    pictures: Pictures
    extras: Extras = field(default_factory=Extras)
    batch: int = 4
    threads: int = 2

    def __post_init__(self) -> None:
        if not self.suites:
            raise ValueError("Expected at least one suite to measure on, got none.")
        for option, value in (("--batch", self.batch), ("--threads", self.threads)):
            if value < 1:
                raise ValueError(f"{option} must be 1 or more, got {value}.")
