"""Attention over time in Triton, reading (b f) (h w) c features where they lie. Inference only.

In flow (B, T, L, C) features of T frames and L pixels with H heads side by side in C, any strides, and one or
two sources of frames to attend to; out flows (B, T, L, C). One program computes a block of frames of PAIRS
neighbouring (pixel, head) pairs: for each frame these are consecutive in memory, so nothing is rearranged.
Its products are batched over the pairs, 16 frames by 16: a fused attention written for long sequences would
pad each of them to 128 by 128.

The head width is split as in `kernels.attention_triton`; the motion frames are the second source, so that
their keys and values, which stay the same for all evaluations of a window, are projected once and never
joined to the window's own.
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.attention_triton import dot
from kernels.launch import Launch, Tiling, precision_of, split_width, widens
from kernels.tuning import choose_tiling, largest_block, tiles_coarsely
from kernels.values import AttentionOptions

_BLOCK_T = 16  # frames a program computes: the fewest rows that tensor cores multiply


def candidate_tilings(width: int, dtype: torch.dtype) -> list[Tiling]:
    """Tilings worth timing, the rule of thumb first; block_m counts pairs, block_n frames attended to a step.

    Args:
        width: D.
        dtype: exact fp32 products take more registers, so fewer pairs go into a program.
    """
    if dtype == torch.float32:
        return [Tiling(2, 16, 4, 1), Tiling(4, 16, 4, 1)]
    pairs = (8, 4, 16) if width <= 64 else (4, 2, 8)
    return [Tiling(size, 16, warps, 1) for size in pairs for warps in (4, 2)]


@triton.jit
def _fold_frames(
    q_a, q_b, acc_a, acc_b, row_max, row_sum, k_base, v_base, mask_ptr,
    stride_kf, stride_kc, stride_vf, stride_vc, stride_mask, frames, in_pairs, scale_log2,
    HAS_MASK: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr, PAIRS: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_F: tl.constexpr, D_A: tl.constexpr, D_B: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One source of frames through the online softmax; k_base, v_base (PAIRS, 1, 1) stand at frame 0."""
    cols_a = tl.arange(0, D_A).to(tl.int64)[None, None, :]
    for start in range(0, frames, BLOCK_F):
        rows = start + tl.arange(0, BLOCK_F).to(tl.int64)
        inside = rows < frames
        in_f = in_pairs[:, None, None] & inside[None, :, None]  # (PAIRS, BLOCK_F, 1)
        in_a = in_f & (cols_a < WIDTH)
        k_rows = k_base + rows[None, :, None] * stride_kf
        v_rows = v_base + rows[None, :, None] * stride_vf
        k_a = tl.load(k_rows + cols_a * stride_kc, mask=in_a, other=0.0)
        v_a = tl.load(v_rows + cols_a * stride_vc, mask=in_a, other=0.0)
        # scores (PAIRS, BLOCK_T, BLOCK_F), summed over both blocks of the width
        scores = tl.zeros([PAIRS, BLOCK_T, BLOCK_F], dtype=tl.float32)
        scores = dot(q_a, tl.permute(k_a, (0, 2, 1)), scores, PRECISION, WIDEN)
        if D_B > 0:
            cols_b = (D_A + tl.arange(0, D_B)).to(tl.int64)[None, None, :]
            in_b = in_f & (cols_b < WIDTH)
            k_b = tl.load(k_rows + cols_b * stride_kc, mask=in_b, other=0.0)
            scores = dot(q_b, tl.permute(k_b, (0, 2, 1)), scores, PRECISION, WIDEN)
        visible = inside
        if HAS_MASK:
            visible = visible & (tl.load(mask_ptr + rows * stride_mask, mask=inside, other=0) != 0)
        scores = tl.where(visible[None, None, :], scores * scale_log2, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, 2))
        # A row that has seen no frame yet keeps -inf as its maximum; 0 stands in so that no inf - inf arises.
        anchor = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(scores - anchor[:, :, None])
        decay = tl.exp2(row_max - anchor)
        row_sum = row_sum * decay + tl.sum(weights, 2)
        row_max = new_max
        weights = weights.to(v_a.dtype)
        acc_a = dot(weights, v_a, acc_a * decay[:, :, None], PRECISION, WIDEN)
        if D_B > 0:
            v_b = tl.load(v_rows + cols_b * stride_vc, mask=in_b, other=0.0)
            acc_b = dot(weights, v_b, acc_b * decay[:, :, None], PRECISION, WIDEN)
    return acc_a, acc_b, row_max, row_sum


