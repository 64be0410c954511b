"""What one run of ``fada train`` is: a frozen value, made once from the command line or by the ladder.

In: choices. Out: a `TrainConfig`, whole and checked; each part of a stage takes the smallest piece of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STAGES: Final = (
    "speech",
    "heads",
    "head-clips",
    "vae",
    "decoder",
    "probe",
    "mouth",
    "audio",
    "corpus",
    "teacher",
    "student",
    "steps",
    "ship",
)
FROM_WEIGHTS: Final = ("corpus", "decoder", "teacher")
FROM_INIT: Final = ("probe", "audio", "teacher", "student", "steps")
ON_PREPARED: Final = ("corpus", "teacher", "student", "steps")
WITH_SPEECH: Final = ("speech", "head-clips", *ON_PREPARED)
WITH_PEOPLE: Final = ("head-clips", *ON_PREPARED)
WITH_HEADS: Final = ("probe", *ON_PREPARED)


@dataclass(frozen=True, slots=True)
class ClipsConfig:
    """Which clips training sees.

    Attributes:
        data: cache of the procedural corpus, or what `fada prepare` made.
        clips: talking clips of high quality; of moderate quality there are a quarter as many.
        speech: speech clips that they share; None is one each.
        high_only: leave moderate clips out.
        identities: people, drawn or rendered, for the stages that learn from pictures.
        people: rendered heads that speak in turn, in clips of high quality; None is one for each clip.
        heads: share of rendered heads among talking clips or a probe's pictures, 0..1; the rest are drawn.

    Raises:
        ValueError: no share, or nobody who speaks.
    """

    data: Path = Path("runs/data")
    clips: int = 1200
    speech: int | None = None
    high_only: bool = False
    identities: int = 1500
    people: int | None = None
    heads: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.heads <= 1:
            raise ValueError(f"Expected --heads SHARE of 0 to 1, got {self.heads:g}.")
        if self.people is not None and self.people < 1:
            raise ValueError(f"Expected --people of 1 or more, got {self.people}.")


@dataclass(frozen=True, slots=True)
class StartConfig:
    """Where the networks start from.

    Attributes:
        from_weights: take autoencoder and audio encoder of this model, not of the runs vae and audio.
        audio: take the audio encoder of this run of the stage audio.
        init: start the UNets (stage audio: the audio encoder, stage probe: the probe) from those of this file.
        control: take CFG tokens and control layers of this student.
        method: a recipe (student) or a step method (steps).
        grids: step counts that a student shall be good at.
    """

    from_weights: Path | None = None
    audio: Path | None = None
    init: Path | None = None
    control: Path | None = None
    method: str | None = None
    grids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class PaceConfig:
    """How long, how fast, on what.

    Attributes:
        batch: rows of a step over all processes.
        frames: frames a window in the diffusion stages.
        minutes: stop after this time, to be resumed; 0 is no limit.
        precision, parallel: see `distill.training.precision` and `distill.training.parallel`.
    """

    steps: int
    batch: int
    lr: float
    device: str
    frames: int = 6
    minutes: float = 0.0
    ema: float = 0.995
    seed: int = 0
    checkpoint_s: float = 120.0
    threads: int = 1
    precision: str = "auto"
    parallel: str = "auto"
    resume: bool = True


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One stage of training.

    Attributes:
        stage: one of `STAGES`.
        preset: its name.
        pace: see `PaceConfig`.
        runs: folder of earlier stages' runs.
        out: run folder; None is ``runs / stage`` (stage ship: the shipped weights).
        part: (I, N): which share of the corpus or of the heads to make.

    Raises:
        ValueError: a choice that the stage would ignore; says which, and which stages take it.
    """

    stage: str
    preset: str
    pace: PaceConfig
    clips: ClipsConfig = field(default_factory=ClipsConfig)
    start: StartConfig = field(default_factory=StartConfig)
    runs: Path = Path("runs")
    out: Path | None = None
    part: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"Unknown stage '{self.stage}'; expected one of {', '.join(STAGES)}.")
        if not 0 <= self.part[0] < self.part[1]:
            raise ValueError(f"Expected --part I/N with 0 <= I < N, got {self.part[0]}/{self.part[1]}.")
        self._check_start()
        self._check_clips()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or self.runs / self.stage

    def _check_start(self) -> None:
        stage, start = self.stage, self.start
        if start.from_weights and stage not in FROM_WEIGHTS:
            raise ValueError(
                f"--from-weights is for the stages {', '.join(FROM_WEIGHTS)}, not for {stage}, which takes its "
                "networks from the stage before it."
            )
        if start.init and stage not in FROM_INIT:
            raise ValueError(f"--init is for the stages {', '.join(FROM_INIT)}, not for {stage}.")
        if start.audio and stage != "teacher":
            raise ValueError(
                f"--audio is for the stage teacher, whose encoder all later stages keep, not for {stage}."
            )
        if start.method and stage not in ("student", "steps"):
            raise ValueError(f"--method is for the stages student and steps, not for {stage}.")
        if start.control and (stage != "student" or start.init):
            raise ValueError("--control is for the stage student, without --init, which brings its own.")
        if start.grids and stage != "student":
            raise ValueError(f"--grids is for the stage student, not for {stage}.")

    def _check_clips(self) -> None:
        from distill.prepare.dataset import is_prepared

        stage, clips = self.stage, self.clips
        if clips.speech is not None and (stage not in WITH_SPEECH or clips.speech < 4):
            raise ValueError(
                f"--speech takes 4 clips or more, for the stages {', '.join(WITH_SPEECH)}; "
                f"got {clips.speech} for {stage}."
            )
        if clips.people is not None and stage not in WITH_PEOPLE:
            raise ValueError(f"--people is for the stages {', '.join(WITH_PEOPLE)}, not for {stage}.")
        if clips.heads and stage not in WITH_HEADS:
            raise ValueError(f"--heads is for the stages {', '.join(WITH_HEADS)}, not for {stage}.")
        if clips.heads and is_prepared(clips.data):
            raise ValueError(
                f"--heads is a share of the corpus' clips, and {clips.data} holds prepared videos."
            )
        if clips.people is not None and stage in ON_PREPARED and not clips.heads:
            raise ValueError(
                "--people says which rendered heads are of high quality; it needs --heads SHARE."
            )
        if stage not in (*ON_PREPARED, "ship") and is_prepared(clips.data):
            raise ValueError(
                f"The stage {stage} learns from the procedural corpus and {clips.data} holds prepared videos; "
                f"use them for {', '.join(ON_PREPARED)}, with --from-weights weights/small/student.safetensors if "
                "need be."
            )
