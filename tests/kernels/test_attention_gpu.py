"""The compiled kernel on a CUDA device. Imports nothing but kernels and torch; run by scripts/gpu."""

from __future__ import annotations

import pytest
import torch

from kernels.attention import attention
from kernels.attention_triton import attention_triton
from tests import tolerances
from tests.kernels.cases import LENGTHS, WIDTHS, AttentionInputs, assert_attention_close, make_inputs

pytestmark = pytest.mark.gpu


DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def _exact_reference() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False


def run_poisoned(inputs: AttentionInputs) -> torch.Tensor:
    out = torch.full_like(inputs.q, float("nan"))
    return attention_triton(inputs.q, inputs.k, inputs.v, **inputs.options(), out=out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_at_every_width(length: int, width: int, dtype: torch.dtype) -> None:
    inputs = make_inputs(length, length, width, batch=4, heads=8, dtype=dtype, device="cuda", seed=length)
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("masked", [False, True])
def test_two_sources_strided(width: int, dtype: torch.dtype, masked: bool) -> None:
    inputs = make_inputs(
        111, 63, width, batch=8, lk2=128, banks=2, masked=masked, strided=True, dtype=dtype, device="cuda"
    )
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("keys", [128, 256, 192])
def test_whole_blocks_as_projections_lie(width: int, dtype: torch.dtype, masked: bool, keys: int) -> None:
    inputs = make_inputs(
        keys, keys, width, batch=8, heads=8, lk2=128, banks=2, masked=masked, strided=True, gap=0, dtype=dtype,
        device="cuda",
    )  # fmt: skip
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


def test_more_rows_and_heads_than_a_grid_axis_holds() -> None:
    inputs = make_inputs(16, 16, 40, batch=16384, heads=8, dtype=torch.bfloat16, device="cuda")
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


def test_the_dispatch_takes_the_kernel_for_inference_and_the_reference_for_gradients() -> None:
    inputs = make_inputs(63, 63, 40, dtype=torch.bfloat16, device="cuda")
    with torch.inference_mode():
        assert torch.equal(attention(inputs.q, inputs.k, inputs.v), run_poisoned(inputs))
    q = inputs.q.requires_grad_()
    attention(q, inputs.k, inputs.v).sum().backward()
    assert q.grad is not None
