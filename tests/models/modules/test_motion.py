"""Latents of mouth and eyes: rest is zero, light does not pass, any size of picture has its latents."""

from __future__ import annotations

import torch

from models.configs import VAEConfig
from models.modules.motion import STATE_DIMS
from models.modules.vae import VAE

MOVES = VAEConfig(stem=2, widths=(16, 24, 32), blocks=1, decoder="move")


def made() -> VAE:
    torch.manual_seed(0)
    return VAE(MOVES).eval()


def test_rest_is_zero_and_every_dim_is_seen() -> None:
    vae = made()
    assert vae.written(torch.zeros(1, STATE_DIMS), (160, 160)).abs().max() == 0
    each = vae.written(torch.eye(STATE_DIMS), (160, 160))
    assert each.shape == (STATE_DIMS, 8, 20, 20)
    assert each.flatten(1).std(dim=1).min() > 0.1


def test_other_sizes_have_latents_too() -> None:
    mean, variance = made().moments(torch.rand(2, 3, 64, 96))
    assert mean.shape == variance.shape == (2, 8, 8, 12)


def test_strength_and_colour_of_the_light_do_not_pass() -> None:
    vae = made()
    picture = 0.2 + 0.4 * torch.rand(1, 3, 160, 160)
    tinted = picture * torch.tensor([1.4, 0.9, 0.6]).view(1, 3, 1, 1)
    torch.testing.assert_close(vae.encode(picture), vae.encode(tinted), atol=2e-3, rtol=0)


def test_a_state_that_is_told_takes_the_place_of_the_one_that_is_read() -> None:
    vae, picture = made(), torch.rand(1, 3, 160, 160)
    state = torch.rand(1, STATE_DIMS)
    told, read = vae.reference(picture, state), vae.reference(picture)
    assert told is not None and read is not None
    torch.testing.assert_close(told.levels[-1][:, -8:], vae.written(state, (160, 160)))
    torch.testing.assert_close(read.levels[-1][:, -8:], vae.moments(picture)[0])
