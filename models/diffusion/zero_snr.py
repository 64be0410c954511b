"""The noise schedule of EchoMimic: 1000 timesteps, zero signal at the last, velocities, DDIM.

In: velocities that a network predicts at integer timesteps. Out: less noisy latents. Its twin for the
small preset is `models.diffusion.schedules`. Two habits are kept, since weights and outputs depend on
them: a step goes to t - 1000 // steps, which is not always the next timestep asked for, and so six steps
end with 3 % of noise (standard deviation) left; and the starting noise is clipped.

Source: Lin et al. 2305.08891 (zero terminal SNR, trailing steps); Salimans & Ho 2202.00512 (velocity); Song et al.
2010.02502, eq. 12 with sigma = 0; the values as in the public EchoMimic configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

TRAIN_STEPS: Final = 1000
BETA_START: Final = 0.00085
BETA_END: Final = 0.012
NOISE_LIMIT: Final = 1.5
"""Starting noise is clipped to ± this."""

Predict = Callable[[Tensor, Tensor], Tensor]


def cumulative_alphas() -> Tensor:
    """Share of signal power at each timestep, (1000,), 0 at the last and unchanged at the first."""
    betas = torch.linspace(BETA_START, BETA_END, TRAIN_STEPS, dtype=torch.float32)
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    power = ((root - last) * (first / (first - last))).square()
    # The public code keeps the ratios as betas and multiplies them up again; so do we, to the last bit.
    betas = 1.0 - torch.cat((power[:1], power[1:] / power[:-1]))
    return torch.cumprod(1.0 - betas, dim=0)


@lru_cache(maxsize=1)
def _levels() -> tuple[tuple[float, float], ...]:
    power = cumulative_alphas().double()
    return tuple(zip(power.sqrt().tolist(), (1.0 - power).sqrt().tolist()))


def levels(t: int) -> tuple[float, float]:
    """(alpha_t, sigma_t) of a timestep; a negative one is data without noise."""
    return (1.0, 0.0) if t < 0 else _levels()[t]


def timesteps(steps: int) -> tuple[tuple[int, int], ...]:
    """(timestep, where its step leads) of each evaluation, noisiest first.

    Raises:
        ValueError: not 1 .. 1000 steps.
    """
    if not 1 <= steps <= TRAIN_STEPS:
        raise ValueError(f"A sampler takes 1 to {TRAIN_STEPS} steps, got {steps}.")
    grid = torch.arange(TRAIN_STEPS, 0, -TRAIN_STEPS / steps, dtype=torch.float64).round().long() - 1
    return tuple((int(t), int(t) - TRAIN_STEPS // steps) for t in grid[:steps])


def v_step(x_t: Tensor, v: Tensor, t: int, then: int) -> Tensor:
    """DDIM from timestep t to ``then`` < t, given the predicted velocity."""
    alpha_t, sigma_t = levels(t)
    alpha_s, sigma_s = levels(then)
    x_0 = alpha_t * x_t - sigma_t * v
    eps = alpha_t * v + sigma_t * x_t
    return alpha_s * x_0 + sigma_s * eps


def sample(predict: Predict, noise: Tensor, steps: int) -> Tensor:
    """From clipped noise to latents in ``steps`` evaluations of ``predict``.

    Args:
        predict: (x_t (B, ...), t (B,) as fp32) -> v (B, ...).
        noise: (B, ...), unit normal.
        steps: evaluations, 1 .. 1000.
    """
    x_t = noise.clamp(-NOISE_LIMIT, NOISE_LIMIT)
    for now, then in timesteps(steps):
        t = x_t.new_full((x_t.shape[0],), now, dtype=torch.float32)
        x_t = v_step(x_t, predict(x_t, t), now, then)
    return x_t
