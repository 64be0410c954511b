"""Three branches, their mix, and tokens that mix alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.diffusion.guidance import ControlTokens, guided_x0, multi_cfg
from models.modules.unet import Conditions
from tests.models.tiny import tiny_model


def _conditions(model, rows: int, frames: int) -> tuple[torch.Tensor, torch.Tensor, Conditions]:  # type: ignore[no-untyped-def]
    shape = model.preset.latent_shape
    reference, motion = torch.randn(rows, *shape), torch.randn(rows, 2, *shape)
    cond = Conditions(
        torch.randn(rows, frames, model.preset.unet.audio_width),
        torch.rand(rows, frames, 4),
        reference,
        model.reference_net(reference, motion),
    )
    return torch.randn(rows, frames, *shape), torch.full((rows,), 0.7), cond


def test_scales_of_one_give_the_conditional_prediction() -> None:
    base, ref, audio = torch.randn(3, 2, 4)
    ones = torch.ones(2)
    torch.testing.assert_close(multi_cfg(base, ref, audio, ones, ones), audio)
    torch.testing.assert_close(multi_cfg(base, ref, audio, ones * 0, ones * 0), base)


def test_tokens_mix_like_outputs() -> None:
    tokens = ControlTokens(3, 5)
    s_ref, s_aud = torch.tensor([1.5, 2.0]), torch.tensor([1.0, 3.0])
    want = torch.stack(
        [multi_cfg(tokens.base, tokens.ref, tokens.audio, r, a) for r, a in zip(s_ref, s_aud, strict=True)]
    )
    torch.testing.assert_close(tokens(s_ref, s_aud), want.view(2, 3, 5))


@torch.no_grad()
def test_guided_prediction_is_the_mix_of_three_single_branches() -> None:
    model = tiny_model("teacher")
    x_t, t, cond = _conditions(model, 2, 3)
    s_ref, s_aud = torch.tensor([1.5, 1.0]), torch.tensor([2.0, 3.0])
    got, audio = guided_x0(model.denoiser, x_t, t, cond, s_ref, s_aud)
    no, yes = torch.tensor([False, False]), torch.tensor([True, True])
    branches = [
        model.denoiser(x_t, t, replace(cond, keep_audio=a, keep_reference=r))
        for a, r in ((no, no), (no, yes), (yes, yes))
    ]
    torch.testing.assert_close(audio, branches[2], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got, multi_cfg(*branches, s_ref, s_aud), atol=1e-4, rtol=1e-4)
    assert (branches[0] - branches[1]).abs().max() > 1e-3 and (branches[1] - branches[2]).abs().max() > 1e-3


@torch.no_grad()
def test_without_switches_all_branches_are_on() -> None:
    model = tiny_model("teacher")
    x_t, t, cond = _conditions(model, 2, 3)
    yes = torch.tensor([True, True])
    switched = model.denoiser(x_t, t, replace(cond, keep_audio=yes, keep_reference=yes))
    torch.testing.assert_close(model.denoiser(x_t, t, cond), switched, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_scales_reach_a_students_picture() -> None:
    model = tiny_model("student")
    x_t, t, cond = _conditions(model, 1, 3)
    one, two = torch.ones(1), torch.ones(1) * 2
    weak = model.denoiser(x_t, t, replace(cond, control=model.control(one, one)))
    strong = model.denoiser(x_t, t, replace(cond, control=model.control(one, two)))
    assert (weak - strong).abs().max() > 1e-4


def test_a_teacher_has_no_tokens() -> None:
    with pytest.raises(ValueError, match="teacher"):
        tiny_model("teacher").control(torch.ones(1), torch.ones(1))
