"""The decoder that moves: what it starts as, what a flow means, and that the paint goes where the matte opens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.configs import VAEConfig
from models.modules.mover import FLOW_SCALE_PX, Moves, compose, doubled, edge_window, warp
from models.modules.vae import VAE
from models.presets import Preset

CONFIG = VAEConfig(stem=2, widths=(16, 24, 32), blocks=1, decoder="move")


def picture(rows: int, columns: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, rows, columns, generator=torch.Generator().manual_seed(3))


def test_before_training_a_frame_is_its_reference() -> None:
    torch.manual_seed(0)
    vae = VAE(CONFIG).eval()
    seen = picture(48, 64)
    with torch.no_grad():
        reference = vae.reference(seen)
        assert reference is not None
        moves = vae.decoder.moves(vae.moments(seen)[0], vae.decoder.mix_reference(reference))
        frame = vae.decode(vae.encode(seen), reference)
    assert moves.flow.shape == (1, 2, 24, 32) and moves.matte.shape == (1, 1, 48, 64)
    assert moves.flow.abs().max() < 1.0
    assert torch.sigmoid(moves.matte).mean() < 0.2
    assert (frame - seen).abs().mean() < 0.2


def test_flow_says_where_a_pixel_comes_from() -> None:
    seen = picture(20, 30)
    flow = torch.zeros(1, 2, 20, 30)
    flow[:, 0] = 3.0  # every pixel shows what lies three to its right
    flow[:, 1] = -2.0
    moved = warp(seen, flow)
    torch.testing.assert_close(moved[..., 2:, :-3], seen[..., :-2, 3:], atol=1e-5, rtol=0)


def test_a_shut_matte_keeps_the_picture_and_an_open_one_shows_paint() -> None:
    seen, paint = picture(16, 16), torch.full((1, 3, 16, 16), 0.25)
    still = torch.zeros(1, 2, 8, 8)
    shut = compose(seen, Moves(still, torch.full((1, 1, 16, 16), -30.0), paint), "bicubic")
    opened = compose(seen, Moves(still, torch.full((1, 1, 16, 16), 30.0), paint))
    torch.testing.assert_close(shut, seen, atol=1e-5, rtol=0)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(opened[inner], paint[inner], atol=1e-5, rtol=0)


def test_nothing_is_painted_or_moved_at_the_box_edge() -> None:
    window = edge_window(160, 160, torch.device("cpu"))
    assert window[0].max() < 0.01 and window[:, -1].max() < 0.01
    assert window[12:-12, 12:-12].min() == 1
    torch.testing.assert_close(window, window.flip(0).flip(1))


def test_an_even_flow_stays_even_when_doubled() -> None:
    even = torch.full((1, 2, 5, 7), 4.0)
    assert torch.equal(doubled(even), torch.full((1, 2, 10, 14), 4.0))


def test_the_decoder_is_told_what_the_reference_shows() -> None:
    vae = VAE(CONFIG)
    reference = vae.reference(picture(16, 16))
    assert reference is not None
    assert reference.levels[-1].shape[1] == CONFIG.widths[-1] + CONFIG.latent_channels


def test_gradients_reach_every_leaf() -> None:
    torch.manual_seed(1)
    vae = VAE(CONFIG)
    seen = picture(32, 32, 2)
    out = vae.decode(vae.encode(seen.flip(-1)), vae.reference(seen))
    (out - seen.flip(-1)).abs().mean().backward()
    idle = [name for name, p in vae.decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in idle if "conv1" not in name and not name.startswith("mix")], idle


@pytest.mark.parametrize(
    "wrong", [{"stem": 4}, {"reference_skips": False}, {"widths": (32,)}, {"decoder": "x"}]
)
def test_a_shape_that_cannot_move_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="decoder"):
        replace(CONFIG, **wrong)


def test_a_preset_keeps_its_decoder_in_a_checkpoint() -> None:
    preset = Preset("mover", vae=CONFIG)
    assert Preset.from_dict(preset.to_dict()) == preset
    assert VAEConfig().decoder == "paint"
    assert FLOW_SCALE_PX > 0
