"""Sample sheets of the diffusion stages: truth above, generated frames below.

In: a model and a set of clips. Out: a PNG.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from distill.data.batches import Clips, draw_batch
from distill.data.draws import StepDraw, randn
from distill.training.sheets import save_grid
from models.avatar_model import AvatarModel
from models.diffusion.samplers import sample_student, sample_teacher


@torch.no_grad()
def sample_sheet(
    path: Path, model: AvatarModel, data: Clips, steps: int, rows: int = 4, frames: int = 8
) -> None:
    """Decode ``rows`` windows: true latents, then the model's own from pure noise."""
    from distill.stages.conditions import conditions

    generators = StepDraw(seed=5, step=0, first=0, rows=rows, total=rows).generators()
    device = str(model.vae.mean.device)
    preset = model.preset
    batch = draw_batch([(data, 1.0)], frames, preset.unet.motion_frames, generators, device)
    cond = conditions(model, batch)
    noise = randn(generators, 1, *batch.x_0.shape[2:]).to(device).expand_as(batch.x_0)
    if model.role == "student":
        scale = torch.ones(rows, device=device)
        control = model.control(scale * preset.stream.reference_scale, scale * preset.stream.audio_scale)
        x_0 = sample_student(model.denoiser, noise, replace(cond, control=control), steps)
    else:
        stream = preset.stream
        x_0 = sample_teacher(model.denoiser, noise, cond, steps, stream.reference_scale, stream.audio_scale)
    strips = []
    for row in range(rows):
        # without a picture at hand the decoder's reference is its own decoding of the reference latent
        blank = torch.full((1, 3, preset.face_box[3], preset.face_box[2]), 0.5, device=device)
        plain = model.vae.decode(batch.reference[row : row + 1].float(), model.vae.reference(blank))
        features = model.vae.reference(plain)
        for latents in (batch.x_0[row], x_0[row]):
            kept = None if features is None else features.expand(frames)
            strips.append(model.vae.decode(latents.float(), kept))
    save_grid(path, strips)
