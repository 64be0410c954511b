"""Flash-style attention in Triton with two sources of keys and a split head width. Inference only.

In flow strided (B, H, L, D) tensors, taken as they lie; out flows (B, H, Lq, D). One program computes
BLOCK_M queries of one head and walks first over k, v, then over k2, v2, under one online softmax: the joined
keys never exist in memory, and a reference bank shared by many frames is read where it lies, in L2.

Head widths of this family (40, 80, 160) are no powers of two, and padding them to 64, 128 and 256 wastes up
to 60% of the work. Here D is split into two power-of-two blocks: 80 = 64 + 16, 160 = 128 + 32, and
40 = 32 + 16 with half of the last masked, since tensor cores take no fewer than 16 columns.

Runs on CPU tensors under TRITON_INTERPRET=1 (set before Triton is first imported), which is how tests without
a GPU hold it to the reference.

Source: Dao, "FlashAttention-2" (arXiv 2307.08691), algorithm 1, forward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

_STAGES = 2
_SHARED_BYTES = 96 * 1024  # of the 99 KB a block may hold on consumer cards
_MIN_BLOCK = 16  # the narrowest tile tensor cores multiply


@dataclass(frozen=True, slots=True)
class Tiling:
    """How one launch cuts its work: queries and keys per step, and the hardware's share."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int


def split_width(width: int) -> tuple[int, int]:
    """Split a head width into two power-of-two blocks, the second possibly 0.

    Args:
        width: D, 1..256.

    Returns:
        (first, second), each 0 or a power of two ≥ 16, together ≥ width.
    """
    first = max(_MIN_BLOCK, 1 << (width.bit_length() - 1))
    rest = width - first
    return first, 0 if rest <= 0 else max(_MIN_BLOCK, triton.next_power_of_2(rest))


def choose_tiling(queries: int, width: int, dtype: torch.dtype) -> Tiling:
    """The largest tiles that fit a consumer GPU's shared memory with two stages of keys and values in flight.

    Args:
        queries: Lq.
        width: D.
        dtype: fp32 doubles each tile's bytes, so it gets smaller ones.
    """
    column_bytes = sum(split_width(width)) * dtype.itemsize
    block_m = min(128, max(_MIN_BLOCK, triton.next_power_of_2(queries)))
    block_n = 64
    while (block_m + 2 * _STAGES * block_n) * column_bytes > _SHARED_BYTES:
        if block_n > _MIN_BLOCK and 2 * block_n >= block_m:
            block_n //= 2
        else:
            block_m //= 2
    return Tiling(block_m, block_n, num_warps=8 if block_m == 128 else 4, num_stages=_STAGES)


