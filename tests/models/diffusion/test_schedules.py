"""Schedules keep their closed forms."""

from __future__ import annotations

import pytest
import torch

from models.diffusion.samplers import ddim, window_noise
from models.diffusion.schedules import add_noise, cosine, ddim_step, eps_from_x0, loss_weight, time_grid


def test_variance_is_preserved() -> None:
    alpha_t, sigma_t = cosine(torch.linspace(0, 1, 11))
    torch.testing.assert_close(alpha_t**2 + sigma_t**2, torch.ones(11))
    assert alpha_t[-1].abs() < 1e-6 and sigma_t[0] == 0


def test_eps_inverts_add_noise() -> None:
    x_0, eps, t = torch.randn(3, 4, 5), torch.randn(3, 4, 5), torch.tensor([0.1, 0.5, 1.0])
    torch.testing.assert_close(eps_from_x0(add_noise(x_0, eps, t), x_0, t), eps, atol=1e-4, rtol=1e-4)


def test_ddim_with_the_true_x0_lands_on_the_true_path() -> None:
    x_0, eps = torch.randn(2, 3), torch.randn(2, 3)
    now, then = torch.tensor([0.9, 0.6]), torch.tensor([0.4, 0.2])
    moved = ddim_step(add_noise(x_0, eps, now), x_0, now, then)
    torch.testing.assert_close(moved, add_noise(x_0, eps, then), atol=1e-5, rtol=1e-5)


def test_ddim_evaluates_exactly_nfe_times_from_pure_noise() -> None:
    seen: list[float] = []

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(float(t[0]))
        return torch.zeros_like(x_t)

    out = ddim(predict, torch.randn(1, 2), 4)
    assert seen == list(time_grid(4)) == [1.0, 0.75, 0.5, 0.25]
    assert not out.any()


def test_no_step_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 step"):
        time_grid(0)


def test_loss_weight_is_capped() -> None:
    weight = loss_weight(torch.tensor([0.0, 0.01, 1.0]))
    assert weight.tolist() == pytest.approx([4.0, 4.0, 1.0])


def test_window_noise_has_unit_variance_and_the_stated_share() -> None:
    base, own = torch.randn(1, 1, 200_00), torch.randn(1, 4, 200_00)
    mixed = window_noise(base, own, 0.6)
    assert mixed.std().item() == pytest.approx(1.0, abs=0.03)
    correlation = (mixed[0, 0] * mixed[0, 1]).mean().item()
    assert correlation == pytest.approx(0.6, abs=0.05)