@triton.jit
def _temporal_kernel(
    q_ptr, k_ptr, v_ptr, k2_ptr, v2_ptr, mask_ptr, out_ptr,
    stride_qb, stride_qt, stride_ql, stride_qc,
    stride_kb, stride_kf, stride_kl, stride_kc,
    stride_vb, stride_vf, stride_vl, stride_vc,
    stride_k2b, stride_k2f, stride_k2l, stride_k2c,
    stride_v2b, stride_v2f, stride_v2l, stride_v2c,
    stride_mb, stride_mf,
    stride_ob, stride_ot, stride_ol, stride_oc,
    heads, pixels, frames, frames_k, frames_k2, scale_log2,
    HAS_K2: tl.constexpr, HAS_MASK: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
    PAIRS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_F: tl.constexpr,
    D_A: tl.constexpr, D_B: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_T frames of PAIRS (pixel, head) pairs of one batch row. A 1-D grid: B·L·H may be large."""
    pair_blocks = tl.cdiv(pixels * heads, PAIRS)
    time_blocks = tl.cdiv(frames, BLOCK_T)
    pid = tl.program_id(0)
    pairs = (pid % pair_blocks) * PAIRS + tl.arange(0, PAIRS)
    in_pairs = pairs < pixels * heads
    pixel = (pairs // heads).to(tl.int64)[:, None, None]
    column = (pairs % heads).to(tl.int64)[:, None, None] * WIDTH  # the head's first channel
    time = (pid // pair_blocks % time_blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    row = (pid // pair_blocks // time_blocks).to(tl.int64)
    in_q = in_pairs[:, None, None] & (time < frames)[None, :, None]
    time = time.to(tl.int64)[None, :, None]
    cols_a = tl.arange(0, D_A).to(tl.int64)[None, None, :]
    in_a = in_q & (cols_a < WIDTH)
    q_base = q_ptr + row * stride_qb + pixel * stride_ql + column * stride_qc + time * stride_qt
    q_a = tl.load(q_base + cols_a * stride_qc, mask=in_a, other=0.0)
    acc_a = tl.zeros([PAIRS, BLOCK_T, D_A], dtype=tl.float32)
    q_b = q_a
    acc_b = acc_a
    if D_B > 0:
        cols_b = (D_A + tl.arange(0, D_B)).to(tl.int64)[None, None, :]
        in_b = in_q & (cols_b < WIDTH)
        q_b = tl.load(q_base + cols_b * stride_qc, mask=in_b, other=0.0)
        acc_b = tl.zeros([PAIRS, BLOCK_T, D_B], dtype=tl.float32)
    row_max = tl.full([PAIRS, BLOCK_T], float("-inf"), dtype=tl.float32)
    row_sum = tl.zeros([PAIRS, BLOCK_T], dtype=tl.float32)
    if HAS_K2:
        acc_a, acc_b, row_max, row_sum = _fold_frames(
            q_a, q_b, acc_a, acc_b, row_max, row_sum,
            k2_ptr + row * stride_k2b + pixel * stride_k2l + column * stride_k2c,
            v2_ptr + row * stride_v2b + pixel * stride_v2l + column * stride_v2c,
            mask_ptr, stride_k2f, stride_k2c, stride_v2f, stride_v2c, stride_mf, frames_k2, in_pairs, scale_log2,
            False, PRECISION, WIDEN, PAIRS, BLOCK_T, BLOCK_F, D_A, D_B, WIDTH,
        )  # fmt: skip
    acc_a, acc_b, row_max, row_sum = _fold_frames(
        q_a, q_b, acc_a, acc_b, row_max, row_sum,
        k_ptr + row * stride_kb + pixel * stride_kl + column * stride_kc,
        v_ptr + row * stride_vb + pixel * stride_vl + column * stride_vc,
        mask_ptr + row * stride_mb,
        stride_kf, stride_kc, stride_vf, stride_vc, stride_mf, frames_k, in_pairs, scale_log2,
        HAS_MASK, PRECISION, WIDEN, PAIRS, BLOCK_T, BLOCK_F, D_A, D_B, WIDTH,
    )  # fmt: skip
    # No visible frame: the sum is 0 and so is the answer.
    norm = tl.where(row_sum > 0.0, 1.0 / tl.where(row_sum > 0.0, row_sum, 1.0), 0.0)[:, :, None]
    out_base = out_ptr + row * stride_ob + pixel * stride_ol + column * stride_oc + time * stride_ot
    tl.store(out_base + cols_a * stride_oc, (acc_a * norm).to(out_ptr.dtype.element_ty), mask=in_a)
    if D_B > 0:
        tl.store(out_base + cols_b * stride_oc, (acc_b * norm).to(out_ptr.dtype.element_ty), mask=in_b)


def plan_temporal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    heads: int,
    out: Tensor,
    tiling: Tiling,
    **options: Unpack[AttentionOptions],
) -> Launch:
    """The launch of `temporal_triton` with one tiling; nothing runs yet."""
    k2, v2 = options.get("k2"), options.get("v2")
    mask, scale = options.get("mask"), options.get("scale")
    batch, frames, pixels, channels = q.shape
    width = channels // heads
    d_a, d_b = split_width(width)
    more_k, more_v = (k, v) if k2 is None or v2 is None else (k2, v2)
    # Without a mask any pointer will do: the kernel compiled for that case never reads it.
    mask_bytes = q if mask is None else mask.view(torch.uint8)
    mask_strides = (0, 0) if mask is None else mask_bytes.stride()
    factor = (width**-0.5 if scale is None else scale) * math.log2(math.e)
    programs = batch * triton.cdiv(frames, _BLOCK_T) * triton.cdiv(pixels * heads, tiling.block_m)
    return Launch(
        _temporal_kernel,
        programs=programs,
        arguments=(
            q, k, v, more_k, more_v, mask_bytes, out,
            *q.stride(), *k.stride(), *v.stride(), *more_k.stride(), *more_v.stride(),
            *mask_strides, *out.stride(),
            heads, pixels, frames, k.shape[1], more_k.shape[1], factor,
        ),
        constants={
            "HAS_K2": k2 is not None, "HAS_MASK": mask is not None,
            "PRECISION": precision_of(q.dtype), "WIDEN": widens(q),
            "PAIRS": tiling.block_m, "BLOCK_T": _BLOCK_T, "BLOCK_F": tiling.block_n,
            "D_A": d_a, "D_B": d_b, "WIDTH": width,
        },
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
    )  # fmt: skip


@torch.compiler.disable  # a launch plans, tunes and measures, which is not for tracing
def temporal_triton(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    heads: int,
    out: Tensor | None = None,
    tiling: Tiling | None = None,
    **options: Unpack[AttentionOptions],
) -> Tensor:
    """Launch the kernel. Arguments as `kernels.temporal.temporal_attention`, which checks them; this does not.

    Args:
        tiling: how to cut the work; None takes the tuned one.

    Returns:
        (B, T, L, C) in q's dtype: `out`, or a new tensor.
    """

    def plan(cut: Tiling, target: Tensor) -> Launch:
        return plan_temporal(q, k, v, heads=heads, out=target, tiling=cut, **options)

    batch, frames, pixels, channels = q.shape
    out = torch.empty_like(q) if out is None else out
    k2, mask = options.get("k2"), options.get("mask")
    frames_2 = 0 if k2 is None else k2.shape[1]
    if tiling is None and tiles_coarsely(q.device):
        (block_f,) = largest_block(max(k.shape[1], frames_2))
        pairs, *_ = largest_block(pixels * heads, _BLOCK_T, max(block_f, channels // heads))
        tiling = Tiling(pairs, block_f, 4, 1)
    if tiling is None:
        shape = (batch, pixels, heads, frames, k.shape[1], frames_2, channels, mask is not None, q.dtype)
        candidates = candidate_tilings(channels // heads, q.dtype)
        tiling = choose_tiling(
            "temporal", shape, candidates, lambda cut: plan(cut, torch.empty_like(q)), q.device
        )
    plan(tiling, out).run()
    return out
