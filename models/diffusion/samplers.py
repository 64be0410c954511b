"""Samplers: from pure noise to clean latents, with a teacher's three branches or a student's one.

In: a function x_0 = predict(x_t, t), the starting noise, a number of steps. Out: x_0 of the window.
Pure functions: the noise is a value, nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.diffusion import zero_snr
from models.diffusion.guidance import guided_x0
from models.diffusion.schedules import ddim_step, time_grid
from models.modules.unet import Conditions, Denoiser
from models.presets import Preset

Predict = Callable[[Tensor, Tensor], Tensor]
Sampler = Callable[[Predict, Tensor, int], Tensor]


def sampler_of(preset: Preset) -> Sampler:
    """The sampler (predict, noise, steps) -> clean latents that a preset's networks were made for.

    With the schedule "cosine" the network predicts x_0 at times 1 .. 0, with "zero_snr" velocities at timesteps
    999 .. 0.
    """
    return zero_snr.sample if preset.schedule == "zero_snr" else ddim


def ddim(predict: Predict, noise: Tensor, steps: int) -> Tensor:
    """DDIM from t = 1 to t = 0 in ``steps`` evaluations of ``predict``.

    Args:
        predict: (x_t (B, ...), t (B,)) -> x_0 (B, ...).
        noise: x_1 (B, ...), unit normal.
        steps: evaluations, at least 1.
    """
    x_t = noise
    x_0 = noise
    grid = time_grid(steps)
    for index, now in enumerate(grid):
        t = x_t.new_full((x_t.shape[0],), now, dtype=torch.float32)
        x_0 = predict(x_t, t)
        if index + 1 < len(grid):
            x_t = ddim_step(x_t, x_0, t, torch.full_like(t, grid[index + 1]))
    return x_0


def sample_teacher(
    denoiser: Denoiser, noise: Tensor, cond: Conditions, steps: int, s_ref: float, s_aud: float
) -> Tensor:
    """Multi-CFG sampling: 3 evaluations a step, so 25 steps are 75 NFE (FADA's teacher)."""
    ref = noise.new_full((noise.shape[0],), s_ref, dtype=torch.float32)
    aud = noise.new_full((noise.shape[0],), s_aud, dtype=torch.float32)
    return ddim(lambda x_t, t: guided_x0(denoiser, x_t, t, cond, ref, aud)[0], noise, steps)


def sample_student(denoiser: Denoiser, noise: Tensor, cond: Conditions, steps: int) -> Tensor:
    """One branch, one evaluation a step; the scales are inside ``cond.control``."""
    if cond.control is None:
        raise ValueError("A student needs mixed CFG tokens in its conditions (Conditions.control), got none.")
    return ddim(lambda x_t, t: denoiser(x_t, t, cond), noise, steps)


def window_noise(base: Tensor, own: Tensor, shared: float) -> Tensor:
    """Unit noise of a window whose frames share a part: sqrt(shared) base + sqrt(1 - shared) own.

    Args:
        base: (B, 1, C, h, w), the same for every frame.
        own: (B, T, C, h, w), one for each frame.
        shared: share of the variance in common, 0..1; 1 makes all frames start alike, so that what differs
            between them is what their conditions ask for.

    Source: Ge et al. 2305.10474 (mixed noise).
    """
    return base * shared**0.5 + own * (1.0 - shared) ** 0.5
