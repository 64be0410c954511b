"""SD1.5's blocks on their kernels: chosen for CUDA tensors, and equal to plain PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.modules.blocks import FrameContext, choose_kernels
from models.sd15.blocks import ResnetBlock, SpatialTransformer, TemporalTransformer
from models.sd15.model import SD15Model
from models.sd15.unet import Conditions
from tests import tolerances
from tests.models.modules.kernel_paths import count_launches, kernels_forced, pretend
from tests.models.sd15.small_base import thin_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is for Linux alone"
)

ROWS, FRAMES, WIDTH, HEADS = 2, 3, 80, 2
"""Heads as wide as the base preset's widest level, 40 columns."""


def _features() -> Tensor:
    return torch.randn(ROWS * FRAMES, WIDTH, 4, 6).contiguous(memory_format=torch.channels_last)


def _context(sound: int = 50) -> FrameContext:
    every = ROWS * FRAMES
    return FrameContext(
        torch.randn(every, 16), torch.randn(every, sound, 24), torch.randn(every, 8), None, FRAMES
    )


def _resnet() -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """With a time embedding before the second norm and a student's control after it."""
    block = ResnetBlock(WIDTH, WIDTH, 16, 8, 1e-5, control=8)
    for parameter in block.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    x, ctx = _features(), _context()
    return block, lambda network: network(x, ctx)


def _motion_module() -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """With motion frames before the window."""
    block = TemporalTransformer(WIDTH, HEADS, 2, 8, 32)
    x, past = _features(), torch.randn(ROWS, 4, 24, WIDTH)
    return block, lambda network: network(x, past, FRAMES)


def _spatial() -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """With the reference's keys and values, and sound absorbed beforehand where the kernels run."""
    block = SpatialTransformer(WIDTH, 24, HEADS, 2, 8)
    x, kv, ctx = _features(), torch.randn(ROWS, 24, 2 * WIDTH), _context()
    inner = block.transformer_blocks[0]

    def run(network: nn.Module) -> Tensor:
        assert ctx.tokens is not None
        sound = inner.absorb_sound(ctx.tokens) if inner.attn2.backend == "triton" else None
        out: Tensor = network(x, kv, ctx, sound)[0]
        return out

    return block, run


@pytest.mark.parametrize("make", [_resnet, _motion_module, _spatial])
@torch.inference_mode()
def test_a_block_is_the_same_on_its_kernels(
    make: Callable[[], tuple[nn.Module, Callable[[nn.Module], Tensor]]],
) -> None:
    torch.manual_seed(0)
    block, run = make()
    plain = run(block.eval())
    with kernels_forced(block):
        fused = run(block)
    torch.testing.assert_close(fused, plain, atol=tolerances.KERNEL_FP32, rtol=0)


@pytest.fixture(scope="module")
def model() -> SD15Model:
    return thin_model()


def _call(model: SD15Model) -> tuple[Tensor, Tensor, Conditions]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    kv = model.denoiser.reference_kv(model.reference_net.read_reference(draw(ROWS, 4, 8, 8)))
    face, audio = draw(1, model.preset.unet.channels[0], 8, 8), draw(ROWS, FRAMES, 50, 384)
    motion = model.reference_net.read_motion(draw(ROWS, 4, 4, 8, 8))
    control = model.control(torch.ones(ROWS), torch.full((ROWS,), 2.0))
    cond = Conditions(audio, face, kv, motion, control=control)
    return draw(ROWS, FRAMES, 4, 8, 8), torch.tensor([999.0, 166.0]), cond


@torch.inference_mode()
def test_cuda_tensors_take_every_kernel(model: SD15Model, monkeypatch: pytest.MonkeyPatch) -> None:
    x, t, cond = _call(model)
    plain = model.denoiser(x, t, cond)
    launches = count_launches(monkeypatch)
    cond = replace(cond, audio=pretend(cond.audio), motion=tuple(map(pretend, cond.motion)))
    out = model.denoiser(pretend(x), t, cond)
    assert (launches["attention"], launches["cross"], launches["temporal"]) == (16, 16, 2 * 21)
    resnets = [part for part in model.denoiser.modules() if isinstance(part, ResnetBlock)]
    assert launches["norm with offset"] == len(resnets) == 22
    # two a resnet, one a transformer, two a motion module (the window's frames and those before), the last one
    assert launches["norm"] == 2 * 22 + 16 + 2 * 21 + 1
    torch.testing.assert_close(out.as_subclass(Tensor), plain, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_sound_absorbed_once_a_window_is_sound_absorbed_in_each_call(
    model: SD15Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, t, cond = _call(model)
    assert model.denoiser.absorb_sound(cond.audio) == ()  # on a CPU nothing would read it
    count_launches(monkeypatch)
    cond = replace(cond, audio=pretend(cond.audio))
    kept = replace(cond, sound=model.denoiser.absorb_sound(cond.audio))
    assert len(kept.sound) == 16
    torch.testing.assert_close(
        model.denoiser(pretend(x), t, kept), model.denoiser(pretend(x), t, cond), rtol=0, atol=0
    )


def test_training_keeps_to_plain_pytorch(model: SD15Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        x, t, cond = _call(model)
    launches = count_launches(monkeypatch)
    out = model.denoiser(pretend(x), t, replace(cond, audio=pretend(cond.audio)))
    assert out.requires_grad
    assert not launches["attention"] and not launches["cross"] and not launches["temporal"]


@pytest.mark.gpu
@torch.inference_mode()
def test_a_denoiser_on_a_cuda_card_is_the_same_without_its_kernels() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = thin_model()
    x, t, cond = _call(model)
    denoiser = model.denoiser.cuda()
    cond = replace(
        cond,
        audio=cond.audio.cuda(),
        face=cond.face.cuda(),
        reference=tuple(part.cuda() for part in cond.reference),
        motion=tuple(part.cuda() for part in cond.motion),
        control=None if cond.control is None else cond.control.cuda(),
    )
    assert len(denoiser.absorb_sound(cond.audio)) == 16
    fused = denoiser(x.cuda(), t.cuda(), cond)
    choose_kernels(denoiser, "reference")
    torch.testing.assert_close(fused, denoiser(x.cuda(), t.cuda(), cond), rtol=1e-3, atol=1e-3)
