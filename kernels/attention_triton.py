"""Flash-style attention in Triton with two sources of keys and a split head width. Inference only.

In flow strided (B, H, L, D) tensors, taken as they lie; out flows (B, H, Lq, D). One program computes
BLOCK_M queries of one head and walks first over k, v, then over k2, v2, under one online softmax: the joined
keys never exist in memory, and a reference bank shared by many frames is read where it lies, in L2.

The head width is split into two power-of-two blocks (`kernels.launch.split_width`), so that 40, 80 and 160
columns are not padded to 64, 128 and 256; where it may be is said in `width_blocks`. Whole blocks of keys are
walked without a mask and with the scale folded into the exponent (one multiply-add and one exp2 a score, since at
D = 40 the exponential unit is as busy as the tensor cores); only the last, partial block and masked sources pay
for `tl.where`.

Runs on CPU tensors under TRITON_INTERPRET=1 (set before Triton is first imported), which is how tests without
a GPU hold it to the reference.

Source: Dao, "FlashAttention-2" (arXiv 2307.08691), algorithm 1, forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Unpack

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch import Launch, Tiling, precision_of, split_width, widens
from kernels.tuning import choose_tiling, largest_block, tiles_coarsely
from kernels.values import AttentionOptions

_SHARED_BYTES = 96 * 1024  # of the 99 KB a block may hold on consumer cards


def width_blocks(block_n: int, *keys: Tensor) -> tuple[int, int]:
    """How a head width is cut for one tiling: in two where that is safe, else padded to one power of two.

    Triton 3.6 compiles the second block's product with the weights wrongly on Hopper where its tile reaches
    shared memory through registers: columns of the second block came out wrong, or addresses outside the memory
    were read (H100; widths 40, 80 and 160 in half precision). Where tiles stream there by asynchronous copies, as
    whole blocks of aligned rows do, and in fp32, which uses no such products, every case was right.

    Args:
        block_n: keys of one block.
        keys: k, v and, where there are such, k2 and v2: (B, H, L, D).

    Returns:
        (first, second), the second 0 for one block.
    """
    width = keys[0].shape[3]
    if keys[0].dtype == torch.float32 or all(_streams(tensor, block_n) for tensor in keys):
        return split_width(width)
    return max(16, triton.next_power_of_2(width)), 0


def _streams(tensor: Tensor, block_n: int) -> bool:
    """Whether all of its blocks of rows are whole and lie so that Triton copies 16 bytes at a time."""
    batch, head, row, column = tensor.stride()
    lies = column == 1 and row % 16 == 0 and batch % 8 == 0 and head % 8 == 0
    return lies and tensor.shape[2] % block_n == 0 and tensor.data_ptr() % 16 == 0


def candidate_tilings(
    queries: int, width: int, dtype: torch.dtype, blocks: Callable[[int], tuple[int, int]] | None = None
) -> list[Tiling]:
    """Tilings worth timing, the rule of thumb first: the largest tiles that fit with their stages in flight.

    Args:
        queries: Lq; a block holds no more queries than there are, rounded up to a power of two.
        width: D.
        dtype: fp32 doubles each tile's bytes, and its exact products use no tensor cores, so it gets smaller
            ones.
        blocks: how the width is cut for a number of keys; None cuts it in two for any.
    """
    most_m = max(16, triton.next_power_of_2(queries))
    sizes = ((32, 32), (64, 32)) if dtype == torch.float32 else ((128, 64), (128, 128), (64, 64), (128, 32))
    found: list[Tiling] = []
    for wanted_m, wanted_n in (*sizes, (64, 32), (32, 32), (16, 16)):
        block_m, block_n = min(wanted_m, most_m), wanted_n
        column_bytes = sum(blocks(block_n) if blocks else split_width(width)) * dtype.itemsize
        for stages in (3, 2):
            if (block_m + 2 * stages * block_n) * column_bytes <= _SHARED_BYTES:
                warps = (8, 4) if block_m >= 128 else (4,)
                found += [Tiling(block_m, block_n, number, stages) for number in warps]
    return list(dict.fromkeys(found))


@triton.jit
def dot(a, b, acc, PRECISION: tl.constexpr, WIDEN: tl.constexpr):
    """acc + a @ b, summed in fp32. WIDEN is for the interpreter, which would multiply bf16 as raw bits."""
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def _place(row, stride_row, head, stride_head, ALIGNED: tl.constexpr):
    """Where a row's head begins. ALIGNED: at a multiple of 8 elements, which a head stride of 40 does not tell."""
    start = row * stride_row + head * stride_head
    if ALIGNED:
        start = tl.multiple_of(start, 8)
    return start


