"""Cross-attention to few tokens (sound, picture) with its projections absorbed, fused with norm and residual.

    out = x + out_scale · (Σ_h softmax(LN(x) Wq_hᵀ k_hᵀ / √D) v_h Wo_hᵀ + b_o)

Keys and values depend on the frame alone, so K'_h = k_h Wq_h and V'_h = v_h Wo_hᵀ are made once a frame for
all evaluations (`absorb_context`), and each evaluation is two products with H·K columns instead of two with C
columns, an attention and three passes over the tokens (`cross_attention`). LayerNorm's gain goes into K', its
offset into a bias for each key, the mask into that bias as well.

In flow (R, L, C) tokens of R frames and an `AbsorbedContext`; out flow tokens. On CUDA `kernels.cross_triton`
runs, elsewhere the same algebra in PyTorch. Any thread.

How a network calls it, k and v being its projected sound, (R, K, C), once a window:

    context = absorb_context(k, v, to_q=cross.to_q.weight, to_out=cross.to_out.weight, heads=cross.heads,
                             norm_weight=cross.norm.weight, norm_bias=cross.norm.bias)
    tokens = cross_attention(tokens, context, out_bias=cross.to_out.bias, out_scale=3.0)  # each evaluation
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.dispatch import (
    Backend,
    check_groups,
    check_heads,
    check_like,
    check_mask,
    check_out,
    check_scale,
    check_shape,
    choose_kernel,
)
from kernels.values import AbsorbedContext

MAX_COLUMNS = 512
"""Most scores of one token (heads times keys, each rounded up) that the kernel holds in registers."""


def absorb_context(
    k: Tensor,
    v: Tensor,
    *,
    to_q: Tensor,
    to_out: Tensor,
    heads: int,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    scale: float | None = None,
    mask: Tensor | None = None,
) -> AbsorbedContext:
    """Fold the projections into keys and values; once a frame, whatever the number of evaluations.

    Args:
        k: projected keys, (R2, K, H·D).
        v: projected values, like k.
        to_q: the query projection's weight, (H·D, C), without bias.
        to_out: the output projection's weight, (C, H·D).
        heads: H, which divides H·D.
        norm_weight: LayerNorm's gain on the query side, (C,); None is 1.
        norm_bias: its offset, (C,); None is 0.
        scale: factor on the scores, at least 0; None takes 1/√D.
        mask: (R2, K) bool, True where a key may be seen. A row that sees none adds the output's bias alone.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together.
        TypeError: mask is not boolean.
    """
    if k.ndim != 3:
        raise ValueError(f"expected k of shape (R, K, C), got {tuple(k.shape)}.")
    rows, count, inner = k.shape
    check_heads(heads, inner)
    check_shape("v", v, rows, count, inner)
    if to_q.ndim != 2 or to_q.shape[0] != inner:
        raise ValueError(f"expected to_q of shape ({inner}, C), got {tuple(to_q.shape)}.")
    channels = to_q.shape[1]
    check_shape("to_out", to_out, channels, inner)
    check_shape("norm_weight", norm_weight, channels)
    check_shape("norm_bias", norm_bias, channels)
    check_like(
        "k", k, {"v": v, "to_q": to_q, "to_out": to_out, "norm_weight": norm_weight, "norm_bias": norm_bias}
    )
    check_mask(mask, "k", k, rows, count)
    check_scale("scale", scale)
    width = inner // heads
    factor = (width**-0.5 if scale is None else scale) * math.log2(math.e)
    # (R, H, K, D) @ (H, D, C) -> (R, H, K, C), sums and folds in fp32, rounded once
    wide_k = k.float().reshape(rows, count, heads, width).transpose(1, 2)
    wide_v = v.float().reshape(rows, count, heads, width).transpose(1, 2)
    keys = wide_k @ to_q.float().reshape(heads, width, channels) * factor
    values = wide_v @ to_out.float().t().reshape(heads, width, channels)
    bias = keys.new_zeros(rows, heads, count) if norm_bias is None else keys @ norm_bias.float()
    if norm_weight is not None:
        keys = keys * norm_weight.float()
    if mask is not None:
        bias = bias.masked_fill(~mask[:, None, :], float("-inf"))
    heads_2, count_2 = _padded(heads, count)
    more = (0, count_2 - count, 0, heads_2 - heads)
    return AbsorbedContext(
        keys=F.pad(keys, (0, 0, *more)).flatten(1, 2).to(k.dtype),
        values=F.pad(values, (0, 0, *more)).flatten(1, 2).to(k.dtype),
        bias=F.pad(bias, more, value=float("-inf")).flatten(1, 2),
        heads=heads_2,
    )


def is_worth_absorbing(tensors: Sequence[Tensor], keys: int, heads: int, backend: Backend = "auto") -> bool:
    """Whether `cross_attention` would run its kernel on such tensors with a context of so many keys.

    Elsewhere the unfused chain is as quick, and a network had better keep to it. Never under autocast, where
    tokens, projections and weights are of several dtypes.

    Raises:
        ValueError: "triton" was insisted on where it cannot run.
    """
    heads_2, keys_2 = _padded(heads, keys)
    if not choose_kernel(backend, tensors, _refusal(heads_2 * keys_2)):
        return False
    device = tensors[0].device.type
    return not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device))


def cross_attention(
    x: Tensor,
    context: AbsorbedContext,
    *,
    out_bias: Tensor | None = None,
    out_scale: float = 1.0,
    eps: float = 1e-5,
    out: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """x + out_scale · attention(LayerNorm(x), context), all of it in one pass over x on CUDA.

    Args:
        x: tokens before the norm, (R, L, C), any strides.
        context: of R2 rows, R2 dividing R: row r sees row r // (R // R2), so that the frames of one session,
            neighbours in the batch, may share a picture's tokens.
        out_bias: the output projection's bias, (C,).
        out_scale: factor on attention and bias before the residual; EchoMimic's sound has 3.0.
        eps: LayerNorm's.
        out: (R, L, C) to write into; x itself may be given.
        backend: see `kernels.dispatch`.

    Returns:
        (R, L, C) in x's dtype; `out` if given.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or "triton" was insisted on where it cannot
            run.
    """
    if x.ndim != 3:
        raise ValueError(f"expected x of shape (R, L, C), got {tuple(x.shape)}.")
    rows, _, channels = x.shape
    shared, columns = context.keys.shape[:2]
    check_groups(rows, "context", shared)
    check_shape("context.keys", context.keys, shared, columns, channels)
    check_shape("context.values", context.values, shared, columns, channels)
    check_shape("context.bias", context.bias, shared, columns)
    check_shape("out_bias", out_bias, channels)
    check_like("x", x, {"context.keys": context.keys, "context.values": context.values, "out_bias": out_bias})
    if context.bias.device != x.device or context.bias.dtype != torch.float32:
        raise ValueError(f"expected context.bias in fp32 on {x.device}, got another; use absorb_context.")
    if not math.isfinite(out_scale):
        raise ValueError(f"expected out_scale finite, got {out_scale}.")
    if not eps > 0:
        raise ValueError(f"expected eps above 0, got {eps}.")
    check_out(out, "x", x)
    if choose_kernel(backend, (x, context.keys, context.values, out_bias), _refusal(columns)):
        # Imported late: Triton is missing on machines without CUDA, and slow to import where it is not needed.
        from kernels.cross_triton import cross_triton

        result: Tensor = cross_triton(x, context, out_bias=out_bias, out_scale=out_scale, eps=eps, out=out)
        return result
    result = cross_reference(x, context, out_bias=out_bias, out_scale=out_scale, eps=eps)
    return result if out is None else out.copy_(result)


def cross_reference(
    x: Tensor,
    context: AbsorbedContext,
    *,
    out_bias: Tensor | None = None,
    out_scale: float = 1.0,
    eps: float = 1e-5,
) -> Tensor:
    """The same in plain PyTorch; differentiable, exportable, every device and dtype."""
    normed = F.layer_norm(x, (x.shape[-1],), eps=eps)
    times = x.shape[0] // context.keys.shape[0]
    keys, values, bias = (
        part if times == 1 else part.repeat_interleave(times, 0)
        for part in (context.keys, context.values, context.bias)
    )
    scores = (normed @ keys.transpose(1, 2)).float() + bias[:, None, :]  # (R, L, columns), in powers of two
    scores = scores.reshape(*scores.shape[:2], context.heads, scores.shape[2] // context.heads)
    # A head that sees no key attends to nothing: zeros, not 0/0.
    weights = torch.softmax(scores * math.log(2.0), dim=-1).nan_to_num(0.0).flatten(-2)
    attended = weights.to(x.dtype) @ values
    if out_bias is not None:
        attended = attended + out_bias
    return x + attended * out_scale


def _padded(heads: int, keys: int) -> tuple[int, int]:
    """Heads and keys as a context has them: powers of two, 16 columns at least."""
    heads_2 = _power_of_two(heads)
    return heads_2, max(_power_of_two(keys), 16 // heads_2)


def _refusal(columns: int) -> str | None:
    if columns <= MAX_COLUMNS:
        return None
    return f"holds heads x keys up to {MAX_COLUMNS} (each rounded up), got {columns}"


def _power_of_two(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()
