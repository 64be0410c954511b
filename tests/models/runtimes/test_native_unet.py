"""The UNets' blocks on this machine's own CPU kernels against their PyTorch forms in fp64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from kernels.native.kernels import Kernels
from models.avatar_model import AvatarModel
from models.modules.blocks import Bank, FrameContext, ResBlock, TransformerBlock
from models.presets import UNetConfig, preset
from models.runtimes.native_modules import make_native
from models.runtimes.native_unet import NativeResBlock, NativeTransformerBlock, NativeTrunk, adopt_transformer
from tests.models.tiny import tiny_model
from tests.threads import torch_threads
from tests.tolerances import NATIVE_RMS


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


def _wake(module: nn.Module) -> None:
    """Give every weight a value: what starts at zero would hide its own faults."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn_like(p) * (0.3 if p.ndim == 1 else p[0].numel() ** -0.5))
    module.requires_grad_(False)


def _poison(kernels: Kernels) -> None:
    for part in kernels.workspace.parts.values():
        part.fill_(float("nan"))


def _close(ours: Tensor, truth: Tensor) -> None:
    assert ours.isfinite().all()
    assert (ours.double() - truth).norm() <= NATIVE_RMS * truth.norm()


def _doubled(ctx: FrameContext) -> FrameContext:
    tokens, control = (None if part is None else part.double() for part in (ctx.tokens, ctx.control))
    return FrameContext(ctx.embedding.double(), tokens, control, ctx.keep_reference, ctx.frames)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("n", "first", "second", "leaving", "side", "control"),
    [(2, 32, 0, 32, 10, 12), (3, 24, 24, 32, 7, 0), (1, 96, 96, 96, 20, 20), (5, 8, 16, 16, 1, 0)],
)
def test_residual_blocks(
    kernels: Kernels, n: int, first: int, second: int, leaving: int, side: int, control: int, threads: int
) -> None:
    block = ResBlock(first + second, leaving, 24, 8, control)
    _wake(block)
    x = torch.randn(n, first + second, side, side + 3)
    ctx = FrameContext(torch.randn(n, 24), None, torch.randn(n, control) if control else None, None, 1)
    native = NativeResBlock(block, kernels)
    with torch_threads(threads):
        _poison(kernels)
        ours = native((x[:, :first], x[:, first:]) if second else x, ctx)
        without = native(x, FrameContext(ctx.embedding, None, None, None, 1)) if not second else None
    _close(ours, block.double()(x.double(), _doubled(ctx)))
    if without is not None:
        _close(without, block(x.double(), FrameContext(ctx.embedding.double(), None, None, None, 1)))


CFG = UNetConfig(channels=(64, 64), context_width=40, groups=8, head_width=32, motion_frames=2)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rows", "frames", "side"), [(1, 2, 10), (2, 3, 7), (1, 1, 1), (3, 8, 4)])
def test_transformer_blocks_of_the_denoiser(
    kernels: Kernels, rows: int, frames: int, side: int, threads: int
) -> None:
    block = TransformerBlock(64, CFG, 1, "denoiser")
    _wake(block)
    n, pixels = rows * frames, side * side
    x = torch.randn(n, 64, side, side).contiguous(memory_format=torch.channels_last)
    reference, motion = torch.randn(rows, pixels, 64), torch.randn(rows, 2, pixels, 64)
    ctx = FrameContext(torch.zeros(n, 1), torch.randn(n, 6, 40), None, None, frames)
    native = copy.deepcopy(block)
    adopt_transformer(native, kernels)
    assert isinstance(native, NativeTransformerBlock)
    bank = Bank(native.project_reference(reference), native.project_motion(motion), projected=True)
    with torch_threads(threads):
        _poison(kernels)
        ours = native(x, bank, ctx)
        raw = native(x, Bank(reference, motion), ctx)  # its PyTorch form
    theirs = block.double()(x.double(), Bank(reference.double(), motion.double()), _doubled(ctx))
    for one, two, truth in zip(ours, raw, theirs, strict=True):
        _close(one, truth)
        _close(two, truth)


def test_transformer_blocks_of_the_reference_net(kernels: Kernels) -> None:
    block = TransformerBlock(64, CFG, 1, "reference")
    _wake(block)
    x = torch.randn(2, 64, 5, 9)
    ctx = FrameContext(torch.zeros(2, 1), None, None, None, 1)
    native = copy.deepcopy(block)
    adopt_transformer(native, kernels)
    for ours, truth in zip(
        native(x, None, ctx), block.double()(x.double(), None, _doubled(ctx)), strict=True
    ):
        _close(ours, truth)


def test_rows_without_reference_take_the_pytorch_form(kernels: Kernels) -> None:
    block = TransformerBlock(64, CFG, 1, "denoiser")
    _wake(block)
    keep = torch.tensor([True, False])
    ctx = FrameContext(torch.zeros(4, 1), torch.randn(4, 6, 40), None, keep, 2)
    x, bank = torch.randn(4, 64, 3, 3), Bank(torch.randn(2, 9, 64), torch.randn(2, 2, 9, 64))
    native = copy.deepcopy(block)
    adopt_transformer(native, kernels)
    torch.testing.assert_close(native(x, bank, ctx)[0], block(x, bank, ctx)[0])


@pytest.mark.parametrize("small", [False, True])
def test_a_model_becomes_native_where_its_widths_allow(kernels: Kernels, small: bool) -> None:
    model = AvatarModel(preset("small"), "student") if small else tiny_model()
    model.eval().requires_grad_(False)
    make_native(model, kernels)
    assert isinstance(model.denoiser.trunk, NativeTrunk) or not small
    twin = copy.deepcopy(model)
    latent = torch.randn(1, model.preset.unet.latent_channels, 20, 20)
    for ours, theirs in zip(
        model.reference_net.read_reference(latent), twin.reference_net.read_reference(latent), strict=True
    ):
        torch.testing.assert_close(ours.reference, theirs.reference)
