"""Sample sheets of the diffusion stages: truth above, generated frames below.

In: a model and a set of clips. Out: a PNG. Frames are painted over the clips' own reference pictures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from distill.data.batches import ClipBatch, Clips, draw_batch
from distill.data.draws import StepDraw, randn
from distill.data.latents import ClipItem
from distill.training.sheets import save_grid
from models.avatar_model import AvatarModel
from models.diffusion.samplers import sample_student, sample_teacher


class _First:
    """One clip of a set, whose reference is always its first, so that its picture is known."""

    def __init__(self, data: Clips, index: int) -> None:
        self.data, self.index = data, index
        self.preset, self.quality = data.preset, data.quality

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> ClipItem:
        item = self.data[self.index]
        return replace(item, references=item.references[:1].repeat(2, 1, 1, 1))

    def picture(self, index: int) -> Tensor:
        """The reference picture (3, h, w)."""
        return self.data.picture(self.index)

    def forget(self) -> None:
        """Nothing is kept here."""


@torch.no_grad()
def sample_sheet(
    path: Path, model: AvatarModel, data: Clips, steps: int, rows: int = 4, frames: int = 8
) -> None:
    """Decode ``rows`` windows: true latents, then the model's own from pure noise."""
    from distill.stages.conditions import conditions

    generators = StepDraw(seed=5, step=0, first=0, rows=rows, total=rows).generators()
    device = str(model.vae.mean.device)
    preset = model.preset
    chosen = [_First(data, row * len(data) // rows) for row in range(rows)]
    drawn = [
        draw_batch([(one, 1.0)], frames, preset.unet.motion_frames, [generator], device)
        for one, generator in zip(chosen, generators, strict=True)
    ]
    batch = ClipBatch(*(torch.cat([getattr(row, f) for row in drawn]) for f in ClipBatch.__slots__))
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
        features = model.vae.reference(chosen[row].picture(0)[None].to(device))
        for latents in (batch.x_0[row], x_0[row]):
            kept = None if features is None else features.expand(frames)
            strips.append(model.vae.decode(latents.float(), kept))
    save_grid(path, strips)
