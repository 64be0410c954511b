"""8-bit layers on any machine: how they round, what that costs, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.fp8.linear import fp8_conv2d, fp8_linear
from kernels.fp8.weight import LARGEST, Fp8Weight, pack_fp8, round_rows
from models.runtimes.fp8_modules import LEAST_CHANNELS, Fp8Conv2d, Fp8Linear, make_fp8
from tests.models.tiny import tiny_model
from tests.tolerances import FP8_LAYER, FP8_VALUE


def test_rounding_keeps_each_rows_scale_and_three_bits_after_the_first() -> None:
    x = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1e-6, 1.0, 3e4, 0.0, 5.0]
    ).view(-1, 1, 1)
    values, scale = round_rows(x)
    assert values.float().abs().amax(dim=(1, 2)).tolist() == [LARGEST, LARGEST, LARGEST, 0.0, LARGEST]
    back = values.float() * scale.view(-1, 1, 1)
    normal = values.float().abs() >= 2**-6  # below, e4m3 has a fixed step
    assert ((back - x).abs()[normal] <= FP8_VALUE * x.abs()[normal]).all()


def test_a_packed_weight_is_the_weight_again() -> None:
    weight = torch.randn(32, 48, 3, 3, generator=torch.Generator().manual_seed(1))
    packed = pack_fp8(weight)
    assert packed.values.shape == (32, 9 * 48) and packed.scale.shape == (32,)
    assert (packed.dequantized() - weight).norm() / weight.norm() <= FP8_VALUE


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_layer_costs_no_more_than_rounding(size: int, stride: int) -> None:
    torch.manual_seed(2)
    conv = nn.Conv2d(64, 96, size, stride=stride, padding=size // 2)
    x = torch.randn(2, 64, 9, 7)
    with torch.no_grad():
        exact = conv(x)
        rounded = fp8_conv2d(x, pack_fp8(conv.weight), conv.bias, stride=stride)
    assert rounded.shape == exact.shape and rounded.is_contiguous(memory_format=torch.channels_last)
    error = ((rounded - exact).norm() / exact.norm()).item()
    assert 1e-4 < error <= FP8_LAYER


def test_a_linear_layer_scales_each_row_for_itself() -> None:
    torch.manual_seed(3)
    linear, x = nn.Linear(64, 80), torch.randn(2, 5, 64)
    x[0] *= 1e4
    with torch.no_grad():
        exact = linear(x)
        rounded = fp8_linear(x, pack_fp8(linear.weight), linear.bias)
    for row, want in zip(rounded.flatten(0, 1), exact.flatten(0, 1), strict=True):
        assert (row - want).norm() / want.norm() <= FP8_LAYER


@pytest.mark.parametrize("shape", [(20, 16), (16, 20, 3, 3), (16, 16, 5, 5), (16, 16, 1, 3), (16,)])
def test_weights_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        pack_fp8(torch.zeros(shape))


def test_calls_that_do_not_fit_are_refused() -> None:
    weight, x = pack_fp8(torch.ones(16, 32, 3, 3)), torch.ones(1, 32, 4, 4)
    with pytest.raises(ValueError, match="expected x of shape"):
        fp8_conv2d(torch.ones(1, 16, 4, 4), weight)
    with pytest.raises(ValueError, match="stride of 1 or 2, got 3"):
        fp8_conv2d(x, weight, stride=3)
    with pytest.raises(ValueError, match="bias of shape"):
        fp8_conv2d(x, weight, torch.ones(8))
    with pytest.raises(ValueError, match="bias in x's dtype"):
        fp8_conv2d(x, weight, torch.ones(16, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="linear layer's weight"):
        fp8_linear(torch.ones(2, 32), weight)
    with pytest.raises(ValueError, match=r"weight\.values on cpu"):
        fp8_conv2d(x, Fp8Weight(weight.values.to("meta"), weight.scale, 3, 32))
    with pytest.raises(ValueError, match="backward"):
        fp8_conv2d(x.requires_grad_(), weight, backend="triton")


def test_wide_layers_are_replaced_and_all_else_kept() -> None:
    model = tiny_model()
    denoiser = model.denoiser
    least = LEAST_CHANNELS
    wide = nn.Sequential(
        nn.Conv2d(least, least, 3, padding=1), nn.Linear(least, 256), nn.Conv2d(least, least, 3, padding=0)
    )
    denoiser.trunk.extra = nn.ModuleDict(
        {"wide": wide, "control": nn.Linear(least, least), "narrow": nn.Linear(least, least - 32)}
    )
    before = {name: type(part) for name, part in denoiser.named_modules()}
    count = make_fp8(model)
    changed = {name for name, part in denoiser.named_modules() if type(part) is not before.get(name)}
    assert {"trunk.extra.wide.0", "trunk.extra.wide.1"} <= changed and count >= 2
    assert isinstance(wide[0], Fp8Conv2d) and isinstance(wide[1], Fp8Linear)
    assert not changed & {"trunk.extra.wide.2", "trunk.extra.control", "trunk.extra.narrow"}
