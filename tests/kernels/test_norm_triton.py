"""The GroupNorm kernels, interpreted on CPU tensors, against the reference: one launch and three."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.launch import Tiling
from kernels.norm import group_norm_reference, group_norm_silu
from kernels.norm_triton import fits_whole, group_norm_triton, plan_group_norm
from kernels.tuning import tile_coarsely
from tests.kernels.cases import assert_like_reference, every_pair, make_norm

SMALL = Tiling(16, 32, 4, 1)


def run_poisoned(call: dict[str, Any], tiling: Tiling = SMALL, whole: bool | None = None) -> Tensor:
    """Run into an output of NaN, so that an element the kernel forgets shows."""
    return group_norm_triton(**call, out=torch.full_like(call["x"], float("nan")), tiling=tiling, whole=whole)


@pytest.mark.parametrize(("pixels", "width"), every_pair())
def test_every_number_of_pixels_at_every_width(pixels: int, width: int) -> None:
    call = make_norm(1, width, 1, pixels, 8 if width % 3 else 4, film=True, control=1)
    for whole, tiling in ((True, SMALL), (False, Tiling(64, 256, 4, 1))):
        assert_like_reference(run_poisoned(call, tiling, whole), group_norm_reference, call)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_both_memory_formats_and_many_blocks(channels_last: bool, whole: bool) -> None:
    call = make_norm(2, 80, 7, 11, 8, film=True, control=2, channels_last=channels_last)
    assert_like_reference(run_poisoned(call, whole=whole), group_norm_reference, call)


@pytest.mark.parametrize("film", [False, True])
@pytest.mark.parametrize("control", [0, 1])
@pytest.mark.parametrize("silu", [False, True])
def test_every_part_may_be_absent(film: bool, control: int, silu: bool) -> None:
    call = make_norm(2, 32, 3, 5, 4, film=film, control=control) | {"silu": silu}
    assert_like_reference(run_poisoned(call, whole=True), group_norm_reference, call)
    assert_like_reference(run_poisoned(call, whole=False), group_norm_reference, call)


def test_a_view_into_a_larger_picture() -> None:
    call = make_norm(2, 32, 9, 10, 8)
    call["x"] = call["x"][:, :, 2:7, 1:8]
    for whole in (False, True):
        assert_like_reference(run_poisoned(call, whole=whole), group_norm_reference, call)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("whole", [False, True])
def test_half_precisions(dtype: torch.dtype, whole: bool) -> None:
    call = make_norm(2, 64, 5, 7, 8, film=True, control=1, dtype=dtype)
    assert_like_reference(run_poisoned(call, whole=whole), group_norm_reference, call)


@pytest.mark.parametrize("whole", [False, True])
def test_a_large_mean_costs_no_digits(whole: bool) -> None:
    """A mean 100 times the spread: E[x²] - E[x]² in fp32 would keep three digits of the variance."""
    call = make_norm(1, 32, 8, 9, 4)
    call["x"] = call["x"] + 100
    wide = {name: value.double() if isinstance(value, Tensor) else value for name, value in call.items()}
    truth = torch.nn.functional.silu(
        torch.nn.functional.group_norm(wide["x"], 4, wide["weight"], wide["bias"], 1e-5)
    )
    torch.testing.assert_close(run_poisoned(call, whole=whole).double(), truth, atol=5e-5, rtol=0)


def test_the_dispatch_can_insist_and_write_in_place() -> None:
    call = make_norm(2, 32, 3, 5, 8, film=True)
    expected, x = group_norm_silu(**call), call["x"]
    assert group_norm_silu(**call, out=x, backend="triton") is x
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=0)


def test_no_pixels() -> None:
    call = make_norm(1, 32, 2, 2, 8)
    call["x"] = call["x"][:, :, :0]
    assert run_poisoned(call).shape == (1, 32, 0, 2)


def test_levels_that_fit_and_levels_that_do_not() -> None:
    assert fits_whole(64, 40)
    assert not fits_whole(4096, 10)


def test_more_rows_and_pixels_than_a_grid_axis_holds() -> None:
    """16 sessions of 16 frames: each of the three launches covers its work in one axis."""
    x = torch.empty(256, 320, 64, 64, device="meta", dtype=torch.bfloat16)
    x = x.to(memory_format=torch.channels_last)
    weight = torch.empty(320, device="meta", dtype=torch.bfloat16)
    take, fold, apply = plan_group_norm(
        x, 32, weight, weight, eps=1e-5, scale=None, shift=None, offset=None, control=None, silu=True,
        out=x, tiling=Tiling(64, 64, 4, 1), whole=False,
    )  # fmt: skip
    assert take.programs == 256 * (4096 // 256) * 5
    assert fold.programs == 256 * 32
    assert apply.programs == 256 * 64 * 5 > 65_536


@pytest.mark.parametrize("groups", [1, 5, 32])
def test_several_groups_in_one_program(groups: int) -> None:
    call = make_norm(2, 5 * groups, 3, 7, groups, film=True, control=1)
    with tile_coarsely():
        out = group_norm_triton(**call, out=torch.full_like(call["x"], float("nan")), whole=True)
    assert_like_reference(out, group_norm_reference, call)
