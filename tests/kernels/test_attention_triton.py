"""The Triton kernel, interpreted on CPU tensors, against the fp32 reference."""

from __future__ import annotations

import pytest
import torch
from triton.runtime.errors import OutOfResources

from kernels.attention import attention
from kernels.attention_triton import attention_triton, candidate_tilings, plan_attention, width_blocks
from kernels.launch import Launch, Tiling, split_width
from kernels.tuning import fastest
from tests import tolerances
from tests.kernels.cases import WIDTHS, AttentionInputs, assert_attention_close, every_pair, make_inputs


def run_poisoned(inputs: AttentionInputs, tiling: Tiling | None = None) -> torch.Tensor:
    """Run into an output of NaN, so that an element the kernel forgets shows."""
    out = torch.full_like(inputs.q, float("nan"))
    return attention_triton(inputs.q, inputs.k, inputs.v, **inputs.options(), out=out, tiling=tiling)


@pytest.mark.parametrize(("length", "width"), every_pair())
def test_every_length_at_every_width(length: int, width: int) -> None:
    inputs = make_inputs(length, length, width, batch=1, heads=1, seed=length * width)
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


@pytest.mark.parametrize("width", [1, 7, 48, 96, 127, 256])
def test_widths_outside_the_family(width: int) -> None:
    inputs = make_inputs(17, 19, width, batch=1)
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


@pytest.mark.parametrize(("lq", "lk", "lk2"), [(1, 63, 17), (17, 1, 111), (63, 128, 1), (111, 17, 128)])
@pytest.mark.parametrize("banks", [1, 2, 4])
def test_two_sources_with_shared_banks(lq: int, lk: int, lk2: int, banks: int) -> None:
    inputs = make_inputs(lq, lk, 40, batch=4, heads=1, lk2=lk2, banks=banks)
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("lk2", [0, 21])
def test_masked_keys(strided: bool, lk2: int) -> None:
    inputs = make_inputs(17, 111, 80, lk2=lk2, masked=True, strided=strided)
    out = run_poisoned(inputs)
    assert_attention_close(out, inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)
    if not lk2:
        assert torch.equal(out[0], torch.zeros_like(out[0]))


def test_a_masked_key_has_no_influence() -> None:
    inputs = make_inputs(16, 40, 64, masked=True)
    assert inputs.mask is not None
    before = run_poisoned(inputs)
    inputs.k[:, :, :].masked_fill_(~inputs.mask[:, None, :, None], 1e4)
    inputs.v[:, :, :].masked_fill_(~inputs.mask[:, None, :, None], -1e4)
    assert torch.equal(run_poisoned(inputs), before)


@pytest.mark.parametrize("width", [40, 160])
def test_strides_are_taken_as_they_come(width: int) -> None:
    inputs = make_inputs(63, 111, width, lk2=17, strided=True)
    assert not inputs.q.is_contiguous()
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


def test_writes_into_a_strided_output_and_nowhere_else() -> None:
    inputs = make_inputs(17, 17, 40)
    room = torch.full((2, 17, 2, 64), float("nan"))
    out = room[..., :40].transpose(1, 2)
    attention_triton(inputs.q, inputs.k, inputs.v, out=out)
    assert_attention_close(out, inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)
    assert room[..., 40:].isnan().all()


@pytest.mark.parametrize(
    ("dtype", "times_torch", "rms"),
    [
        (torch.float16, tolerances.KERNEL_TIMES_TORCH, tolerances.KERNEL_RMS),
        (
            torch.bfloat16,
            tolerances.KERNEL_TIMES_TORCH_INTERPRETED_BF16,
            tolerances.KERNEL_RMS_INTERPRETED_BF16,
        ),
    ],
)
@pytest.mark.parametrize("width", [40, 80, 160])
def test_half_precisions(dtype: torch.dtype, times_torch: float, rms: float, width: int) -> None:
    inputs = make_inputs(63, 111, width, lk2=33, masked=True, dtype=dtype)
    assert_attention_close(run_poisoned(inputs), inputs, times_torch=times_torch, rms=rms)


def test_large_scores_do_not_overflow() -> None:
    inputs = make_inputs(17, 63, 32)
    hot = AttentionInputs(inputs.q * 100, inputs.k * 100, inputs.v)
    out = run_poisoned(hot)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out, attention(hot.q, hot.k, hot.v, backend="reference"), atol=1e-3, rtol=0)


def test_no_queries_and_no_keys() -> None:
    none = torch.zeros(2, 2, 0, 32)
    some = torch.randn(2, 2, 5, 32)
    assert attention_triton(none, some, some).shape == (2, 2, 0, 32)
    assert torch.equal(attention_triton(some, none, none), torch.zeros_like(some))


