"""GroupNorm, scale and shift, SiLU in Triton, channels-last. Inference only.

In flow (N, C, h, w) features with any strides; out flow features alike. Two ways:

- A group whose pixels and channels fit into one program's registers (low levels) is one launch.
- Else three: partial mean and squared deviation of each channel over a run of pixels, read in the memory's own
  order; a fold of those into one mean, factor and summand for each row and channel, where scale, shift, offset
  and CFG control cost nothing; and one pass that applies them. Group widths such as 10 channels never decide
  how memory is read.

Deviations are merged by Chan's formula, which unlike E[x²] − E[x]² does not cancel.

Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
"""

from __future__ import annotations

from typing import Unpack

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import Launch, Tiling
from kernels.tuning import choose_tiling, largest_block, tiles_coarsely
from kernels.values import NormOptions

_WHOLE_GROUP = 8192  # most elements of a group that one program holds: 64 registers a thread of 4 warps
_STEPS = 4  # blocks of pixels that one program of the first pass merges


def candidate_tilings(channels: int) -> list[Tiling]:
    """Tilings of the two long passes worth timing; block_m counts pixels, block_n channels."""
    wide = max(16, min(64, triton.next_power_of_2(channels)))
    return [
        Tiling(64, wide, 4, 1),
        Tiling(32, wide, 4, 1),
        Tiling(128, wide, 8, 1),
        Tiling(32, 2 * wide, 4, 1),
    ]


