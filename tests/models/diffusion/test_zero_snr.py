"""The zero-SNR schedule: closed forms, and the two habits of EchoMimic's sampler."""

from __future__ import annotations

import math

import pytest
import torch

from models.diffusion.samplers import ddim, sampler_of
from models.diffusion.zero_snr import NOISE_LIMIT, cumulative_alphas, levels, sample, timesteps, v_step
from models.presets import preset


def test_the_last_timestep_holds_no_signal_and_the_first_is_kept() -> None:
    power = cumulative_alphas()
    assert power[-1] == 0.0 and power[0] == pytest.approx(1 - 0.00085, abs=1e-6)
    assert bool((power.diff() < 0).all())
    assert levels(-1) == (1.0, 0.0) and levels(999) == (0.0, 1.0)
    for t in (0, 166, 500):
        alpha_t, sigma_t = levels(t)
        assert alpha_t**2 + sigma_t**2 == pytest.approx(1.0)


def test_a_step_does_not_go_to_the_next_timestep() -> None:
    assert timesteps(6) == ((999, 833), (832, 666), (666, 500), (499, 333), (332, 166), (166, 0))
    assert timesteps(4)[-1] == (249, -1)
    assert timesteps(1) == ((999, -1),)
    for steps in (1, 2, 3, 7, 30, 999, 1000):
        assert len(timesteps(steps)) == steps
    for steps in (0, -1, 1001):
        with pytest.raises(ValueError, match="1 to 1000 steps"):
            timesteps(steps)


def test_a_true_velocity_leads_to_the_true_latents() -> None:
    torch.manual_seed(0)
    x_0, eps = torch.randn(2, 3, 4), torch.randn(2, 3, 4).clamp(-NOISE_LIMIT, NOISE_LIMIT)

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_t, sigma_t = levels(int(t[0]))
        torch.testing.assert_close(x_t, alpha_t * x_0 + sigma_t * eps, rtol=1e-4, atol=1e-4)
        return alpha_t * eps - sigma_t * x_0

    # Velocities that know the clean latents: each step lands on the same straight line.
    for steps in (1, 4, 5):
        exact = sample(_along(x_0), eps, steps)
        torch.testing.assert_close(exact, x_0, rtol=1e-4, atol=1e-4)
    predict(eps, torch.tensor([999.0]))
    left = sample(_along(x_0), eps, 6) - levels(0)[0] * x_0
    assert float(left.std()) == pytest.approx(math.sqrt(0.00085) * float(eps.std()), rel=0.05)


def _along(x_0: torch.Tensor):
    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_t, sigma_t = levels(int(t[0]))
        eps = (x_t - alpha_t * x_0) / sigma_t
        return alpha_t * eps - sigma_t * x_0

    return predict


def test_starting_noise_is_clipped() -> None:
    seen = []
    sample(lambda x, t: seen.append(x) or x * 0, torch.tensor([[-4.0, 0.5, 4.0]]), 1)
    assert seen[0].tolist() == [[-1.5, 0.5, 1.5]]


def test_steps_down_to_no_noise_give_the_clean_guess() -> None:
    x, v = torch.randn(5), torch.randn(5)
    alpha_t, sigma_t = levels(249)
    torch.testing.assert_close(v_step(x, v, 249, -1), alpha_t * x - sigma_t * v)


def test_each_preset_has_its_own_sampler() -> None:
    assert sampler_of(preset("small")) is ddim and sampler_of(preset("base")) is sample
