"""The small preset's blocks on their kernels: chosen for CUDA tensors, and equal to plain PyTorch."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor

from models.modules.blocks import Bank, FrameContext, TransformerBlock, choose_kernels
from models.modules.unet import Conditions, Denoiser
from models.presets import UNetConfig
from tests import tolerances
from tests.models.modules.kernel_paths import count_launches, kernels_forced, pretend
from tests.models.tiny import tiny_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is for Linux alone"
)

ROWS, FRAMES = 2, 3


def _block() -> tuple[TransformerBlock, Tensor, Bank, FrameContext]:
    """At the small preset's own widths: 6 heads of 32, 6 tokens of sound and expression."""
    torch.manual_seed(0)
    cfg = UNetConfig()
    block = TransformerBlock(192, cfg, 1, "denoiser").eval()
    for parameter in block.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    x = torch.randn(ROWS * FRAMES, 192, 3, 4).contiguous(memory_format=torch.channels_last)
    bank = Bank(torch.randn(ROWS, 12, 192), torch.randn(ROWS, cfg.motion_frames, 12, 192))
    tokens = torch.randn(ROWS * FRAMES, cfg.audio_tokens + cfg.expression_tokens, cfg.context_width)
    return block, x, bank, FrameContext(torch.zeros(0), tokens, None, None, FRAMES)


def _call(seed: int = 0) -> tuple[Denoiser, Tensor, Tensor, Conditions]:
    model, generator = tiny_model("student"), torch.Generator().manual_seed(seed)
    cfg = model.preset.unet

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    reference, motion = draw(ROWS, 4, 20, 20), draw(ROWS, cfg.motion_frames, 4, 20, 20)
    audio, expression = draw(ROWS, FRAMES, cfg.audio_width), draw(ROWS, FRAMES, cfg.expression_dims)
    banks = model.reference_net(reference, motion)
    control = model.control(torch.ones(ROWS), torch.full((ROWS,), 2.0))
    cond = Conditions(audio, expression, reference, banks, control=control)
    return model.denoiser, draw(ROWS, FRAMES, 4, 20, 20), torch.tensor([0.9, 0.3]), cond


@torch.inference_mode()
def test_a_block_is_the_same_on_its_kernels() -> None:
    block, x, bank, ctx = _block()
    plain, _, _ = block(x, bank, ctx)
    with kernels_forced(block):
        fused, _, _ = block(x, bank, ctx)
    torch.testing.assert_close(fused, plain, atol=tolerances.KERNEL_FP32, rtol=0)


@torch.inference_mode()
def test_cuda_tensors_take_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, x, t, cond = _call()
    plain = denoiser(x, t, cond)
    launches = count_launches(monkeypatch)
    blocks = len(denoiser.transformers())
    out = denoiser(pretend(x), t, cond)
    norms = sum(isinstance(part, torch.nn.GroupNorm) for part in denoiser.modules())
    assert launches["attention"] == launches["temporal"] == launches["cross"] == blocks > 0
    assert launches["norm"] == norms
    torch.testing.assert_close(out.as_subclass(Tensor), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reason", ["gradients", "a CPU tensor", "autocast"])
def test_the_sound_is_absorbed_for_inference_alone(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, x, t, cond = _call()
    launches = count_launches(monkeypatch)
    x = x if reason == "a CPU tensor" else pretend(x)
    with torch.set_grad_enabled(reason == "gradients"):
        if reason == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                denoiser(x, t, cond)
        else:
            denoiser(x, t, cond)
    assert launches["cross"] == 0


@pytest.mark.gpu
@torch.inference_mode()
def test_a_block_on_a_cuda_card_is_the_same_without_its_kernels() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    block, x, bank, ctx = _block()
    x = x.cuda()
    bank = Bank(bank.reference.cuda(), bank.motion.cuda())
    assert ctx.tokens is not None
    ctx = FrameContext(ctx.embedding, ctx.tokens.cuda(), None, None, FRAMES)
    fused, _, _ = block.cuda()(x, bank, ctx)
    choose_kernels(block, "reference")
    plain, _, _ = block(x, bank, ctx)
    torch.testing.assert_close(fused, plain, atol=2 * tolerances.KERNEL_FP32, rtol=0)
