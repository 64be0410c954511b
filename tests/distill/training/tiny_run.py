"""A training run of a tiny model as a process of its own, for tests that kill it or share it among several.

In: arguments (see `main`); clips that a test has made ahead. Out: the run folder of
`distill.training.loop`, and in it ``raw.json`` with the figures of every step that this process saw,
averaged over processes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from distill.data.clip_set import ClipSet
from distill.data.speech_set import SpeechSet
from distill.methods.recipes import recipe
from distill.methods.stage import StudentStage, start_student
from distill.stages.samples import sample_sheet
from distill.stages.teacher import TeacherStage
from distill.training.loop import Loop, LoopConfig, Stage
from distill.training.parallel import gather_objects, join_world, leave_world, mean_figures
from tests.models.tiny import tiny_model, tiny_preset

CPU = "cpu"


def tiny_clips(root: Path) -> ClipSet:
    """Two clips of a second and a half each, the same for everybody who asks for them under ``root``."""
    speech = SpeechSet(root, "train", 2, seconds=3.0)
    return ClipSet(root, tiny_preset(), tiny_model("teacher").vae, speech, "train", 2, frames=14)


class _Teacher(TeacherStage):
    """With a sheet of two frames, for checkpoints at every step."""

    def sheet(self, path: Path) -> None:
        sample_sheet(path, self.model, self.data, steps=1, rows=1, frames=2)


class _Student(StudentStage):
    """Likewise."""

    def sheet(self, path: Path) -> None:
        sample_sheet(path, self.model, self.high, steps=1, rows=1, frames=2)


def tiny_stage(kind: str, clips: ClipSet, batch: int, device: str = CPU) -> Stage:
    """A stage whose every layer is awake and whose decoder stays as it is."""
    teacher = tiny_model("teacher").to(device)
    teacher.vae.requires_grad_(False)
    if kind == "teacher":
        return _Teacher(teacher.train(), clips, batch, 4, device)
    chosen = recipe("fast")
    student = start_student(teacher, chosen).to(device)
    student.vae.requires_grad_(False)
    return _Student(student, teacher, clips, None, batch, 4, device, chosen)


class _Recorder(Loop):
    """A loop that keeps the figures of every step."""

    def _note(self, figures: dict[str, float]) -> None:
        self.raw = [*getattr(self, "raw", []), figures]
        super()._note(figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train; several processes meet as torchrun tells them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("teacher", "student"))
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--stop", type=int, help="leave after this step, with a checkpoint")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--checkpoint-s", type=float, default=1e9)
    parser.add_argument("--parallel", default="auto")
    parser.add_argument("--device", default=CPU)
    args = parser.parse_args(arguments)
    join_world()
    stage = tiny_stage(args.kind, tiny_clips(args.data), args.batch, args.device)
    config = LoopConfig(
        out=args.out,
        steps=args.steps,
        lr=1e-3,
        warmup=3,
        checkpoint_s=args.checkpoint_s,
        log_steps=1,
        seed=3,
        device=args.device,
        bf16=False,
        parallel=args.parallel,
    )
    loop = _Recorder(stage, config)
    if args.stop:
        while loop.progress.step < args.stop:
            loop._note(mean_figures(gather_objects(loop._step())))
        loop._save()
        loop.close()
    else:
        loop.run()
    if loop.rank == 0:
        (args.out / "raw.json").write_text(json.dumps(loop.raw))
    leave_world()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
