"""Stage "student": multi-CFG distillation with learnable tokens and the mixed-supervised loss.

In: a frozen teacher, clips of high and of moderate quality. Out: a student that needs one branch and few steps.

Every step draws random scales; the same values weight the teacher's three outputs and the student's three
tokens. Per sample, with e_T the teacher's own error against the truth at this noise level and r its running
mean over high-quality data, lambda = clip(r / e_T, 0, 1) and L = lambda L_distill + (1 - lambda) L_GT: where
the teacher explains a sample poorly, the truth supervises. Source: FADA's method figure (tokens, two losses,
adaptive mixer); the mixer's rule is our own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.batches import draw_batch, draw_noise
from distill.clip_set import ClipSet
from distill.stages.teacher import DiffusionTrunk, conditions, latent_weights, weighted_error
from models.avatar_model import AvatarModel
from models.checkpoint import save_model
from models.guidance import guided_x0
from models.schedules import add_noise, loss_weight, time_grid

AUDIO_SCALES = (1.0, 2.5)
REFERENCE_SCALES = (1.0, 2.0)
MODERATE_SHARE = 0.25
GRIDS = (1, 2, 4, 6)
NOISE_BINS = 10


class StudentStage:
    """One branch learns what three branches say, at the times that few-step sampling visits."""

    name = "student"

    def __init__(
        self,
        student: AvatarModel,
        teacher: AvatarModel,
        high: ClipSet,
        moderate: ClipSet | None,
        batch: int,
        frames: int,
        device: str,
    ) -> None:
        self.model, self.teacher = student, teacher.eval().requires_grad_(False)
        self.sets = (
            [(high, 1.0)] if moderate is None else [(high, 1 - MODERATE_SHARE), (moderate, MODERATE_SHARE)]
        )
        self.high = high
        self.batch, self.frames, self.device = batch, frames, device
        self.trunk = DiffusionTrunk(student)
        # the mixer's running means travel with the checkpoint
        self.trunk.register_buffer("teacher_error", torch.zeros(NOISE_BINS, device=device))
        _, rows, columns = student.preset.latent_shape
        self.weights = latent_weights(rows, columns, device)

    def trainable(self) -> nn.Module:
        return self.trunk

    def _times(self, generator: torch.Generator) -> Tensor:
        """Times (B,): three quarters on the grids of few-step samplers, the rest anywhere."""
        draw = torch.rand(self.batch, 3, generator=generator)
        times = []
        for anywhere, which, where in draw.tolist():
            grid = time_grid(GRIDS[int(which * len(GRIDS))])
            times.append(where**0.7 if anywhere < 0.25 else grid[int(where * len(grid))])
        return torch.tensor(times, device=self.device)

    def _mixer(self, error: Tensor, t: Tensor, high: Tensor) -> Tensor:
        """lambda (B,) of the module's docstring; updates the running means from high-quality rows."""
        running = self.trunk.get_buffer("teacher_error")
        bins = (t * NOISE_BINS).long().clamp(max=NOISE_BINS - 1)
        for index, value, good in zip(bins.tolist(), error.tolist(), high.tolist(), strict=True):
            if good:
                old = running[index]
                running[index] = value if old == 0 else old * 0.99 + value * 0.01
        mean = running[bins]
        return torch.where(mean > 0, (mean / error.clamp_min(1e-8)).clamp(0, 1), torch.ones_like(error))

    def loss(self, generator: torch.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        unet = self.model.preset.unet
        batch = draw_batch(self.sets, self.batch, self.frames, unet.motion_frames, generator, self.device)
        scales = torch.rand(self.batch, 2, generator=generator).to(self.device)
        s_aud = AUDIO_SCALES[0] + (AUDIO_SCALES[1] - AUDIO_SCALES[0]) * scales[:, 0]
        s_ref = REFERENCE_SCALES[0] + (REFERENCE_SCALES[1] - REFERENCE_SCALES[0]) * scales[:, 1]
        t = self._times(generator)
        x_t = add_noise(batch.x_0, draw_noise(batch.x_0, generator), t)
        with torch.no_grad():
            teacher_cond = conditions(self.teacher, batch)
            guided, plain = guided_x0(self.teacher.denoiser, x_t, t, teacher_cond, s_ref, s_aud)
            guided, plain = guided.float(), plain.float()
            mix = self._mixer(weighted_error(plain, batch.x_0, self.weights), t, batch.high_quality)
        cond = replace(conditions(self.model, batch), control=self.model.control(s_ref, s_aud))
        x_0 = self.model.denoiser(x_t, t, cond)
        distilled = weighted_error(x_0, guided, self.weights)
        true = weighted_error(x_0, batch.x_0, self.weights)
        weight = loss_weight(t)
        loss = ((mix * distilled + (1 - mix) * true) * weight).mean()
        figures = {
            "distill": float(distilled.detach().mean()),
            "truth": float(true.detach().mean()),
            "lambda": float(mix.mean()),
        }
        return loss, figures

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_model(path, self.model, **notes)

    def sheet(self, path: Path) -> None:
        from distill.stages.samples import sample_sheet

        sample_sheet(path, self.model, self.high, steps=self.model.preset.stream.nfe)


def student_from(teacher: AvatarModel) -> AvatarModel:
    """A student that starts as its teacher; control layers start at zero, tokens at random."""
    student = AvatarModel(teacher.preset, "student")
    missing, unexpected = student.load_state_dict(teacher.state_dict(), strict=False)
    strange = [key for key in missing if "control" not in key and not key.startswith("tokens.")]
    if strange or unexpected:
        raise ValueError(
            f"Teacher and student differ beyond the control layers: {strange[:3]}, {unexpected[:3]}."
        )
    return student
