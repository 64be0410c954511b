"""A convolution of 8-bit floats as one matrix product whose rows are gathered where they lie. Inference only.

In flow a channels-last picture and a packed weight; out flows the convolution in the picture's dtype. One program
computes BLOCK_M pixels x BLOCK_N channels and walks over the kernel's places and the channels under them: the
patches never exist in memory. The picture is rounded to e4m3 beforehand by a kernel that reads it once, with its
scales known. A linear layer is the case of one pixel an image.

Both operands lie with the summed axis innermost, the only order in which Hopper multiplies 8-bit floats.

Source: implicit GEMM, Chetlur et al., "cuDNN" (1410.0759), section 3.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.fp8.weight import FP8, LARGEST, Fp8Weight, row_scales
from kernels.launch import Launch, Tiling
from kernels.tuning import CONSUMER_SHARED_BYTES, choose_tiling, shared_bytes_of

ROUND_BLOCK = 4096


def candidate_tilings(rows: int, channels: int, shared: int = CONSUMER_SHARED_BYTES) -> list[Tiling]:
    """Tilings worth timing (BLOCK_M pixels, BLOCK_N channels), the rule of thumb first.

    Args:
        rows: pixels of all images.
        channels: C.
        shared: bytes of shared memory that a program may have; all stages of both operands lie there.
    """
    most, depth = max(16, triton.next_power_of_2(rows)), block_of_channels(channels)
    sizes = ((128, 128, 8), (128, 64, 4), (64, 128, 4), (64, 64, 4), (32, 64, 4), (16, 64, 4))
    found = [Tiling(min(m, most), n, warps, stages) for m, n, warps in sizes for stages in (4, 3)]
    fitting = [t for t in found if (t.block_m + t.block_n) * depth * t.num_stages <= shared]
    return list(dict.fromkeys(fitting))


def block_of_channels(channels: int) -> int:
    """BLOCK_K: the largest block that pads the channels least (320 is 5 x 64, not 3 x 128)."""
    return min((128, 64, 32), key=lambda block: -channels % block)


@triton.jit
def _round_kernel(x_ptr, scale_ptr, out_ptr, each, LARGEST: tl.constexpr, BLOCK: tl.constexpr):
    """x / scale of its image, as e4m3; ``each`` values an image, a program takes one block of one image."""
    blocks = tl.cdiv(each, BLOCK)
    program = tl.program_id(0).to(tl.int64)
    image, start = program // blocks, (program % blocks) * BLOCK
    place = start + tl.arange(0, BLOCK).to(tl.int64)
    inside = place < each
    x = tl.load(x_ptr + image * each + place, mask=inside, other=0.0).to(tl.float32)
    x = x / tl.load(scale_ptr + image)
    x = tl.minimum(tl.maximum(x, -LARGEST), LARGEST)
    # To the nearest of e4m3's values, halves to even: its step at 2^e is 2^(e - 3), below 2^-6 it stays 2^-9. The
    # sum with 1.5 * 2^23 steps drops what is finer. Hardware converts so by itself; the interpreter does not.
    power = tl.maximum(x.to(tl.int32, bitcast=True) & 0x7F800000, (127 - 6) << 23) + (20 << 23)
    coarse = 1.5 * power.to(tl.float32, bitcast=True)
    x = (x + coarse) - coarse
    tl.store(out_ptr + image * each + place, x.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _conv_kernel(
    x_ptr, x_scale_ptr, w_ptr, w_scale_ptr, bias_ptr, out_ptr,
    rows, height, width, out_height, out_width, leaving,
    CHANNELS: tl.constexpr, SIZE: tl.constexpr, STRIDE: tl.constexpr, HAS_BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """out (rows, leaving) of pixels row = (image, y, x). Neighbouring programs share their pixels."""
    columns = tl.cdiv(leaving, BLOCK_N)
    program = tl.program_id(0).to(tl.int64)
    row = (program // columns) * BLOCK_M + tl.arange(0, BLOCK_M).to(tl.int64)
    column = (program % columns) * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    pixels = out_height * out_width
    image = row // pixels
    y = (row % pixels) // out_width * STRIDE - SIZE // 2
    x = row % out_width * STRIDE - SIZE // 2
    channel = tl.arange(0, BLOCK_K).to(tl.int64)
    acc = tl.zeros([BLOCK_M, BLOCK_N], dtype=tl.float32)
    steps: tl.constexpr = (CHANNELS + BLOCK_K - 1) // BLOCK_K
    for step in range(0, SIZE * SIZE * steps):
        place, start = step // steps, (step % steps) * BLOCK_K
        at_y, at_x = y + place // SIZE, x + place % SIZE
        there = (row < rows) & (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
        deep = start + channel < CHANNELS
        pixel = ((image * height + at_y) * width + at_x) * CHANNELS + start
        a = tl.load(x_ptr + pixel[:, None] + channel[None, :], mask=there[:, None] & deep[None, :], other=0.0)
        weight = column * (SIZE * SIZE * CHANNELS) + place * CHANNELS + start
        b = tl.load(
            w_ptr + weight[:, None] + channel[None, :],
            mask=(column < leaving)[:, None] & deep[None, :],
            other=0.0,
        )
        acc = tl.dot(a, tl.trans(b), acc)
    scale = tl.load(x_scale_ptr + image, mask=row < rows, other=0.0)[:, None]
    acc = acc * (scale * tl.load(w_scale_ptr + column, mask=column < leaving, other=0.0)[None, :])
    if HAS_BIAS:
        acc += tl.load(bias_ptr + column, mask=column < leaving, other=0.0).to(tl.float32)[None, :]
    tl.store(
        out_ptr + row[:, None] * leaving + column[None, :],
        acc.to(out_ptr.dtype.element_ty),
        mask=(row < rows)[:, None] & (column < leaving)[None, :],
    )


def plan_round(x: Tensor, scale: Tensor, out: Tensor) -> Launch:
    """The launch that rounds x (N, C, H, W), channels-last, into out (N, H, W, C) e4m3."""
    each = x[0].numel() if len(x) else 0
    programs = len(x) * triton.cdiv(each, ROUND_BLOCK)
    constants = {"LARGEST": LARGEST, "BLOCK": ROUND_BLOCK}
    return Launch(_round_kernel, programs, (x, scale, out, each), constants, 8, 1)


def plan_conv(
    rounded: Tensor,
    scale: Tensor,
    weight: Fp8Weight,
    bias: Tensor | None,
    stride: int,
    out: Tensor,
    tiling: Tiling,
) -> Launch:
    """The launch that multiplies; rounded (N, H, W, C), out (N, h, w, O)."""
    _, height, width, channels = rounded.shape
    n, out_height, out_width, leaving = out.shape
    rows = n * out_height * out_width
    programs = triton.cdiv(rows, tiling.block_m) * triton.cdiv(leaving, tiling.block_n)
    constants = {
        "CHANNELS": channels,
        "SIZE": weight.size,
        "STRIDE": stride,
        "HAS_BIAS": bias is not None,
        "BLOCK_M": tiling.block_m,
        "BLOCK_N": tiling.block_n,
        "BLOCK_K": block_of_channels(channels),
    }
    arguments = (
        rounded, scale, weight.values, weight.scale, scale if bias is None else bias, out,
        rows, height, width, out_height, out_width, leaving,
    )  # fmt: skip
    return Launch(_conv_kernel, programs, arguments, constants, tiling.num_warps, tiling.num_stages)


def conv2d_triton(x: Tensor, weight: Fp8Weight, bias: Tensor | None, stride: int) -> Tensor:
    """See `kernels.fp8.linear.fp8_conv2d`, which has checked everything; x is channels-last."""
    n, channels, height, width = x.shape
    leaving = weight.values.shape[0]
    scale = row_scales(x)
    rounded = torch.empty(n, height, width, channels, dtype=FP8, device=x.device)
    plan_round(x, scale, rounded).run()
    shape = (n, -(-height // stride), -(-width // stride), leaving)
    out = torch.empty(shape, dtype=x.dtype, device=x.device)
    rows = n * shape[1] * shape[2]

    def plan(tiling: Tiling) -> Launch:
        return plan_conv(rounded, scale, weight, bias, stride, torch.empty_like(out), tiling)

    key = (rows, channels, leaving, weight.size, stride, x.dtype)
    tilings = candidate_tilings(rows, channels, shared_bytes_of(x.device))
    tiling = choose_tiling("fp8_conv", key, tilings, plan, x.device)
    plan_conv(rounded, scale, weight, bias, stride, out, tiling).run()
    return out.permute(0, 3, 1, 2)
