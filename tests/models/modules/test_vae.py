"""The autoencoder's shapes, normalisation and use of the reference."""

from __future__ import annotations

import pytest
import torch

from models.modules.vae import VAE
from models.presets import VAEConfig


def _vae(skips: bool = True) -> VAE:
    torch.manual_seed(0)
    return VAE(VAEConfig(latent_channels=4, widths=(8, 16), blocks=1, reference_skips=skips)).eval()


@torch.no_grad()
@pytest.mark.parametrize("skips", [True, False])
def test_shapes(skips: bool) -> None:
    vae, picture = _vae(skips), torch.rand(2, 3, 64, 48)
    z = vae.encode(picture)
    assert z.shape == (2, 4, 8, 6)
    out = vae.decode(z, vae.reference(picture))
    assert out.shape == picture.shape and out.min() >= 0 and out.max() <= 1


@torch.no_grad()
def test_normalisation_is_undone_by_the_decoder() -> None:
    vae, picture = _vae(), torch.rand(1, 3, 32, 32)
    before, plain = vae.decode(vae.encode(picture), None), vae.encode(picture)
    vae.mean.fill_(0.3)
    vae.std.fill_(2.0)
    torch.testing.assert_close(vae.encode(picture), (plain - 0.3) / 2.0)
    torch.testing.assert_close(vae.decode(vae.encode(picture), None), before, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_reference_rows_expand_frame_by_frame() -> None:
    vae, pictures, z = _vae(), torch.rand(2, 3, 32, 32), torch.randn(6, 4, 4, 4)
    reference = vae.reference(pictures)
    assert reference is not None
    together = vae.decode(z, reference.expand(3))
    one = vae.reference(pictures[1:])
    assert one is not None
    torch.testing.assert_close(together[3:], vae.decode(z[3:], one.expand(3)), atol=1e-5, rtol=1e-5)


def test_wrong_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="B, 3, H, W"):
        _vae().encode(torch.rand(1, 4, 32, 32))
