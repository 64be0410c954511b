"""The temporal kernel, interpreted on CPU tensors, against the reference; its grid and addresses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.launch import Tiling
from kernels.temporal import temporal_attention, temporal_reference
from kernels.temporal_triton import candidate_tilings, plan_temporal, temporal_triton
from tests.kernels.cases import LENGTHS, assert_like_reference, every_pair, make_temporal

QUICK = Tiling(4, 128, 4, 1)
"""Few programs and long steps: the interpreter's time goes by operations, not by elements."""


def run_poisoned(call: dict[str, Any], tiling: Tiling | None = QUICK) -> Tensor:
    """Run into an output of NaN, so that an element the kernel forgets shows."""
    return temporal_triton(**call, out=torch.full_like(call["q"], float("nan")), tiling=tiling)


@pytest.mark.parametrize(("frames", "width"), every_pair())
def test_every_number_of_frames_attended_to_at_every_width(frames: int, width: int) -> None:
    call = make_temporal(4, frames, width, pixels=2, heads=2, motion=4 if width == 40 else 0)
    assert_like_reference(run_poisoned(call), temporal_reference, call)


@pytest.mark.parametrize("frames", LENGTHS)
def test_every_number_of_frames_computed(frames: int) -> None:
    call = make_temporal(frames, 5, 40, pixels=1, heads=1)
    assert_like_reference(run_poisoned(call, Tiling(1, 16, 4, 1)), temporal_reference, call)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_motion_frames_masked_and_strided(masked: bool, strided: bool) -> None:
    call = make_temporal(17, 17, 40, pixels=3, heads=3, motion=2, masked=masked, strided=strided)
    assert call["q"].is_contiguous() is not strided
    assert_like_reference(run_poisoned(call), temporal_reference, call)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions(dtype: torch.dtype) -> None:
    call = make_temporal(16, 16, 80, pixels=3, heads=2, motion=4, masked=True, dtype=dtype)
    assert_like_reference(run_poisoned(call, None), temporal_reference, call)


def test_the_dispatch_can_insist_and_write_in_place() -> None:
    call = make_temporal(5, 5, 32, pixels=3, heads=2, motion=2, masked=True)
    expected = temporal_attention(**call)
    given = call["q"]
    assert temporal_attention(**call, backend="triton", out=given) is given
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)


def test_writes_into_a_strided_output_and_nowhere_else() -> None:
    call = make_temporal(5, 5, 40, pixels=3, heads=1)
    room = torch.full((1, 5, 3, 64), float("nan"))
    temporal_triton(**call, out=room[..., :40], tiling=QUICK)
    assert_like_reference(room[..., :40], temporal_reference, call)
    assert room[..., 40:].isnan().all()


def test_nothing_to_do_and_nothing_to_see() -> None:
    none = torch.zeros(1, 4, 0, 64)
    assert temporal_triton(none, none, none, heads=2).shape == none.shape
    q, k = torch.randn(1, 2, 3, 64), torch.zeros(1, 0, 3, 64)
    assert torch.equal(temporal_triton(q, k, k, heads=2), torch.zeros_like(q))


def test_more_pixels_and_heads_than_a_grid_axis_holds() -> None:
    """16 sessions of 64² pixels and 8 heads: 65,536 pixels is where fused attention breaks."""
    q = torch.empty(16, 16, 4096, 320, device="meta", dtype=torch.bfloat16)
    tiling = candidate_tilings(40, q.dtype)[0]
    launch = plan_temporal(q, q, q, heads=8, out=q, tiling=tiling)
    assert launch.programs == 16 * 4096 * 8 // tiling.block_m
    assert launch.programs * tiling.block_m > 65_536


@pytest.mark.slow
def test_rows_past_65536_are_computed() -> None:
    """70,000 pixels of one head 1 wide, few programs: the last ones are as right as the first."""
    call = make_temporal(1, 2, 1, pixels=70_000, heads=1)
    assert_like_reference(run_poisoned(call, Tiling(4096, 16, 4, 1)), temporal_reference, call)


def test_addresses_past_31_bits() -> None:
    """A frame's stride times its index passes 2³¹ elements: addresses are 64 bits wide."""
    storage = torch.empty(2**31 + 4096, dtype=torch.float16)  # untouched pages cost nothing
    q = storage.as_strided((1, 2, 1, 32), (0, 2**31, 32, 1))
    q.copy_(torch.randn(1, 2, 1, 32))
    call = {"q": q, "k": q, "v": q, "heads": 1}
    out = temporal_triton(**call, out=torch.full((1, 2, 1, 32), float("nan"), dtype=q.dtype), tiling=QUICK)
    assert_like_reference(out, temporal_reference, call)