@triton.jit
def _dot(a, b, PRECISION: tl.constexpr, WIDEN: tl.constexpr):
    """a @ b summed in fp32. WIDEN is for the interpreter, which would multiply bf16 as raw bits."""
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _walk_source(
    q_a,
    q_b,
    acc_a,
    acc_b,
    row_max,
    row_sum,
    k_ptr,
    v_ptr,
    mask_ptr,
    stride_kl,
    stride_kd,
    stride_vl,
    stride_vd,
    stride_mask,
    length,
    width,
    scale_log2,
    HAS_MASK: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_N: tl.constexpr,
    D_A: tl.constexpr,
    D_B: tl.constexpr,
):
    """One source of keys through the online softmax; pointers already stand at this row and head."""
    cols_a = tl.arange(0, D_A).to(tl.int64)
    keys = tl.arange(0, BLOCK_N).to(tl.int64)
    for start in range(0, length, BLOCK_N):
        rows = start + keys
        inside = rows < length
        in_a = inside[:, None] & (cols_a < width)[None, :]
        # scores (BLOCK_M, BLOCK_N), summed over both blocks of the width
        k_a = tl.load(k_ptr + rows[:, None] * stride_kl + cols_a[None, :] * stride_kd, mask=in_a, other=0.0)
        scores = _dot(q_a, tl.trans(k_a), PRECISION, WIDEN)
        if D_B > 0:
            cols_b = D_A + tl.arange(0, D_B).to(tl.int64)
            in_b = inside[:, None] & (cols_b < width)[None, :]
            k_b = tl.load(
                k_ptr + rows[:, None] * stride_kl + cols_b[None, :] * stride_kd, mask=in_b, other=0.0
            )
            scores += _dot(q_b, tl.trans(k_b), PRECISION, WIDEN)
        visible = inside
        if HAS_MASK:
            visible = visible & (tl.load(mask_ptr + rows * stride_mask, mask=inside, other=0) != 0)
        scores = tl.where(visible[None, :], scores * scale_log2, float("-inf"))
        # A row that has seen no key yet keeps -inf as its maximum; 0 stands in so that no inf - inf arises.
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        anchor = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(scores - anchor[:, None])
        decay = tl.exp2(row_max - anchor)
        row_sum = row_sum * decay + tl.sum(weights, 1)
        row_max = new_max
        v_a = tl.load(v_ptr + rows[:, None] * stride_vl + cols_a[None, :] * stride_vd, mask=in_a, other=0.0)
        weights = weights.to(v_a.dtype)
        acc_a = acc_a * decay[:, None] + _dot(weights, v_a, PRECISION, WIDEN)
        if D_B > 0:
            v_b = tl.load(
                v_ptr + rows[:, None] * stride_vl + cols_b[None, :] * stride_vd, mask=in_b, other=0.0
            )
            acc_b = acc_b * decay[:, None] + _dot(weights, v_b, PRECISION, WIDEN)
    return acc_a, acc_b, row_max, row_sum


