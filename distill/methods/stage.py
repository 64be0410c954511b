"""Stage "student": a teacher is distilled by a `Recipe`; the methods' files say what each part computes.

In: a frozen teacher, clips of high and of moderate quality, a recipe. Out: a student. Errors are weighted over
the face (mouth, eyes) and by noise level as in the teacher's own training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.batches import Clips
from distill.data.draws import StepDraw
from distill.methods.balanced import branch, draw_branches, same_branch
from distill.methods.mixed import MODERATE_SHARE, Mixer, guided_truth, mixed_loss
from distill.methods.naive import guided_target, one_branch, teacher_branches
from distill.methods.recipes import Recipe
from distill.methods.rollout import lead_frames, rolled, rolled_rows
from distill.methods.sample import Drawing, Sample, draw_sample
from distill.methods.tokens import controlled, student_from
from distill.stages.teacher import DiffusionTrunk, latent_weights, weighted_error
from models.avatar_model import AvatarModel
from models.diffusion.schedules import loss_weight
from models.weights import save_model

GRIDS = (6,)
"""Step counts whose times this stage visits; fewer steps are the step stage's."""


def start_student(teacher: AvatarModel, chosen: Recipe) -> AvatarModel:
    """The student of a recipe, equal to its teacher: with control layers if it has tokens, else as it is."""
    if chosen.tokens:
        return student_from(teacher)
    student = AvatarModel(teacher.preset, "teacher")
    student.load_state_dict(teacher.state_dict())
    return student


class StudentTrunk(DiffusionTrunk):
    """A student's trained parts, and the mixer's running means beside them."""

    def __init__(self, model: AvatarModel) -> None:
        super().__init__(model)
        self.mixer = Mixer()


class StudentStage:
    """One recipe at work."""

    name = "student"

    def __init__(
        self,
        student: AvatarModel,
        teacher: AvatarModel,
        high: Clips,
        moderate: Clips | None,
        batch: int,
        frames: int,
        device: str,
        chosen: Recipe,
        grids: tuple[int, ...] = GRIDS,
    ) -> None:
        """``moderate`` None trains a mixed recipe on high quality alone."""
        self.model, self.teacher = student, teacher.eval().requires_grad_(False)
        self.high, self.batch, self.recipe, self.device = high, batch, chosen, device
        sets = [(high, 1.0)]
        if chosen.mixed and moderate is not None:
            sets = [(high, 1 - MODERATE_SHARE), (moderate, MODERATE_SHARE)]
        self.drawing = Drawing(sets, frames, grids, chosen.tokens, device)
        self.lead = lead_frames(student.preset, frames) if chosen.rollout else 0
        self.trunk = StudentTrunk(student).to(device)
        self.weights = latent_weights(student.preset, device)

    def trainable(self) -> nn.Module:
        return self.trunk

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        sample, long = draw_sample(self.model, self.drawing, draw, self.lead)
        if self.lead:
            sample = rolled(self.model, sample, long, self.lead, rolled_rows(draw.first, draw.rows))
        if self.recipe.branches == 3:
            return self._branch_loss(draw, sample)
        target, plain, deaf = guided_target(self.teacher, sample)
        x_0 = (controlled if self.recipe.tokens else one_branch)(self.model, sample)
        share = self._share(sample, plain, self._error(sample, deaf))
        return self._compare(sample, x_0, target, plain, share)

    def _branch_loss(self, draw: StepDraw, sample: Sample) -> tuple[Tensor, dict[str, float]]:
        keep_audio, keep_reference = draw_branches(draw.generators(), self.device)
        answers = teacher_branches(self.teacher, sample)
        target = same_branch(answers, keep_audio, keep_reference)
        x_0 = branch(self.model, sample, keep_audio, keep_reference)
        share = self._share(sample, answers[2], self._error(sample, answers[1]))
        share = torch.where(keep_audio, share, torch.ones_like(share))  # the truth answers the audio branch
        # a branch is unguided: its own answer is the plain one
        return self._compare(sample, x_0, target, target, share)

    def _error(self, sample: Sample, x_0: Tensor) -> Tensor:
        return weighted_error(x_0, sample.batch.x_0, self.weights)

    def _share(self, sample: Sample, plain: Tensor, deaf: Tensor) -> Tensor:
        """lambda (B,); 1 without the mixed-supervised loss."""
        if not self.recipe.mixed:
            return torch.ones_like(sample.t)
        share: Tensor = self.trunk.mixer(
            self._error(sample, plain), deaf, sample.t, sample.batch.high_quality
        )
        return share

    def _compare(
        self, sample: Sample, x_0: Tensor, target: Tensor, plain: Tensor, share: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        distilled = weighted_error(x_0, target, self.weights)
        true = weighted_error(x_0, guided_truth(sample.batch.x_0, target, plain), self.weights)
        loss = (mixed_loss(distilled, true, share) * loss_weight(sample.t)).mean()
        figures = {
            "distill": float(distilled.detach().mean()),
            "truth": float(true.detach().mean()),
            "lambda": float(share.mean()),
        }
        return loss, figures

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_model(path, self.model, **notes, method=self.recipe.name, branches=self.recipe.branches)

    def sheet(self, path: Path) -> None:
        from distill.stages.samples import sample_sheet

        sample_sheet(path, self.model, self.high, steps=6)
