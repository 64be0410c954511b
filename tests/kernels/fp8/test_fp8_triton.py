"""The 8-bit convolution's kernels, interpreted on CPU tensors, against the reference that rounds alike."""

from __future__ import annotations

import pytest
import torch

from kernels.fp8.linear import fp8_conv2d, fp8_linear
from kernels.fp8.linear_triton import block_of_channels, candidate_tilings, plan_conv, plan_round
from kernels.fp8.weight import FP8, Fp8Weight, pack_fp8, round_rows
from kernels.launch import Tiling
from tests.kernels.cases import WIDTHS, every_pair
from tests.tolerances import FP8_KERNEL


def _case(
    n: int,
    channels: int,
    height: int,
    width: int,
    leaving: int,
    size: int,
    dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, Fp8Weight, torch.Tensor]:
    generator = torch.Generator().manual_seed(n + channels + leaving)
    x = torch.randn(n, channels, height, width, generator=generator).to(dtype)
    weight = pack_fp8(torch.randn(leaving, channels, size, size, generator=generator))
    return x, weight, torch.randn(leaving, generator=generator).to(dtype)


def _same(got: torch.Tensor, want: torch.Tensor) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype and torch.isfinite(got).all()
    limit = FP8_KERNEL[str(want.dtype).removeprefix("torch.")]
    assert (got.float() - want.float()).norm() <= limit * want.float().norm() + 1e-12


@pytest.mark.parametrize(("rows", "width"), every_pair(widths=[width for width in WIDTHS if width % 16 == 0]))
def test_linear_layers_of_every_length_and_width(rows: int, width: int) -> None:
    x, weight, bias = _case(rows, width, 1, 1, 48, 1)
    x = x[:, :, 0, 0]
    _same(fp8_linear(x, weight, bias, backend="triton"), fp8_linear(x, weight, bias, backend="reference"))


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 5), (10, 10)])
@pytest.mark.parametrize("has_bias", [False, True])
def test_convolutions_at_borders_strides_and_odd_sizes(
    size: int, stride: int, shape: tuple[int, int], has_bias: bool
) -> None:
    x, weight, bias = _case(2, 48, *shape, 80, size)
    x[1] *= 100  # every image has a scale of its own
    told = bias if has_bias else None
    got = fp8_conv2d(x, weight, told, stride=stride, backend="triton")
    _same(got, fp8_conv2d(x, weight, told, stride=stride, backend="reference"))
    assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions(dtype: torch.dtype) -> None:
    x, weight, bias = _case(1, 32, 5, 6, 64, 3, dtype)
    _same(fp8_conv2d(x, weight, bias, backend="triton"), fp8_conv2d(x, weight, bias, backend="reference"))


def test_every_tiling_writes_every_element() -> None:
    x, weight, bias = _case(1, 48, 5, 7, 80, 3)
    values, scale = round_rows(x.contiguous(memory_format=torch.channels_last))
    want = fp8_conv2d(x, weight, bias, backend="reference")
    for tiling in {*candidate_tilings(35, 48), Tiling(16, 16, 4, 1)}:
        out = torch.full((1, 5, 7, 80), float("nan"))
        plan_conv(values.permute(0, 2, 3, 1).contiguous(), scale, weight, bias, 1, out, tiling).run()
        _same(out.permute(0, 3, 1, 2), want)


def test_the_rounding_kernel_rounds_as_the_reference() -> None:
    x = torch.randn(3, 16, 17, 19, generator=torch.Generator().manual_seed(5))
    x = x.contiguous(memory_format=torch.channels_last)
    x[2] = 0
    values, scale = round_rows(x)
    out = torch.full((3, 17, 19, 16), 7.0).to(FP8)
    plan_round(x, scale, out).run()
    assert torch.equal(out.permute(0, 3, 1, 2).float(), values.float())


def test_a_strided_view_and_an_empty_batch() -> None:
    x, weight, bias = _case(2, 32, 9, 10, 16, 3)
    view = x[:, :, 1:8, 2:7]
    _same(
        fp8_conv2d(view, weight, bias, backend="triton"), fp8_conv2d(view, weight, bias, backend="reference")
    )
    assert fp8_conv2d(x[:0], weight, bias, backend="triton").shape == (0, 16, 9, 10)


def test_addresses_beyond_two_billion_are_64_bits_wide() -> None:
    big = torch.empty(70_000, 1, 1, 16, dtype=FP8, device="meta")
    out = torch.empty(70_000, 1, 1, 16, device="meta")
    launch = plan_conv(big, torch.empty(70_000, device="meta"), pack_fp8(torch.ones(16, 16)), None, 1, out,
                       Tiling(128, 64, 4, 3))  # fmt: skip
    assert launch.programs == -(-70_000 // 128)  # one axis, far beyond 65,535 rows


def test_tilings_fit_into_shared_memory_and_channels_are_padded_least() -> None:
    assert [block_of_channels(c) for c in (320, 640, 960, 1280, 48)] == [64, 128, 64, 128, 64]
    for tiling in candidate_tilings(65_536, 1280):
        assert (tiling.block_m + tiling.block_n) * 128 * tiling.num_stages <= 99 * 1024
    assert Tiling(128, 128, 8, 4) in candidate_tilings(65_536, 1280, 227 * 1024)
