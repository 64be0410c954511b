"""The compiled temporal, cross-attention and norm kernels on a CUDA device; run by scripts/gpu."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.attention import attention
from kernels.cross import absorb_context, cross_attention
from kernels.cross_triton import cross_triton
from kernels.norm import group_norm_reference, group_norm_silu
from kernels.norm_triton import group_norm_triton
from kernels.temporal import temporal_attention, temporal_reference
from kernels.temporal_triton import temporal_triton
from kernels.tuning import tune_kernels
from tests import tolerances
from tests.kernels.cases import (
    LENGTHS,
    WIDTHS,
    CrossCase,
    assert_like_reference,
    make_cross,
    make_inputs,
    make_norm,
    make_temporal,
)

pytestmark = pytest.mark.gpu

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDTHS_AND_DTYPES = (
    *((width, torch.bfloat16) for width in WIDTHS),
    *((width, torch.float16) for width in (40, 80, 160)),
    (40, torch.float32),
)  # each pair is a compilation


@pytest.fixture(autouse=True)
def _exact_reference() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def run_temporal(call: dict[str, Any]) -> Tensor:
    return temporal_triton(**call, out=torch.full_like(call["q"], float("nan")))


def assert_like_chain(case: CrossCase, out_scale: float = 1.0) -> None:
    """Poisoned output; the error allowed is twice that of the absorbed form in PyTorch."""
    context = absorb_context(**case.absorbed())
    out = torch.full_like(case.x, float("nan"))
    cross_triton(case.x, context, out_bias=case.out_bias, out_scale=out_scale, out=out)
    truth = case.chain(out_scale)
    own = cross_attention(case.x, context, out_bias=case.out_bias, out_scale=out_scale, backend="reference")
    assert torch.isfinite(out).all()
    error = (out.float() - truth).abs().max().item()
    if case.x.dtype == torch.float32:
        assert error <= tolerances.KERNEL_FP32 * out_scale
    else:
        floor = tolerances.KERNEL_FLOOR[str(case.x.dtype).removeprefix("torch.")] * truth.abs().max().item()
        allowed = tolerances.KERNEL_TIMES_TORCH * (own.float() - truth).abs().max().item()
        assert error <= max(allowed, floor)


@pytest.mark.parametrize(("width", "dtype"), WIDTHS_AND_DTYPES)
@pytest.mark.parametrize("frames", LENGTHS)
def test_temporal_at_every_length_and_width(frames: int, width: int, dtype: torch.dtype) -> None:
    call = make_temporal(
        16,
        frames,
        width,
        batch=2,
        pixels=37,
        heads=8,
        motion=4,
        masked=frames > 1,
        dtype=dtype,
        device="cuda",
    )
    assert_like_reference(run_temporal(call), temporal_reference, call)


@pytest.mark.parametrize("dtype", DTYPES)
def test_temporal_strided(dtype: torch.dtype) -> None:
    call = make_temporal(17, 20, 40, pixels=64, heads=8, strided=True, dtype=dtype, device="cuda")
    assert_like_reference(run_temporal(call), temporal_reference, call)


def test_temporal_over_65536_pixels_and_batches() -> None:
    call = make_temporal(16, 16, 40, batch=16, pixels=4096, heads=8, dtype=torch.bfloat16, device="cuda")
    out = run_temporal(call)
    assert torch.isfinite(out).all()
    some = {
        name: part[-1:, :, -64:].contiguous() if isinstance(part, Tensor) else part
        for name, part in call.items()
    }
    assert_like_reference(out[-1:, :, -64:], temporal_reference, some)


@pytest.mark.parametrize(("width", "dtype"), WIDTHS_AND_DTYPES)
@pytest.mark.parametrize("tokens", LENGTHS)
def test_cross_at_every_length_and_width(tokens: int, width: int, dtype: torch.dtype) -> None:
    assert_like_chain(make_cross(tokens, 32, width, rows=4, heads=8, dtype=dtype, device="cuda"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keys", [1, 7, 50])
def test_cross_shared_masked_and_strided(keys: int, dtype: torch.dtype) -> None:
    case = make_cross(
        111, keys, 40, rows=8, shared=2, heads=8, masked=True, strided=True, dtype=dtype, device="cuda"
    )
    assert_like_chain(case, 3.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("pixels", LENGTHS)
def test_norm_at_every_length(pixels: int, whole: bool, dtype: torch.dtype) -> None:
    call = make_norm(3, 320, 1, pixels, 32, film=True, control=1, dtype=dtype, device="cuda")
    out = group_norm_triton(**call, out=torch.full_like(call["x"], float("nan")), whole=whole)
    assert_like_reference(out, group_norm_reference, call)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "side"), [(320, 64), (640, 32), (1280, 16), (1280, 8)])
def test_norm_at_the_base_presets_levels(channels: int, side: int, dtype: torch.dtype) -> None:
    call = make_norm(16, channels, side, side, 32, film=True, control=1, dtype=dtype, device="cuda")
    assert_like_reference(group_norm_silu(**call), group_norm_reference, call)


def test_tunes_once_and_captures_into_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    call = make_temporal(16, 16, 40, pixels=256, heads=8, dtype=torch.bfloat16, device="cuda")
    norm = make_norm(4, 320, 64, 64, 32, dtype=torch.bfloat16, device="cuda")
    inputs = make_inputs(128, 128, 40, dtype=torch.bfloat16, device="cuda")
    with torch.inference_mode(), tune_kernels(2):
        expected = (
            temporal_attention(**call),
            group_norm_silu(**norm),
            attention(inputs.q, inputs.k, inputs.v),
        )
    assert (tmp_path / "kernels.json").is_file()
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        captured = (
            temporal_attention(**call),
            group_norm_silu(**norm),
            attention(inputs.q, inputs.k, inputs.v),
        )
    graph.replay()
    torch.cuda.synchronize()
    for out, again in zip(expected, captured, strict=True):
        assert torch.equal(out, again)
