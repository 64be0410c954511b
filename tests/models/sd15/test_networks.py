"""The arithmetic of SD1.5's layout where the fixtures do not look: guidance rows, motion frames, control."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.networks import Networks, WindowConditions
from models.sd15.blocks import TemporalTransformer
from models.sd15.model import SD15Model
from models.sd15.networks import SD15Networks
from models.sd15.unet import Conditions
from models.sd15.vae import LATENT_SCALE
from tests.models.sd15.small_base import thin_base, thin_model

ROWS, FRAMES = 2, 3


@pytest.fixture(scope="module")
def model() -> SD15Model:
    return thin_model()


def _call(model: SD15Model, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Conditions]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    reference = draw(ROWS, 4, 8, 8)
    with torch.inference_mode():
        kv = model.denoiser.reference_kv(model.reference_net.read_reference(reference))
    face = draw(1, model.preset.unet.channels[0], 8, 8)
    cond = Conditions(draw(ROWS, FRAMES, 50, 384), face, kv)
    return draw(ROWS, FRAMES, 4, 8, 8), torch.tensor([999.0, 166.0]), cond


@torch.inference_mode()
def test_a_row_without_reference_is_a_call_without_one(model: SD15Model) -> None:
    x, t, cond = _call(model)
    mixed = model.denoiser(x, t, replace(cond, keep_reference=torch.tensor([False, True])))
    without = model.denoiser(x, t, replace(cond, reference=()))
    with_it = model.denoiser(x, t, cond)
    torch.testing.assert_close(mixed[0], without[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed[1], with_it[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(without, with_it, atol=1e-2)


@torch.inference_mode()
def test_rows_of_a_batch_do_not_know_each_other(model: SD15Model) -> None:
    x, t, cond = _call(model)
    both = model.denoiser(x, t, cond)
    for row in range(ROWS):
        alone = replace(
            cond,
            audio=cond.audio[row : row + 1],
            reference=tuple(kv[row : row + 1] for kv in cond.reference),
        )
        got = model.denoiser(x[row : row + 1], t[row : row + 1], alone)
        torch.testing.assert_close(got[0], both[row], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_motion_frames_are_frames_before_the_window() -> None:
    torch.manual_seed(0)
    module = TemporalTransformer(32, 4, 4, 32, 32)
    clip = torch.randn(ROWS, 7, 32, 4, 6)
    whole = module(clip.flatten(0, 1), None, 7).unflatten(0, (ROWS, 7))
    past = clip[:, :4].flatten(3).transpose(2, 3)  # (B, M, L, C)
    own = clip[:, 4:].flatten(0, 1).contiguous(memory_format=torch.channels_last)
    split = module(own, past, 3).unflatten(0, (ROWS, 3))
    torch.testing.assert_close(split, whole[:, 4:], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_motion_frames_reach_every_motion_module(model: SD15Model) -> None:
    x, t, cond = _call(model)
    motion = model.reference_net.read_motion(torch.randn(ROWS, 4, 4, 8, 8))
    assert len(motion) == 21 and motion[0].shape == (ROWS, 4, 64, 32)
    plain = model.denoiser(x, t, replace(cond, motion=motion))
    for place in range(21):
        changed = list(motion)
        changed[place] = torch.randn_like(motion[place]) * 3
        assert not torch.equal(model.denoiser(x, t, replace(cond, motion=tuple(changed))), plain)


@torch.inference_mode()
def test_control_layers_start_silent_and_then_count() -> None:
    torch.manual_seed(0)
    fresh = SD15Model(thin_base(), "student").eval()
    x, t, cond = _call(fresh)
    tokens = fresh.control(torch.ones(ROWS), torch.full((ROWS,), 2.0))
    torch.testing.assert_close(
        fresh.denoiser(x, t, replace(cond, control=tokens)), fresh.denoiser(x, t, cond)
    )
    awake = thin_model()
    x, t, cond = _call(awake)
    out = [
        awake.denoiser(x, t, replace(cond, control=awake.control(torch.ones(ROWS), torch.full((ROWS,), s))))
        for s in (0.0, 2.0)
    ]
    assert not torch.allclose(out[0], out[1], atol=1e-3)


def test_wrong_shapes_get_a_sentence(model: SD15Model) -> None:
    x, t, cond = _call(model)
    with pytest.raises(ValueError, match=r"expects x_t \(B, T, C, h, w\)"):
        model.denoiser(x[:, :2], t, cond)
    long = torch.zeros(1, 33, 4, 8, 8)
    with pytest.raises(ValueError, match="at most 32 frames, got 33"):
        model.denoiser(long, t[:1], replace(cond, audio=torch.zeros(1, 33, 50, 384)))
    with pytest.raises(ValueError, match="layout sd15"):
        SD15Model(replace(thin_base(), name="x").from_dict({"name": "small"}), "student")
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        model.vae.encode(torch.zeros(3, 64, 64))
    with pytest.raises(ValueError, match="tiny decoder"):
        model.vae.decode_raw(torch.zeros(1, 4, 8, 8))


@torch.inference_mode()
@pytest.mark.slow
def test_the_networks_answer_in_bf16_as_in_fp32() -> None:
    cpu, answers = torch.device("cpu"), []
    for dtype in (torch.float32, torch.bfloat16):
        networks: Networks = SD15Networks(thin_model(), cpu, dtype)
        generator = torch.Generator().manual_seed(1)

        def draw(*shape: int, generator: torch.Generator = generator) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        latent, kv, features = networks.encode_reference(draw(1, 3, 64, 64).sigmoid())
        assert features == () and len(kv) == 16 and latent.dtype == torch.float32
        motion = networks.motion_banks(latent.unsqueeze(1).repeat(1, 4, 1, 1, 1))
        x, t, scales = draw(1, 3, 4, 8, 8), torch.tensor([499.0]), torch.ones(1, 2)
        nothing = torch.zeros(1, 3, 0)
        v = networks.denoise(x, t, WindowConditions(draw(1, 3, 50, 384), nothing, latent, kv, motion, scales))
        pictures = networks.decode(x[0], latent, features)
        assert pictures.shape == (3, 3, 64, 64) and pictures.min() >= 0 and pictures.max() <= 1
        answers.append((v, pictures))
    (v, pictures), (rough_v, rough_pictures) = answers
    assert (v - rough_v).norm() / v.norm() < 0.05
    assert (pictures - rough_pictures).abs().max() < 0.02


@torch.inference_mode()
def test_latents_come_scaled() -> None:
    vae = thin_model(name="base-vae").vae
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(vae.encode(picture), vae.moments(picture)[0] * LATENT_SCALE)
    z = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(vae.decode(z), ((vae.decode_raw(z / LATENT_SCALE) + 1) / 2).clamp(0, 1))
