"""LayerNorm, cross-attention with absorbed projections, bias, scale and residual in one Triton kernel.

In flow (R, L, C) tokens and an absorbed context; out flow tokens. One program takes BLOCK_M tokens of one row:
it reads them for mean and deviation, again (from L1) for the scores of all heads at once, and a last time for
the sum, so x crosses the memory bus once. Scores (BLOCK_M, H·K) stay in registers; the softmax of each head is
a reduction over the last axis of the same registers seen as (BLOCK_M, H, K). Inference only.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.attention_triton import dot
from kernels.launch import Launch, Tiling, precision_of, widens
from kernels.tuning import (
    CONSUMER_SHARED_BYTES,
    choose_tiling,
    largest_block,
    shared_bytes_of,
    tiles_coarsely,
)
from kernels.values import AbsorbedContext

_SCORES = 32768  # most scores a program of 8 warps holds: 128 registers a thread


def candidate_tilings(
    tokens: int, columns: int, dtype: torch.dtype, shared_bytes: int = CONSUMER_SHARED_BYTES
) -> list[Tiling]:
    """Tilings worth timing, the rule of thumb first; block_m counts tokens, block_n channels a step.

    A program reads the whole context (2 · columns · C) from L2, so many tokens should share it; as many as the
    registers and shared memory allow come first.

    Args:
        tokens: L; a block holds no more than there are, rounded up.
        columns: H·K.
        dtype: exact fp32 products take more registers, so few tokens go into a program.
        shared_bytes: what a program may hold: its weights, and each stage's share of the context.
    """
    most_m = max(16, triton.next_power_of_2(tokens))
    if dtype == torch.float32:
        return [Tiling(min(16, most_m), 16, 8, 1), Tiling(min(32, most_m), 16, 8, 1)]
    found: list[Tiling] = []
    for wanted in (128, 64, 32, 16):
        block_m = min(wanted, most_m)
        warps = 8 if block_m * columns > 8192 else 4
        for block_n, stages in ((64, 2), (64, 3), (32, 3), (32, 2), (16, 1)):
            held = (block_m + stages * block_n) * columns * dtype.itemsize
            if held <= shared_bytes and block_m * columns <= _SCORES:
                found.append(Tiling(block_m, block_n, warps, stages))
    return list(dict.fromkeys(found)) or [Tiling(16, 16, 8, 1)]


@triton.jit
def _cross_kernel(
    x_ptr, keys_ptr, values_ptr, bias_ptr, out_bias_ptr, out_ptr,
    stride_xr, stride_xl, stride_xc,
    stride_kr, stride_kj, stride_kc,
    stride_vr, stride_vj, stride_vc,
    stride_br, stride_bj, stride_ob,
    stride_or, stride_ol, stride_oc,
    tokens, rows_per_context, eps, out_scale,
    HAS_BIAS: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr, CHANNELS: tl.constexpr,
    HEADS: tl.constexpr, KEYS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_M tokens of one row. A 1-D grid, since rows and blocks may pass 65,535."""
    COLUMNS: tl.constexpr = HEADS * KEYS
    blocks = (tokens + BLOCK_M - 1) // BLOCK_M
    pid = tl.program_id(0)
    row = (pid // blocks).to(tl.int64)
    shared = row // rows_per_context
    token = (pid % blocks).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    in_m = (token < tokens)[:, None]
    channel = tl.arange(0, BLOCK_C).to(tl.int64)
    column = tl.arange(0, COLUMNS).to(tl.int64)
    x_base = x_ptr + row * stride_xr + token[:, None] * stride_xl  # (BLOCK_M, 1)

    # Mean and squared deviation, merged chunk by chunk, which unlike E[x²] - E[x]² does not cancel.
    mean = tl.full([BLOCK_M], 0.0, dtype=tl.float32)
    spread = tl.full([BLOCK_M], 0.0, dtype=tl.float32)
    before = tl.full([BLOCK_M], 0.0, dtype=tl.float32)  # channels merged so far
    for start in range(0, CHANNELS, BLOCK_C):
        c = start + channel
        in_x = in_m & (c < CHANNELS)[None, :]
        x = tl.load(x_base + c[None, :] * stride_xc, mask=in_x, other=0.0).to(tl.float32)
        seen = tl.minimum(before + BLOCK_C, CHANNELS)
        size = seen - before
        chunk = tl.sum(x, 1) / size
        away = tl.where(in_x, x - chunk[:, None], 0.0)
        delta = chunk - mean
        mean += delta * (size / seen)
        spread += tl.sum(away * away, 1) + delta * delta * (before * size / seen)
        before = seen
    scale = tl.rsqrt(spread / CHANNELS + eps)

    # scores (BLOCK_M, COLUMNS) of all heads, in powers of two
    scores = tl.full([BLOCK_M, COLUMNS], 0.0, dtype=tl.float32)
    keys_base = keys_ptr + shared * stride_kr + column[:, None] * stride_kj
    for start in range(0, CHANNELS, BLOCK_C):
        c = start + channel
        in_c = (c < CHANNELS)[None, :]
        x = tl.load(x_base + c[None, :] * stride_xc, mask=in_m & in_c, other=0.0).to(tl.float32)
        normed = tl.where(in_m & in_c, (x - mean[:, None]) * scale[:, None], 0.0).to(x_ptr.dtype.element_ty)
        keys = tl.load(keys_base + c[None, :] * stride_kc, mask=in_c, other=0.0)
        scores = dot(normed, tl.trans(keys), scores, PRECISION, WIDEN)
    scores += tl.load(bias_ptr + shared * stride_br + column * stride_bj)[None, :]
    by_head = tl.reshape(scores, [BLOCK_M, HEADS, KEYS])
    top = tl.max(by_head, 2)
    # A head that sees no key has -inf as its maximum; 0 stands in so that no inf - inf arises.
    anchor = tl.where(top == float("-inf"), 0.0, top)
    weights = tl.exp2(by_head - anchor[:, :, None])
    total = tl.sum(weights, 2)
    weights = weights * tl.where(total > 0.0, 1.0 / tl.where(total > 0.0, total, 1.0), 0.0)[:, :, None]
    weights = tl.reshape(weights, [BLOCK_M, COLUMNS]).to(x_ptr.dtype.element_ty)

    values_base = values_ptr + shared * stride_vr + column[:, None] * stride_vj
    out_base = out_ptr + row * stride_or + token[:, None] * stride_ol
    for start in range(0, CHANNELS, BLOCK_C):
        c = start + channel
        in_c = (c < CHANNELS)[None, :]
        values = tl.load(values_base + c[None, :] * stride_vc, mask=in_c, other=0.0)
        attended = dot(weights, values, tl.full([BLOCK_M, BLOCK_C], 0.0, dtype=tl.float32), PRECISION, WIDEN)
        if HAS_BIAS:
            attended += tl.load(out_bias_ptr + c * stride_ob, mask=c < CHANNELS, other=0.0).to(tl.float32)[
                None, :
            ]
        x = tl.load(x_base + c[None, :] * stride_xc, mask=in_m & in_c, other=0.0).to(tl.float32)
        result = (x + attended * out_scale).to(out_ptr.dtype.element_ty)
        tl.store(out_base + c[None, :] * stride_oc, result, mask=in_m & in_c)


def plan_cross(
    x: Tensor,
    context: AbsorbedContext,
    *,
    out_bias: Tensor | None,
    out_scale: float,
    eps: float,
    out: Tensor,
    tiling: Tiling,
) -> Launch:
    """The launch of `cross_triton` with one tiling; nothing runs yet."""
    rows, tokens, channels = x.shape
    shared, columns = context.bias.shape
    # Without a bias any pointer will do: the kernel compiled for that case never reads it.
    bias = x if out_bias is None else out_bias
    return Launch(
        _cross_kernel,
        programs=rows * triton.cdiv(tokens, tiling.block_m),
        arguments=(
            x, context.keys, context.values, context.bias, bias, out,
            *x.stride(), *context.keys.stride(), *context.values.stride(), *context.bias.stride(),
            bias.stride(-1), *out.stride(),
            tokens, rows // max(1, shared), float(eps), float(out_scale),
        ),
        constants={
            "HAS_BIAS": out_bias is not None, "PRECISION": precision_of(x.dtype), "WIDEN": widens(x),
            "CHANNELS": channels, "HEADS": context.heads, "KEYS": columns // context.heads,
            "BLOCK_M": tiling.block_m, "BLOCK_C": tiling.block_n,
        },
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
    )  # fmt: skip


@torch.compiler.disable  # a launch plans, tunes and measures, which is not for tracing
def cross_triton(
    x: Tensor,
    context: AbsorbedContext,
    *,
    out_bias: Tensor | None = None,
    out_scale: float = 1.0,
    eps: float = 1e-5,
    out: Tensor | None = None,
    tiling: Tiling | None = None,
) -> Tensor:
    """Launch the kernel. Arguments as `kernels.cross.cross_attention`, which checks them; this does not.

    Args:
        tiling: how to cut the work; None takes the tuned one.

    Returns:
        (R, L, C) in x's dtype: `out`, or a new tensor.
    """

    def plan(cut: Tiling, target: Tensor) -> Launch:
        return plan_cross(x, context, out_bias=out_bias, out_scale=out_scale, eps=eps, out=target, tiling=cut)

    rows, tokens, channels = x.shape
    columns = context.bias.shape[1]
    out = torch.empty_like(x) if out is None else out
    if tiling is None and tiles_coarsely(x.device):
        (block_c,) = largest_block(channels)
        block_m, *_ = largest_block(tokens, max(columns, block_c))
        tiling = Tiling(block_m, block_c, 8, 1)
    if tiling is None:
        candidates = candidate_tilings(tokens, columns, x.dtype, shared_bytes_of(x.device))
        shape = (rows, tokens, channels, columns, x.dtype)
        tiling = choose_tiling(
            "cross", shape, candidates, lambda cut: plan(cut, torch.empty_like(x)), x.device
        )
    plan(tiling, out).run()
    return out
