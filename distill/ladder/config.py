"""What one run of ``fada distill`` is: frozen values, one for each kind of job.

In: choices. Out: a `LadderConfig`; training, measuring and the teacher each take their own piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distill.evaluation.long_run import LEAST_WINDOWS, WINDOW_S
from distill.ladder.jobs import Plan
from distill.train_config import ClipsConfig


@dataclass(frozen=True, slots=True)
class RowTraining:
    """How every student is trained: the same clips, steps and rates for every row."""

    preset: str
    clips: ClipsConfig
    steps: int
    batch: int
    frames: int
    lr: float
    device: str


@dataclass(frozen=True, slots=True)
class TeacherTraining:
    """How the teacher is trained where there is none: on whose autoencoder and audio encoder, for how long."""

    weights: Path
    steps: int


@dataclass(frozen=True, slots=True)
class RowMeasuring:
    """How every row is measured.

    Attributes:
        data: cache of the corpus.
        probe: what reads mouths.
        clips, seconds: of each suite.
        drift_seconds: of the long stream; 0 leaves it out.
        threads: of the CPU, for the times.
    """

    data: Path
    probe: Path
    clips: int
    seconds: float
    drift_seconds: float
    device: str
    threads: int

    def __post_init__(self) -> None:
        least_s = LEAST_WINDOWS * WINDOW_S
        if 0 < self.drift_seconds < least_s:
            raise ValueError(
                f"Expected --drift-seconds of 0 or at least {least_s:g}, got {self.drift_seconds:g}."
            )


@dataclass(frozen=True, slots=True)
class LadderConfig:
    """The whole ladder."""

    plan: Plan
    training: RowTraining
    teacher: TeacherTraining
    measuring: RowMeasuring
