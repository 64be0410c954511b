"""One training sample of every method: clips, noise, times, scales and what both networks are told.

In: this step's draws and the sets of clips. Out: a `Sample`. Nothing here knows which method asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from distill.data.batches import MOTION_DROPOUT, MOTION_NOISE, ClipBatch, Clips, draw_batch, draw_noise
from distill.data.draws import Generators, StepDraw, rand, randn
from distill.stages.conditions import audio_features
from models.avatar_model import AvatarModel
from models.diffusion.schedules import add_noise, time_grid
from models.face import SAMPLES_PER_FRAME
from models.modules.unet import Conditions

AUDIO_SCALES = (0.0, 2.5)
REFERENCE_SCALES = (0.5, 1.5)
NEAR = 0.15
"""Half of the rows draw scales this close (as a share of the range) to the preset's, where most users stay."""
ANYWHERE = 0.25
"""Share of rows whose time lies off the sampler's grid."""


@dataclass(frozen=True, slots=True)
class Sample:
    """B windows of T frames, noised."""

    batch: ClipBatch
    audio: Tensor  # (B, T, W): features of the frozen audio encoder, which teacher and student share
    noise: Tensor  # (B, T, C, h, w)
    t: Tensor  # (B,)
    x_t: Tensor  # (B, T, C, h, w)
    s_ref: Tensor  # (B,)
    s_aud: Tensor  # (B,)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw: sets with their shares, frames of a window, step counts whose grids are visited."""

    sets: Sequence[tuple[Clips, float]]
    frames: int
    grids: tuple[int, ...]
    random_scales: bool
    device: str


def draw_sample(
    model: AvatarModel, drawing: Drawing, draw: StepDraw, lead: int = 0
) -> tuple[Sample, ClipBatch]:
    """The sample of one step, and the longer batch it is cut from: ``lead`` frames come before the window."""
    generators = draw.generators()
    preset = model.preset
    long = draw_batch(
        list(drawing.sets), drawing.frames + lead, preset.unet.motion_frames, generators, drawing.device
    )
    batch = later_window(model, long, lead, drawing.frames, generators)
    draws = rand(generators, 7).to(drawing.device)
    t = grid_times(draws[:, 0:3], drawing.grids)
    stream = preset.stream
    s_ref = torch.full_like(t, stream.reference_scale)
    s_aud = torch.full_like(t, stream.audio_scale)
    if drawing.random_scales:
        s_ref = draw_scale(draws[:, 3:5], REFERENCE_SCALES, stream.reference_scale)
        s_aud = draw_scale(draws[:, 5:7], AUDIO_SCALES, stream.audio_scale)
    noise = draw_noise(batch.x_0, generators)
    features = audio_features(model, batch.audio, drawing.frames)
    return Sample(batch, features, noise, t, add_noise(batch.x_0, noise, t), s_ref, s_aud), long


def grid_times(draws: Tensor, grids: tuple[int, ...]) -> Tensor:
    """Times (B,) in (0, 1] from uniform draws (B, 3): on a random grid's points, or anywhere as u^0.7."""
    times = []
    for anywhere, which, where in draws.tolist():
        grid = time_grid(grids[int(which * len(grids))])
        times.append(max(where**0.7, 1e-3) if anywhere < ANYWHERE else grid[int(where * len(grid))])
    return torch.tensor(times, device=draws.device)


def draw_scale(draws: Tensor, limits: tuple[float, float], usual: float) -> Tensor:
    """Guidance scales (B,) from uniform draws (B, 2): half anywhere within limits, half near the usual one."""
    low, high = limits
    wide = low + (high - low) * draws[:, 1]
    near = usual + (draws[:, 1] - 0.5) * 2 * NEAR * (high - low)
    return torch.where(draws[:, 0] < 0.5, wide, near.clamp(low, high))


def later_window(
    model: AvatarModel, long: ClipBatch, lead: int, frames: int, generators: Generators
) -> ClipBatch:
    """Frames lead..lead + frames of a batch, with true motion frames (noised, now and then dropped)."""
    if not lead:
        return long
    cfg, keep, device = model.preset.audio, long.motion.shape[1], long.x_0.device
    begin = lead * SAMPLES_PER_FRAME
    length = cfg.context_samples + frames * SAMPLES_PER_FRAME + cfg.lookahead_samples
    window = slice(lead, lead + frames)
    draws = rand(generators, 2).to(device).view(-1, 2, 1, 1, 1)
    before = torch.cat((long.motion, long.x_0[:, :lead]), dim=1)[:, -keep:]
    before = torch.where(draws[:, 1:] < MOTION_DROPOUT, long.reference.unsqueeze(1), before)
    grain = randn(generators, *before.shape[1:]).to(device)
    return replace(
        long,
        x_0=long.x_0[:, window],
        motion=before + MOTION_NOISE * draws[:, :1] * grain,
        audio=long.audio[:, begin : begin + length],
        mouth=long.mouth[:, window],
        expression=long.expression[:, window],
    )


def tell(model: AvatarModel, sample: Sample) -> Conditions:
    """Conditions of one network for a sample: its own reading of reference and motion frames, no tokens yet."""
    banks = model.reference_net(sample.batch.reference, sample.batch.motion)
    return Conditions(sample.audio, sample.batch.expression, sample.batch.reference, banks)
