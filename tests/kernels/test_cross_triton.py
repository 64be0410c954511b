"""The fused cross-attention kernel, interpreted on CPU tensors, against the unfused chain."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels.cross import absorb_context, cross_attention
from kernels.cross_triton import candidate_tilings, cross_triton, plan_cross
from kernels.launch import Tiling
from kernels.values import AbsorbedContext
from tests import tolerances
from tests.kernels.cases import LENGTHS, CrossCase, every_pair, make_cross

QUICK = Tiling(256, 256, 4, 1)
"""Few programs and long steps: the interpreter's time goes by operations, not by elements."""


def run_poisoned(case: CrossCase, out_scale: float = 1.0, tiling: Tiling | None = QUICK) -> Tensor:
    """Run into an output of NaN, so that an element the kernel forgets shows."""
    context = absorb_context(**case.absorbed())
    out = torch.full_like(case.x, float("nan"))
    return cross_triton(case.x, context, out_bias=case.out_bias, out_scale=out_scale, out=out, tiling=tiling)


def assert_like_chain(actual: Tensor, case: CrossCase, out_scale: float = 1.0) -> None:
    assert torch.isfinite(actual).all(), "the kernel left poisoned or infinite values"
    error = (actual.float() - case.chain(out_scale)).abs().max().item()
    assert error <= tolerances.KERNEL_FP32, f"largest error {error:.2e}"


@pytest.mark.parametrize(("tokens", "width"), every_pair())
def test_every_number_of_tokens_at_every_width(tokens: int, width: int) -> None:
    case = make_cross(tokens, 5, width)
    assert_like_chain(run_poisoned(case), case)


@pytest.mark.parametrize("keys", LENGTHS)
def test_every_number_of_keys(keys: int) -> None:
    case = make_cross(17, keys, 40, rows=2, masked=True)
    assert_like_chain(run_poisoned(case), case)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("shared", [1, 2, 4])
def test_shared_contexts_masked_and_strided(masked: bool, strided: bool, shared: int) -> None:
    case = make_cross(17, 6, 32, rows=4, shared=shared, heads=6, masked=masked, strided=strided)
    assert case.x.is_contiguous() is not strided
    assert_like_chain(run_poisoned(case), case)


@pytest.mark.parametrize("tiling", [Tiling(16, 16, 4, 1), Tiling(32, 64, 4, 2), None])
def test_the_tiling_does_not_change_the_answer(tiling: Tiling | None) -> None:
    case = make_cross(33, 7, 40)
    assert_like_chain(run_poisoned(case, tiling=tiling), case)


def test_the_scale_of_echomimics_sound() -> None:
    case = make_cross(16, 50, 40)
    torch.testing.assert_close(run_poisoned(case, 3.0), case.chain(3.0), atol=3e-5, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "times"),
    [
        (torch.float16, tolerances.KERNEL_TIMES_TORCH),
        (torch.bfloat16, tolerances.KERNEL_TIMES_TORCH_INTERPRETED_BF16),
    ],
)
def test_half_precisions(dtype: torch.dtype, times: float) -> None:
    case = make_cross(33, 32, 80, masked=True, rows=2, dtype=dtype)
    context = absorb_context(**case.absorbed())
    truth = case.chain()
    torch_own = cross_attention(case.x, context, out_bias=case.out_bias).float() - truth
    difference = run_poisoned(case).float() - truth
    assert difference.abs().max() <= times * torch_own.abs().max()
    assert (
        difference.square().mean().sqrt()
        <= tolerances.KERNEL_RMS_INTERPRETED_BF16 * truth.square().mean().sqrt()
    )


def test_the_dispatch_can_insist_and_write_in_place() -> None:
    case = make_cross(5, 6, 32, rows=2)
    context, expected = absorb_context(**case.absorbed()), case.chain()
    out = cross_attention(case.x, context, out_bias=case.out_bias, out=case.x, backend="triton")
    assert out is case.x
    torch.testing.assert_close(out, expected, atol=tolerances.KERNEL_FP32, rtol=0)


def test_a_large_mean_costs_no_digits() -> None:
    """Tokens whose mean is 100 times their spread: E[x²] - E[x]² would keep three digits of the variance."""
    case = make_cross(16, 5, 40)
    far = case.x + 100
    context = absorb_context(**case.absorbed())
    truth = cross_attention(far.double(), _widen(context)) - far.double()
    actual = cross_attention(far, context, backend="triton").double() - far.double()
    torch.testing.assert_close(actual, truth, atol=5e-5, rtol=0)


def _widen(context: AbsorbedContext) -> AbsorbedContext:
    return AbsorbedContext(context.keys.double(), context.values.double(), context.bias, context.heads)


def test_no_tokens() -> None:
    case = make_cross(0, 5, 32)
    assert run_poisoned(case).shape == (1, 0, 64)


def test_more_rows_and_blocks_than_a_grid_axis_holds() -> None:
    """16 sessions of 16 frames of 64² tokens."""
    x = torch.empty(256, 4096, 320, device="meta", dtype=torch.bfloat16)
    folded = torch.empty(256, 256, 320, device="meta", dtype=torch.bfloat16)
    context = AbsorbedContext(folded, folded, torch.empty(256, 256, device="meta"), 8)
    launch = plan_cross(
        x, context, out_bias=None, out_scale=1.0, eps=1e-5, out=x, tiling=Tiling(16, 64, 4, 1)
    )
    assert launch.programs == 65_536


@pytest.mark.parametrize("columns", [16, 256, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tiles_fit_a_consumer_gpus_shared_memory(columns: int, dtype: torch.dtype) -> None:
    for tiling in candidate_tilings(4096, columns, dtype):
        held = (tiling.block_m + tiling.num_stages * tiling.block_n) * columns * dtype.itemsize
        assert held <= 99 * 1024
