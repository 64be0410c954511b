"""Noise schedules: how much signal and noise a latent holds at time t in [0, 1].

In: times. Out: alpha_t, sigma_t with alpha_t^2 + sigma_t^2 = 1, and the few-step time grids.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosine(t: Tensor) -> tuple[Tensor, Tensor]:
    """Variance-preserving cosine schedule: (alpha_t, sigma_t); t = 0 is data, t = 1 is pure noise.

    Source: Nichol & Dhariwal 2102.09672 without the offset, so that t = 1 has zero signal
    (Lin et al. 2305.08891: sampling then starts from what training has seen).
    """
    angle = t * (math.pi / 2)
    return torch.cos(angle), torch.sin(angle)


def add_noise(x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """x_t = alpha_t x_0 + sigma_t eps; t broadcasts over the trailing dimensions of x_0."""
    alpha_t, sigma_t = cosine(t.view(-1, *([1] * (x_0.ndim - 1))))
    return alpha_t * x_0 + sigma_t * eps


def eps_from_x0(x_t: Tensor, x_0: Tensor, t: Tensor) -> Tensor:
    """The noise that x_t holds if its data is x_0; sigma_t is kept above 1e-4."""
    alpha_t, sigma_t = cosine(t.view(-1, *([1] * (x_0.ndim - 1))))
    return (x_t - alpha_t * x_0) / sigma_t.clamp_min(1e-4)


def ddim_step(x_t: Tensor, x_0: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """Deterministic DDIM step from t to t_next < t, given the predicted x_0.

    Source: Song et al. 2010.02502, eq. 12 with sigma = 0.
    """
    return add_noise(x_0, eps_from_x0(x_t, x_0, t), t_next)


def time_grid(steps: int) -> tuple[float, ...]:
    """``steps`` times from 1 down to a last one above 0; the step after the last is t = 0.

    Raises:
        ValueError: steps < 1.
    """
    if steps < 1:
        raise ValueError(f"A sampler needs at least 1 step, got {steps}.")
    return tuple(1.0 - i / steps for i in range(steps))


def loss_weight(t: Tensor, cap: float = 4.0) -> Tensor:
    """Weight of the x_0 error at time t: min(snr + 1, cap), the eps-like weight without its explosion.

    Source: min-SNR weighting, Hang et al. 2303.09556.
    """
    _, sigma_t = cosine(t)
    return (1.0 / sigma_t.square().clamp_min(1e-6)).clamp_max(cap)