@triton.jit
def _attention_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    k2_ptr,
    v2_ptr,
    mask_ptr,
    out_ptr,
    stride_qb,
    stride_qh,
    stride_ql,
    stride_qd,
    stride_kb,
    stride_kh,
    stride_kl,
    stride_kd,
    stride_vb,
    stride_vh,
    stride_vl,
    stride_vd,
    stride_k2b,
    stride_k2h,
    stride_k2l,
    stride_k2d,
    stride_v2b,
    stride_v2h,
    stride_v2l,
    stride_v2d,
    stride_mb,
    stride_ml,
    stride_ob,
    stride_oh,
    stride_ol,
    stride_od,
    heads,
    lq,
    lk,
    lk2,
    width,
    rows_per_bank,
    scale_log2,
    HAS_K2: tl.constexpr,
    HAS_MASK: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    D_A: tl.constexpr,
    D_B: tl.constexpr,
):
    """One program: BLOCK_M queries of one (row, head). A 1-D grid, since B·H may pass 65,535."""
    blocks = tl.cdiv(lq, BLOCK_M)
    pid = tl.program_id(0)
    row_head = pid // blocks
    row = (row_head // heads).to(tl.int64)
    head = (row_head % heads).to(tl.int64)
    queries = (pid % blocks).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols_a = tl.arange(0, D_A).to(tl.int64)
    in_a = (queries < lq)[:, None] & (cols_a < width)[None, :]
    q_base = q_ptr + row * stride_qb + head * stride_qh + queries[:, None] * stride_ql
    q_a = tl.load(q_base + cols_a[None, :] * stride_qd, mask=in_a, other=0.0)
    acc_a = tl.zeros([BLOCK_M, D_A], dtype=tl.float32)
    q_b = q_a
    acc_b = acc_a
    if D_B > 0:
        cols_b = D_A + tl.arange(0, D_B).to(tl.int64)
        in_b = (queries < lq)[:, None] & (cols_b < width)[None, :]
        q_b = tl.load(q_base + cols_b[None, :] * stride_qd, mask=in_b, other=0.0)
        acc_b = tl.zeros([BLOCK_M, D_B], dtype=tl.float32)
    row_max = tl.full([BLOCK_M], float("-inf"), dtype=tl.float32)
    row_sum = tl.zeros([BLOCK_M], dtype=tl.float32)
    acc_a, acc_b, row_max, row_sum = _walk_source(
        q_a, q_b, acc_a, acc_b, row_max, row_sum,
        k_ptr + row * stride_kb + head * stride_kh, v_ptr + row * stride_vb + head * stride_vh,
        mask_ptr + row * stride_mb,
        stride_kl, stride_kd, stride_vl, stride_vd, stride_ml, lk, width, scale_log2,
        HAS_MASK, PRECISION, WIDEN, BLOCK_N, D_A, D_B,
    )  # fmt: skip
    if HAS_K2:
        bank = row // rows_per_bank
        acc_a, acc_b, row_max, row_sum = _walk_source(
            q_a, q_b, acc_a, acc_b, row_max, row_sum,
            k2_ptr + bank * stride_k2b + head * stride_k2h, v2_ptr + bank * stride_v2b + head * stride_v2h,
            mask_ptr,
            stride_k2l, stride_k2d, stride_v2l, stride_v2d, stride_ml, lk2, width, scale_log2,
            False, PRECISION, WIDEN, BLOCK_N, D_A, D_B,
        )  # fmt: skip
    # No visible key: the sum is 0 and so is the answer.
    norm = tl.where(row_sum > 0.0, 1.0 / tl.where(row_sum > 0.0, row_sum, 1.0), 0.0)[:, None]
    out_base = out_ptr + row * stride_ob + head * stride_oh + queries[:, None] * stride_ol
    tl.store(out_base + cols_a[None, :] * stride_od, (acc_a * norm).to(out_ptr.dtype.element_ty), mask=in_a)
    if D_B > 0:
        tl.store(
            out_base + cols_b[None, :] * stride_od, (acc_b * norm).to(out_ptr.dtype.element_ty), mask=in_b
        )


def attention_triton(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    k2: Tensor | None = None,
    v2: Tensor | None = None,
    mask: Tensor | None = None,
    scale: float | None = None,
    out: Tensor | None = None,
    tiling: Tiling | None = None,
) -> Tensor:
    """Launch the kernel. Arguments as `kernels.attention.attention`, which checks them; this does not.

    Args:
        out: (B, H, Lq, D) to write into, any strides; None makes one.
        tiling: how to cut the work; None lets `choose_tiling` decide.

    Returns:
        (B, H, Lq, D) in q's dtype.
    """
    batch, heads, lq, width = q.shape
    out = torch.empty_like(q) if out is None else out
    if out.numel() == 0:
        return out
    tiling = choose_tiling(lq, width, q.dtype) if tiling is None else tiling
    d_a, d_b = split_width(width)
    bank_k, bank_v = (k, v) if k2 is None or v2 is None else (k2, v2)
    # Without a mask any pointer will do: the kernel compiled for that case never reads it.
    mask_bytes = q if mask is None else mask.view(torch.uint8)
    mask_strides = (0, 0) if mask is None else mask_bytes.stride()
    grid = (triton.cdiv(lq, tiling.block_m) * batch * heads,)
    _attention_kernel[grid](
        q, k, v, bank_k, bank_v, mask_bytes, out,
        *q.stride(), *k.stride(), *v.stride(), *bank_k.stride(), *bank_v.stride(),
        *mask_strides, *out.stride(),
        heads, lq, k.shape[2], bank_k.shape[2], width, batch // bank_k.shape[0],
        (width**-0.5 if scale is None else scale) * math.log2(math.e),
        HAS_K2=k2 is not None, HAS_MASK=mask is not None,
        PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
        WIDEN=q.dtype == torch.bfloat16 and not q.is_cuda,
        BLOCK_M=tiling.block_m, BLOCK_N=tiling.block_n, D_A=d_a, D_B=d_b,
        num_warps=tiling.num_warps, num_stages=tiling.num_stages,
    )  # fmt: skip
    return out
