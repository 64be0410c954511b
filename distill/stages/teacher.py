"""Stage "teacher": ReferenceNet and denoiser learn to denoise talking clips of high quality.

In: latents of clips. Out: the multi-CFG teacher. Reference and audio are dropped independently, so that one
network holds all three branches. Source: FADA's method figure; loss weights: docs/training.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.batches import Clips, draw_batch, draw_noise
from distill.data.draws import StepDraw, rand
from distill.data.regions import weight_map
from distill.stages.conditions import conditions
from models.avatar_model import AvatarModel
from models.diffusion.schedules import add_noise, loss_weight
from models.presets import Preset
from models.weights import save_model

AUDIO_DROPOUT = 0.12
REFERENCE_DROPOUT = 0.10


class DiffusionTrunk(nn.Module):
    """The trained parts of a model: all but its VAE and its audio encoder.

    The audio encoder stays as its own stage left it: trained on with the denoiser, it forgot within 150 steps
    what it knew of mouths (its error on the mouth track doubled).
    """

    def __init__(self, model: AvatarModel) -> None:
        super().__init__()
        self.reference_net = model.reference_net
        self.denoiser = model.denoiser
        self.tokens = model.tokens


def draw_times(uniform: Tensor) -> Tensor:
    """Training times (B,) from uniform draws: 30% pure noise, where a few-step sampler decides, the rest u^0.6."""
    return torch.where(uniform < 0.3, 1.0, ((uniform - 0.3) / 0.7).clamp(0, 1) ** 0.6)


def latent_weights(preset: Preset, device: str) -> Tensor:
    """Loss weights over latent cells (h, w) of the preset's face box: mouth 1 + 6, eyes 1 + 3."""
    _, rows, columns = preset.latent_shape
    return weight_map(rows, columns, mouth=6.0, eyes=3.0, box=preset.face_box).to(device)


def weighted_error(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Squared error per row (B,): mean over frames, channels and weighted cells."""
    return ((predicted.float() - target).square() * weights).mean(dim=(1, 2, 3, 4))


class TeacherStage:
    """x_0 prediction with min-SNR weights, mouth-weighted."""

    name = "teacher"

    def __init__(self, model: AvatarModel, data: Clips, batch: int, frames: int, device: str) -> None:
        self.model, self.data = model, data
        self.batch, self.frames, self.device = batch, frames, device
        self.trunk = DiffusionTrunk(model)
        self.weights = latent_weights(model.preset, device)

    def trainable(self) -> nn.Module:
        return self.trunk

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        unet = self.model.preset.unet
        generators = draw.generators()
        batch = draw_batch([(self.data, 1.0)], self.frames, unet.motion_frames, generators, self.device)
        uniform = rand(generators, 3).to(self.device)
        t = draw_times(uniform[:, 0])
        x_t = add_noise(batch.x_0, draw_noise(batch.x_0, generators), t)
        keep_audio, keep_reference = uniform[:, 1] >= AUDIO_DROPOUT, uniform[:, 2] >= REFERENCE_DROPOUT
        cond = replace(conditions(self.model, batch), keep_audio=keep_audio, keep_reference=keep_reference)
        x_0 = self.model.denoiser(x_t, t, cond)
        error = weighted_error(x_0, batch.x_0, self.weights)
        loss = (error * loss_weight(t)).mean()
        both = keep_audio & keep_reference & (t > 0.8)
        figures = {"mse": float(error.detach().mean())}
        if bool(both.any()):
            figures["mse_far"] = float(error.detach()[both].mean())
        return loss, figures

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_model(path, self.model, **notes)

    def sheet(self, path: Path) -> None:
        from distill.stages.samples import sample_sheet

        sample_sheet(path, self.model, self.data, steps=8)