@triton.jit
def _fold_keys(
    q_a, q_b, acc_a, acc_b, row_max, row_sum, k_ptr, v_ptr, mask_ptr, start, keys,
    stride_kl, stride_kd, stride_vl, stride_vd, stride_mask, length, scale_log2,
    PARTIAL: tl.constexpr, HAS_MASK: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, D_A: tl.constexpr, D_B: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One block of keys through the online softmax. PARTIAL: some of its rows lie beyond the length."""
    rows = start + keys
    inside = rows < length if PARTIAL else keys >= 0
    cols_a = tl.arange(0, D_A).to(tl.int64)
    in_a = inside[:, None] & (cols_a < WIDTH)[None, :]
    # scores (BLOCK_M, BLOCK_N), summed over both blocks of the width
    k_a = tl.load(k_ptr + rows[:, None] * stride_kl + cols_a[None, :] * stride_kd, mask=in_a, other=0.0)
    scores = dot(q_a, tl.trans(k_a), tl.zeros([BLOCK_M, BLOCK_N], dtype=tl.float32), PRECISION, WIDEN)
    if D_B > 0:
        cols_b = D_A + tl.arange(0, D_B).to(tl.int64)
        in_b = inside[:, None] & (cols_b < WIDTH)[None, :]
        k_b = tl.load(k_ptr + rows[:, None] * stride_kl + cols_b[None, :] * stride_kd, mask=in_b, other=0.0)
        scores = dot(q_b, tl.trans(k_b), scores, PRECISION, WIDEN)
    if PARTIAL or HAS_MASK:
        visible = inside
        if HAS_MASK:
            visible = visible & (tl.load(mask_ptr + rows * stride_mask, mask=inside, other=0) != 0)
        scores = tl.where(visible[None, :], scores * scale_log2, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        # A row that has seen no key yet keeps -inf as its maximum; 0 stands in so that no inf - inf arises.
        anchor = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(scores - anchor[:, None])
    else:
        new_max = tl.maximum(row_max, tl.max(scores, 1) * scale_log2)
        anchor = new_max
        weights = tl.exp2(scores * scale_log2 - anchor[:, None])
    decay = tl.exp2(row_max - anchor)
    row_sum = row_sum * decay + tl.sum(weights, 1)
    v_a = tl.load(v_ptr + rows[:, None] * stride_vl + cols_a[None, :] * stride_vd, mask=in_a, other=0.0)
    weights = weights.to(v_a.dtype)
    acc_a = dot(weights, v_a, acc_a * decay[:, None], PRECISION, WIDEN)
    if D_B > 0:
        v_b = tl.load(v_ptr + rows[:, None] * stride_vl + cols_b[None, :] * stride_vd, mask=in_b, other=0.0)
        acc_b = dot(weights, v_b, acc_b * decay[:, None], PRECISION, WIDEN)
    return acc_a, acc_b, new_max, row_sum


@triton.jit
def _walk_source(
    q_a, q_b, acc_a, acc_b, row_max, row_sum, k_ptr, v_ptr, mask_ptr,
    stride_kl, stride_kd, stride_vl, stride_vd, stride_mask, length, scale_log2,
    RAGGED: tl.constexpr, HAS_MASK: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, D_A: tl.constexpr, D_B: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One source of keys; pointers already stand at this row and head. RAGGED: its last block may be partial."""
    keys = tl.arange(0, BLOCK_N).to(tl.int64)
    whole = length // BLOCK_N * BLOCK_N
    for start in range(0, whole, BLOCK_N):
        acc_a, acc_b, row_max, row_sum = _fold_keys(
            q_a, q_b, acc_a, acc_b, row_max, row_sum, k_ptr, v_ptr, mask_ptr, start, keys,
            stride_kl, stride_kd, stride_vl, stride_vd, stride_mask, length, scale_log2,
            False, HAS_MASK, PRECISION, WIDEN, BLOCK_M, BLOCK_N, D_A, D_B, WIDTH,
        )  # fmt: skip
    if RAGGED and whole < length:
        acc_a, acc_b, row_max, row_sum = _fold_keys(
            q_a, q_b, acc_a, acc_b, row_max, row_sum, k_ptr, v_ptr, mask_ptr, whole, keys,
            stride_kl, stride_kd, stride_vl, stride_vd, stride_mask, length, scale_log2,
            True, HAS_MASK, PRECISION, WIDEN, BLOCK_M, BLOCK_N, D_A, D_B, WIDTH,
        )  # fmt: skip
    return acc_a, acc_b, row_max, row_sum


@triton.jit
def _attention_kernel(
    q_ptr, k_ptr, v_ptr, k2_ptr, v2_ptr, mask_ptr, out_ptr,
    stride_qb, stride_qh, stride_ql, stride_qd,
    stride_kb, stride_kh, stride_kl, stride_kd,
    stride_vb, stride_vh, stride_vl, stride_vd,
    stride_k2b, stride_k2h, stride_k2l, stride_k2d,
    stride_v2b, stride_v2h, stride_v2l, stride_v2d,
    stride_mb, stride_ml,
    stride_ob, stride_oh, stride_ol, stride_od,
    heads, lq, lk, lk2, rows_per_bank, scale_log2,
    HAS_K2: tl.constexpr, RAGGED: tl.constexpr, HAS_MASK: tl.constexpr, ALIGNED: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    D_A: tl.constexpr, D_B: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_M queries of one (row, head). A 1-D grid, since B·H may pass 65,535."""
    blocks = tl.cdiv(lq, BLOCK_M)
    pid = tl.program_id(0)
    row_head = pid // blocks
    row = (row_head // heads).to(tl.int64)
    head = (row_head % heads).to(tl.int64)
    queries = (pid % blocks).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols_a = tl.arange(0, D_A).to(tl.int64)
    in_a = (queries < lq)[:, None] & (cols_a < WIDTH)[None, :]
    q_base = q_ptr + _place(row, stride_qb, head, stride_qh, ALIGNED) + queries[:, None] * stride_ql
    q_a = tl.load(q_base + cols_a[None, :] * stride_qd, mask=in_a, other=0.0)
    acc_a = tl.zeros([BLOCK_M, D_A], dtype=tl.float32)
    q_b = q_a
    acc_b = acc_a
    if D_B > 0:
        cols_b = D_A + tl.arange(0, D_B).to(tl.int64)
        in_b = (queries < lq)[:, None] & (cols_b < WIDTH)[None, :]
        q_b = tl.load(q_base + cols_b[None, :] * stride_qd, mask=in_b, other=0.0)
        acc_b = tl.zeros([BLOCK_M, D_B], dtype=tl.float32)
    row_max = tl.full([BLOCK_M], float("-inf"), dtype=tl.float32)
    row_sum = tl.zeros([BLOCK_M], dtype=tl.float32)
    acc_a, acc_b, row_max, row_sum = _walk_source(
        q_a, q_b, acc_a, acc_b, row_max, row_sum,
        k_ptr + _place(row, stride_kb, head, stride_kh, ALIGNED),
        v_ptr + _place(row, stride_vb, head, stride_vh, ALIGNED),
        mask_ptr + row * stride_mb,
        stride_kl, stride_kd, stride_vl, stride_vd, stride_ml, lk, scale_log2,
        RAGGED, HAS_MASK, PRECISION, WIDEN, BLOCK_M, BLOCK_N, D_A, D_B, WIDTH,
    )  # fmt: skip
    if HAS_K2:
        bank = row // rows_per_bank
        acc_a, acc_b, row_max, row_sum = _walk_source(
            q_a, q_b, acc_a, acc_b, row_max, row_sum,
            k2_ptr + _place(bank, stride_k2b, head, stride_k2h, ALIGNED),
            v2_ptr + _place(bank, stride_v2b, head, stride_v2h, ALIGNED),
            mask_ptr,
            stride_k2l, stride_k2d, stride_v2l, stride_v2d, stride_ml, lk2, scale_log2,
            RAGGED, False, PRECISION, WIDEN, BLOCK_M, BLOCK_N, D_A, D_B, WIDTH,
        )  # fmt: skip
    # No visible key: the sum is 0 and so is the answer.
    norm = tl.where(row_sum > 0.0, 1.0 / tl.where(row_sum > 0.0, row_sum, 1.0), 0.0)[:, None]
    out_base = out_ptr + _place(row, stride_ob, head, stride_oh, ALIGNED) + queries[:, None] * stride_ol
    tl.store(out_base + cols_a[None, :] * stride_od, (acc_a * norm).to(out_ptr.dtype.element_ty), mask=in_a)
    if D_B > 0:
        tl.store(
            out_base + cols_b[None, :] * stride_od, (acc_b * norm).to(out_ptr.dtype.element_ty), mask=in_b
        )


def plan_attention(
    q: Tensor, k: Tensor, v: Tensor, *, out: Tensor, tiling: Tiling, **options: Unpack[AttentionOptions]
) -> Launch:
    """The launch of `attention_triton` with one tiling; nothing runs yet."""
    k2, v2 = options.get("k2"), options.get("v2")
    mask, scale = options.get("mask"), options.get("scale")
    batch, heads, lq, width = q.shape
    bank_k, bank_v = (k, v) if k2 is None or v2 is None else (k2, v2)
    d_a, d_b = width_blocks(tiling.block_n, k, v, bank_k, bank_v)
    # Without a mask any pointer will do: the kernel compiled for that case never reads it.
    mask_bytes = q if mask is None else mask.view(torch.uint8)
    mask_strides = (0, 0) if mask is None else mask_bytes.stride()
    factor = (width**-0.5 if scale is None else scale) * math.log2(math.e)
    return Launch(
        _attention_kernel,
        programs=triton.cdiv(lq, tiling.block_m) * batch * heads if width else 0,
        arguments=(
            q, k, v, bank_k, bank_v, mask_bytes, out,
            *q.stride(), *k.stride(), *v.stride(), *bank_k.stride(), *bank_v.stride(),
            *mask_strides, *out.stride(),
            heads, lq, k.shape[2], bank_k.shape[2], batch // max(1, bank_k.shape[0]), factor,
        ),
        constants={
            "HAS_K2": k2 is not None,
            "RAGGED": any(keys.shape[2] % tiling.block_n for keys in (k, bank_k)), "HAS_MASK": mask is not None,
            "ALIGNED": all(tensor.stride(axis) % 8 == 0 for tensor in (q, k, v, bank_k, bank_v, out)
                           for axis in (0, 1)),
            "PRECISION": precision_of(q.dtype), "WIDEN": widens(q),
            "BLOCK_M": tiling.block_m, "BLOCK_N": tiling.block_n, "D_A": d_a, "D_B": d_b, "WIDTH": width,
        },
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
    )  # fmt: skip


@torch.compiler.disable  # a launch plans, tunes and measures, which is not for tracing
def attention_triton(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    out: Tensor | None = None,
    tiling: Tiling | None = None,
    **options: Unpack[AttentionOptions],
) -> Tensor:
    """Launch the kernel. Arguments as `kernels.attention.attention`, which checks them; this does not.

    Args:
        out: (B, H, Lq, D) to write into, any strides; None makes one.
        tiling: how to cut the work; None takes the tuned one.

    Returns:
        (B, H, Lq, D) in q's dtype.
    """

    def plan(cut: Tiling, target: Tensor) -> Launch:
        return plan_attention(q, k, v, out=target, tiling=cut, **options)

    batch, heads, lq, width = q.shape
    out = torch.empty_like(q) if out is None else out
    k2, mask = options.get("k2"), options.get("mask")
    keys_2 = 0 if k2 is None else k2.shape[2]
    if tiling is None and tiles_coarsely(q.device):
        block_m, block_n = largest_block(lq, max(k.shape[2], keys_2))
        tiling = Tiling(block_m, block_n, 4, 1)
    if tiling is None:
        keys = [tensor for tensor in (k, v, k2, options.get("v2")) if tensor is not None]

        def blocks(block_n: int) -> tuple[int, int]:
            return width_blocks(block_n, *keys)

        candidates = candidate_tilings(lq, width, q.dtype, blocks)
        cut = blocks(candidates[0].block_n)
        shape = (batch * heads, lq, k.shape[2], keys_2, width, cut, mask is not None, q.dtype)
        tiling = choose_tiling(
            "attention", shape, candidates, lambda tried: plan(tried, torch.empty_like(q)), q.device
        )
    plan(tiling, out).run()
    return out