@triton.jit
def _film(
    scale_ptr, shift_ptr, basis_ptr, s_ref_ptr, s_aud_ptr,
    stride_sn, stride_sc, stride_tn, stride_tc, stride_ba, stride_bc, stride_r, stride_a,
    n, c, in_c, channels, rows_per_scale,
    HAS_FILM: tl.constexpr, HAS_CONTROL: tl.constexpr,
):  # fmt: skip
    """(1 + scale, shift) of channels c of row n, the control mixed in."""
    factor = tl.where(in_c, 1.0, 0.0)
    summand = factor * 0.0
    if HAS_FILM:
        factor += tl.load(scale_ptr + n * stride_sn + c * stride_sc, mask=in_c, other=0.0).to(tl.float32)
        summand += tl.load(shift_ptr + n * stride_tn + c * stride_tc, mask=in_c, other=0.0).to(tl.float32)
    if HAS_CONTROL:
        s_ref = tl.load(s_ref_ptr + n // rows_per_scale * stride_r)
        s_aud = tl.load(s_aud_ptr + n // rows_per_scale * stride_a)
        at = basis_ptr + c * stride_bc
        factor += tl.load(at, mask=in_c, other=0.0)
        factor += s_ref * tl.load(at + stride_ba, mask=in_c, other=0.0)
        factor += s_aud * tl.load(at + 2 * stride_ba, mask=in_c, other=0.0)
        at += channels * stride_bc
        summand += tl.load(at, mask=in_c, other=0.0)
        summand += s_ref * tl.load(at + stride_ba, mask=in_c, other=0.0)
        summand += s_aud * tl.load(at + 2 * stride_ba, mask=in_c, other=0.0)
    return factor, summand


@triton.jit
def _whole_kernel(
    x_ptr, out_ptr, weight_ptr, bias_ptr, offset_ptr,
    scale_ptr, shift_ptr, basis_ptr, s_ref_ptr, s_aud_ptr,
    stride_xn, stride_xc, stride_xh, stride_xw, stride_on, stride_oc, stride_oh, stride_ow,
    stride_w, stride_b, stride_fn, stride_fc,
    stride_sn, stride_sc, stride_tn, stride_tc, stride_ba, stride_bc, stride_r, stride_a,
    pixels, columns, channels, groups, rows_per_scale, eps,
    WIDTH: tl.constexpr, HAS_OFFSET: tl.constexpr, HAS_FILM: tl.constexpr, HAS_CONTROL: tl.constexpr,
    SILU: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_G groups of one row in registers, (BLOCK_G, BLOCK_P pixels, BLOCK_C channels)."""
    group_blocks = (groups + BLOCK_G - 1) // BLOCK_G
    pid = tl.program_id(0)
    n = (pid // group_blocks).to(tl.int64)
    group = ((pid % group_blocks) * BLOCK_G + tl.arange(0, BLOCK_G)).to(tl.int64)[:, None]
    own = tl.arange(0, BLOCK_C).to(tl.int64)[None, :]
    in_c = (group < groups) & (own < WIDTH)  # (BLOCK_G, BLOCK_C)
    c = group * WIDTH + own
    pixel = tl.arange(0, BLOCK_P)
    inside = (pixel < pixels)[None, :, None] & in_c[:, None, :]
    line = (pixel // columns).to(tl.int64)[None, :, None]
    place = (pixel % columns).to(tl.int64)[None, :, None]
    x_at = x_ptr + n * stride_xn + line * stride_xh + place * stride_xw + c[:, None, :] * stride_xc
    x = tl.load(x_at, mask=inside, other=0.0).to(tl.float32)
    if HAS_OFFSET:
        add = tl.load(offset_ptr + n * stride_fn + c * stride_fc, mask=in_c, other=0.0).to(tl.float32)
        x = tl.where(inside, x + add[:, None, :], 0.0)
    size = pixels * WIDTH * 1.0
    mean = tl.sum(tl.sum(x, 2), 1) / size  # (BLOCK_G,)
    away = tl.where(inside, x - mean[:, None, None], 0.0)
    rstd = tl.rsqrt(tl.sum(tl.sum(away * away, 2), 1) / size + eps)
    weight = tl.load(weight_ptr + c * stride_w, mask=in_c, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + c * stride_b, mask=in_c, other=0.0).to(tl.float32)
    factor, summand = _film(
        scale_ptr, shift_ptr, basis_ptr, s_ref_ptr, s_aud_ptr,
        stride_sn, stride_sc, stride_tn, stride_tc, stride_ba, stride_bc, stride_r, stride_a,
        n, c, in_c, channels, rows_per_scale, HAS_FILM, HAS_CONTROL,
    )  # fmt: skip
    y = away * (rstd[:, None] * weight * factor)[:, None, :] + (bias * factor + summand)[:, None, :]
    if SILU:
        y = y / (1.0 + tl.exp(-tl.maximum(y, -80.0)))  # below -80 silu is 0, and exp would overflow
    out_at = out_ptr + n * stride_on + line * stride_oh + place * stride_ow + c[:, None, :] * stride_oc
    tl.store(out_at, y.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _moments_kernel(
    x_ptr, moments_ptr, stride_xn, stride_xc, stride_xh, stride_xw,
    pixels, columns, channels, runs,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """One program: mean and squared deviation of BLOCK_C channels over a run of STEPS * BLOCK_P pixels."""
    channel_blocks = (channels + BLOCK_C - 1) // BLOCK_C
    pid = tl.program_id(0)
    c = (pid % channel_blocks).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    run = pid // channel_blocks % runs
    n = (pid // channel_blocks // runs).to(tl.int64)
    x_base = x_ptr + n * stride_xn + c[None, :] * stride_xc
    mean = tl.full([BLOCK_C], 0.0, dtype=tl.float32)
    spread = tl.full([BLOCK_C], 0.0, dtype=tl.float32)
    before = tl.full([BLOCK_C], 0.0, dtype=tl.float32)  # pixels merged so far
    for step in range(0, STEPS):
        pixel = (run * STEPS + step) * BLOCK_P + tl.arange(0, BLOCK_P)
        in_p = pixel < pixels
        inside = in_p[:, None] & in_c[None, :]
        line = (pixel // columns).to(tl.int64)[:, None]
        place = (pixel % columns).to(tl.int64)[:, None]
        x = tl.load(x_base + line * stride_xh + place * stride_xw, mask=inside, other=0.0).to(tl.float32)
        size = tl.sum(tl.where(in_p, 1.0, 0.0), 0)
        block = tl.sum(x, 0) / tl.maximum(size, 1.0)
        away = tl.where(inside, x - block[None, :], 0.0)
        delta = block - mean
        seen = before + size
        part = size / tl.maximum(seen, 1.0)
        mean += delta * part
        spread += tl.sum(away * away, 0) + delta * delta * (before * part)
        before = seen
    at = moments_ptr + ((n * runs + run) * 2 * channels + c)
    tl.store(at, mean, mask=in_c)
    tl.store(at + channels, spread, mask=in_c)


@triton.jit
def _fold_kernel(
    moments_ptr, folded_ptr, weight_ptr, bias_ptr, offset_ptr,
    scale_ptr, shift_ptr, basis_ptr, s_ref_ptr, s_aud_ptr,
    stride_w, stride_b, stride_fn, stride_fc,
    stride_sn, stride_sc, stride_tn, stride_tc, stride_ba, stride_bc, stride_r, stride_a,
    pixels, run_pixels, channels, groups, runs, rows_per_scale, eps,
    WIDTH: tl.constexpr, HAS_OFFSET: tl.constexpr, HAS_FILM: tl.constexpr, HAS_CONTROL: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program: one group of one row; folds its runs into (mean, factor, summand) of each channel."""
    pid = tl.program_id(0)
    n = (pid // groups).to(tl.int64)
    own = tl.arange(0, BLOCK_C).to(tl.int64)
    in_c = own < WIDTH
    c = (pid % groups).to(tl.int64) * WIDTH + own
    add = tl.full([BLOCK_C], 0.0, dtype=tl.float32)
    if HAS_OFFSET:
        add += tl.load(offset_ptr + n * stride_fn + c * stride_fc, mask=in_c, other=0.0).to(tl.float32)
    size = pixels * WIDTH * 1.0
    base = moments_ptr + n * runs * 2 * channels + c[None, :]
    total = tl.full([BLOCK_R, BLOCK_C], 0.0, dtype=tl.float32)
    for start in range(0, runs, BLOCK_R):
        run = start + tl.arange(0, BLOCK_R)
        inside = (run < runs)[:, None] & in_c[None, :]
        count = tl.minimum(pixels - run * run_pixels, run_pixels).to(tl.float32)[:, None]
        means = tl.load(base + run.to(tl.int64)[:, None] * 2 * channels, mask=inside, other=0.0)
        total += tl.where(inside, (means + add[None, :]) * count, 0.0)
    mean = tl.sum(tl.sum(total, 1), 0) / size
    total = tl.full([BLOCK_R, BLOCK_C], 0.0, dtype=tl.float32)
    for start in range(0, runs, BLOCK_R):
        run = start + tl.arange(0, BLOCK_R)
        inside = (run < runs)[:, None] & in_c[None, :]
        count = tl.minimum(pixels - run * run_pixels, run_pixels).to(tl.float32)[:, None]
        at = base + run.to(tl.int64)[:, None] * 2 * channels
        delta = tl.load(at, mask=inside, other=0.0) + add[None, :] - mean
        spread = tl.load(at + channels, mask=inside, other=0.0)
        total += tl.where(inside, spread + delta * delta * count, 0.0)
    rstd = tl.rsqrt(tl.sum(tl.sum(total, 1), 0) / size + eps)
    weight = tl.load(weight_ptr + c * stride_w, mask=in_c, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + c * stride_b, mask=in_c, other=0.0).to(tl.float32)
    factor, summand = _film(
        scale_ptr, shift_ptr, basis_ptr, s_ref_ptr, s_aud_ptr,
        stride_sn, stride_sc, stride_tn, stride_tc, stride_ba, stride_bc, stride_r, stride_a,
        n, c, in_c, channels, rows_per_scale, HAS_FILM, HAS_CONTROL,
    )  # fmt: skip
    to = folded_ptr + n * 3 * channels + c
    tl.store(to, mean - add, mask=in_c)
    tl.store(to + channels, rstd * weight * factor, mask=in_c)
    tl.store(to + 2 * channels, bias * factor + summand, mask=in_c)


@triton.jit
def _apply_kernel(
    x_ptr, out_ptr, folded_ptr,
    stride_xn, stride_xc, stride_xh, stride_xw, stride_on, stride_oc, stride_oh, stride_ow,
    pixels, columns, channels,
    SILU: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_P pixels and BLOCK_C channels of one row."""
    channel_blocks = (channels + BLOCK_C - 1) // BLOCK_C
    pixel_blocks = (pixels + BLOCK_P - 1) // BLOCK_P
    pid = tl.program_id(0)
    c = (pid % channel_blocks).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    pixel = pid // channel_blocks % pixel_blocks * BLOCK_P + tl.arange(0, BLOCK_P)
    n = (pid // channel_blocks // pixel_blocks).to(tl.int64)
    folded = folded_ptr + n * 3 * channels + c
    mean = tl.load(folded, mask=in_c, other=0.0)
    factor = tl.load(folded + channels, mask=in_c, other=0.0)
    summand = tl.load(folded + 2 * channels, mask=in_c, other=0.0)
    inside = (pixel < pixels)[:, None] & in_c[None, :]
    line = (pixel // columns).to(tl.int64)[:, None]
    place = (pixel % columns).to(tl.int64)[:, None]
    x_at = x_ptr + n * stride_xn + line * stride_xh + place * stride_xw + c[None, :] * stride_xc
    x = tl.load(x_at, mask=inside, other=0.0).to(tl.float32)
    y = (x - mean[None, :]) * factor[None, :] + summand[None, :]
    if SILU:
        y = y / (1.0 + tl.exp(-tl.maximum(y, -80.0)))  # below -80 silu is 0, and exp would overflow
    out_at = out_ptr + n * stride_on + line * stride_oh + place * stride_ow + c[None, :] * stride_oc
    tl.store(out_at, y.to(out_ptr.dtype.element_ty), mask=inside)


def plan_group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    *,
    out: Tensor,
    tiling: Tiling,
    whole: bool,
    **options: Unpack[NormOptions],
) -> list[Launch]:
    """The launches of `group_norm_triton`, in order; nothing runs yet.

    Args:
        whole: one launch with each group in one program's registers; False takes three.
    """
    scale, shift = options.get("scale"), options.get("shift")
    offset, control = options.get("offset"), options.get("control")
    eps, silu = options.get("eps", 1e-5), options.get("silu", True)
    rows, channels, lines, columns = x.shape
    pixels, width = lines * columns, channels // groups
    # Where a part is absent any pointer will do: the kernel compiled for that case never reads it.
    parts = [x if part is None else part for part in (offset, scale, shift)]
    film_strides = [stride for part in parts[1:] for stride in part.stride()[:2]]
    basis, s_ref, s_aud = (weight,) * 3 if control is None else (control.basis, control.s_ref, control.s_aud)
    film = (parts[1], parts[2], basis, s_ref, s_aud)
    strides = (weight.stride(0), bias.stride(0), *parts[0].stride()[:2], *film_strides)
    strides += (basis.stride(0), basis.stride(-1), s_ref.stride(0), s_aud.stride(0))
    rows_per_scale = 1 if control is None else rows // max(1, control.s_ref.shape[0])
    has = {
        "WIDTH": width, "HAS_OFFSET": offset is not None, "HAS_FILM": scale is not None,
        "HAS_CONTROL": control is not None,
    }  # fmt: skip
    block_width = triton.next_power_of_2(width)
    if whole:
        block_p = triton.next_power_of_2(max(1, pixels))
        size = block_p * block_width
        arguments = (
            x, out, weight, bias, parts[0], *film, *x.stride(), *out.stride(), *strides,
            pixels, columns, channels, groups, rows_per_scale, float(eps),
        )  # fmt: skip
        block_g = largest_block(groups, block_p, block_width, least=1)[0] if tiles_coarsely(x.device) else 1
        constants = has | {"SILU": silu, "BLOCK_G": block_g, "BLOCK_P": block_p, "BLOCK_C": block_width}
        warps = 1 if size <= 512 else 4 if size <= 4096 else 8
        programs = rows * triton.cdiv(groups, block_g) if pixels else 0
        return [Launch(_whole_kernel, programs, arguments, constants, warps, 1)]
    run_pixels = tiling.block_m * _STEPS
    runs, channel_blocks = triton.cdiv(pixels, run_pixels), triton.cdiv(channels, tiling.block_n)
    moments = torch.empty((rows, runs, 2, channels), dtype=torch.float32, device=x.device)
    folded = torch.empty((rows, 3, channels), dtype=torch.float32, device=x.device)
    block = {"BLOCK_P": tiling.block_m, "BLOCK_C": tiling.block_n}
    take = Launch(
        _moments_kernel, rows * runs * channel_blocks,
        (x, moments, *x.stride(), pixels, columns, channels, runs),
        block | {"STEPS": _STEPS}, tiling.num_warps, tiling.num_stages,
    )  # fmt: skip
    block_r = max(1, min(triton.next_power_of_2(runs), 2048 // block_width))
    fold = Launch(
        _fold_kernel, rows * groups,
        (moments, folded, weight, bias, parts[0], *film, *strides,
         pixels, run_pixels, channels, groups, runs, rows_per_scale, float(eps)),
        has | {"BLOCK_R": block_r, "BLOCK_C": block_width}, 4, 1,
    )  # fmt: skip
    apply = Launch(
        _apply_kernel, rows * triton.cdiv(pixels, tiling.block_m) * channel_blocks,
        (x, out, folded, *x.stride(), *out.stride(), pixels, columns, channels),
        block | {"SILU": silu}, tiling.num_warps, tiling.num_stages,
    )  # fmt: skip
    return [take, fold, apply]


def fits_whole(pixels: int, width: int) -> bool:
    """Whether a group of so many pixels and channels is held by one program."""
    return bool(triton.next_power_of_2(max(1, pixels)) * triton.next_power_of_2(width) <= _WHOLE_GROUP)


@torch.compiler.disable  # a launch plans, tunes and measures, which is not for tracing
def group_norm_triton(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    *,
    out: Tensor | None = None,
    tiling: Tiling | None = None,
    whole: bool | None = None,
    **options: Unpack[NormOptions],
) -> Tensor:
    """Launch the kernels. Arguments as `kernels.norm.group_norm_silu`, which checks them; this does not.

    Args:
        tiling: how to cut the long passes; None takes the tuned one.
        whole: one launch or three; None lets the size decide.

    Returns:
        Like x: `out`, or a new tensor.
    """
    rows, channels, lines, columns = x.shape
    out = torch.empty_like(x) if out is None else out
    if out.numel() == 0:
        return out
    whole = fits_whole(lines * columns, channels // groups) if whole is None else whole

    def plan(cut: Tiling, target: Tensor) -> list[Launch]:
        return plan_group_norm(x, groups, weight, bias, out=target, tiling=cut, whole=whole, **options)

    candidates = candidate_tilings(channels)
    if tiling is None and not whole:
        shape = (rows, channels, lines * columns, groups, x.dtype)
        tiling = choose_tiling(
            "group_norm", shape, candidates, lambda cut: plan(cut, torch.empty_like(x))[-1], x.device
        )
    for launch in plan(candidates[0] if tiling is None else tiling, out):
        launch.run()
    return out