@pytest.mark.parametrize("tiling", [Tiling(16, 32, 4, 1), Tiling(128, 16, 8, 2), Tiling(32, 128, 4, 2)])
def test_the_tiling_does_not_change_the_answer(tiling: Tiling) -> None:
    inputs = make_inputs(111, 63, 80, batch=1, lk2=17)
    assert_attention_close(run_poisoned(inputs, tiling), inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


def test_the_dispatch_can_insist_on_the_kernel() -> None:
    inputs = make_inputs(17, 17, 40, lk2=3)
    out = attention(inputs.q, inputs.k, inputs.v, k2=inputs.k2, v2=inputs.v2, backend="triton", scale=0.5)
    expected = attention(inputs.q, inputs.k, inputs.v, k2=inputs.k2, v2=inputs.v2, scale=0.5)
    torch.testing.assert_close(out, expected, atol=tolerances.KERNEL_FP32, rtol=0)


def test_every_width_is_split_without_waste() -> None:
    for width in range(1, 257):
        first, second = split_width(width)
        assert first + second >= width, width
        padded = max(16, 1 << (width - 1).bit_length())
        assert first + second <= padded, (width, first, second)
        for block in (first, second):
            assert block == 0 or (block >= 16 and block & (block - 1) == 0), (width, block)


def test_the_familys_widths_are_split_as_documented() -> None:
    assert [split_width(width) for width in (40, 80, 160)] == [(32, 16), (64, 16), (128, 32)]


def _projected(length: int, width: int, dtype: torch.dtype, heads: int = 8) -> torch.Tensor:
    return torch.empty(2, length, heads, width, dtype=dtype).transpose(1, 2)


def test_a_width_is_cut_in_two_where_whole_blocks_stream() -> None:
    k, k2 = _projected(128, 40, torch.bfloat16), _projected(64, 40, torch.bfloat16)
    assert width_blocks(64, k, k2) == (32, 16)
    assert width_blocks(32, _projected(96, 160, torch.float16)) == (128, 32)
    assert width_blocks(64, _projected(63, 80, torch.float32)) == (64, 16)  # fp32 uses no tensor cores


@pytest.mark.parametrize(
    "keys",
    [
        _projected(63, 40, torch.bfloat16),  # a partial block
        torch.empty(2, 8, 128, 40, dtype=torch.bfloat16),  # rows of 80 bytes
        _projected(128, 80, torch.bfloat16)[:, :, :, 1:41],  # rows begin off 16 bytes
        _projected(128, 40, torch.bfloat16, heads=3),  # rows of 240 bytes
    ],
)
def test_elsewhere_a_width_is_padded(keys: torch.Tensor) -> None:
    whole = _projected(128, keys.shape[3], torch.bfloat16)
    assert width_blocks(64, whole) == (32, 16)
    assert width_blocks(64, whole, keys) == width_blocks(64, keys) == (64, 0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("gap", [0, 3])
def test_both_ways_to_cut_a_width_agree_with_the_truth(gap: int, width: int) -> None:
    inputs = make_inputs(32, 32, width, lk2=64, strided=True, gap=gap, dtype=torch.float16)
    out = run_poisoned(inputs, Tiling(32, 32, 4, 2))
    assert_attention_close(out, inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_fit_a_consumer_gpus_shared_memory(width: int, dtype: torch.dtype) -> None:
    columns = sum(split_width(width))
    candidates = candidate_tilings(4096, width, dtype)
    assert len(candidates) > 1
    for tiling in candidates:
        held = (tiling.block_m + 2 * tiling.num_stages * tiling.block_n) * columns * dtype.itemsize
        assert held <= 100 * 1024


def test_the_fastest_tiling_is_chosen_and_what_does_not_fit_passed_over() -> None:
    inputs = make_inputs(5, 5, 32)
    times = {Tiling(16, 16, 4, 1): 3.0, Tiling(32, 16, 4, 1): None, Tiling(16, 32, 4, 1): 2.0}

    def plan(tiling: Tiling) -> Launch:
        return plan_attention(inputs.q, inputs.k, inputs.v, out=torch.empty_like(inputs.q), tiling=tiling)

    def timer(launch: Launch) -> float:
        launch.run()
        cut = (launch.constants["BLOCK_M"], launch.constants["BLOCK_N"])
        time = next(time for tiling, time in times.items() if (tiling.block_m, tiling.block_n) == cut)
        if time is None:
            raise OutOfResources(300_000, 232_448, "shared memory")
        return time

    assert fastest(list(times), plan, timer) == Tiling(16, 32, 4, 1)


def test_more_rows_and_heads_than_a_grid_axis_holds() -> None:
    q = torch.empty(16 * 4096, 8, 16, 40, device="meta", dtype=torch.bfloat16)
    launch = plan_attention(q, q, q, out=q, tiling=Tiling(16, 16, 4, 1))
    assert launch.programs == 16 * 4096 * 8


def test_rows_past_65536_are_computed() -> None:
    """Programs are numbered along one axis; 66,000 of them take the interpreter minutes, so 9 far apart run."""
    inputs = make_inputs(1, 2, 1, batch=9, heads=1)
    far = [part.repeat_interleave(8192, 0)[::8192] for part in (inputs.q, inputs.k, inputs.v)]
    assert far[0].stride(0) == 8192
    out = attention_triton(*far, out=torch.full_like(far[0], float("nan")))
    assert_attention_close(out, inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


def test_addresses_past_31_bits() -> None:
    storage = torch.empty(2**31 + 4096, dtype=torch.float16)  # untouched pages cost nothing
    q = storage.as_strided((2, 1, 16, 32), (2**31, 0, 32, 1))
    q.copy_(torch.randn(2, 1, 16, 32))
    inputs = AttentionInputs(q, q, q)
    out = torch.full((2, 1, 16, 32), float("nan"), dtype=q.dtype)
    attention_triton(q, q, q, out=out)
    assert_attention_close(out, inputs, times_torch=tolerances.KERNEL_TIMES_TORCH)


def test_a_compiled_network_may_call_the_kernel() -> None:
    inputs = make_inputs(5, 5, 32)

    def network(q: torch.Tensor) -> torch.Tensor:
        return attention(q * 2, inputs.k, inputs.v, backend="triton") + 1

    with torch.no_grad():
        compiled = torch.compile(network, backend="eager")(inputs.q)
    expected = attention(inputs.q * 2, inputs.k, inputs.v) + 1
    torch.testing.assert_close(compiled, expected, atol=tolerances.KERNEL_FP32, rtol=0)
