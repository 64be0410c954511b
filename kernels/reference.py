"""Attention in plain PyTorch: the truth the kernel is held to, and the path that runs where it cannot.

In flow queries and one or two sources of keys and values; out flows their attention. Any thread, any device.

- `attention_naive` spells the formula out in fp32 or fp64: slow, obvious, the reference of every test.
- `attention_sdpa` is PyTorch's fused attention over the joined sources: differentiable and ONNX-exportable.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.values import AttentionOptions


def attention_naive(q: Tensor, k: Tensor, v: Tensor, **options: Unpack[AttentionOptions]) -> Tensor:
    """softmax(q kᵀ · scale) v, written out in fp32 (fp64 stays fp64).

    Args:
        q, k, v, options: as `kernels.attention.attention` takes them.

    Returns:
        (B, H, Lq, D) in fp32 or fp64, not rounded back, so that a test sees the true value.

    Source: Vaswani et al., "Attention Is All You Need", eq. 1.
    """
    k2, v2 = options.get("k2"), options.get("v2")
    mask, scale = options.get("mask"), options.get("scale")
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    if k2 is not None and v2 is not None:
        k, v, mask = join_sources(q, k, v, k2.to(dtype), v2.to(dtype), mask)
    scores = (q @ k.transpose(-2, -1)) * (q.shape[-1] ** -0.5 if scale is None else scale)  # (B, H, Lq, Lk)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
    # A row that sees no key at all attends to nothing: zeros, not 0/0.
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
    return weights @ v


def attention_sdpa(q: Tensor, k: Tensor, v: Tensor, **options: Unpack[AttentionOptions]) -> Tensor:
    """The same through `scaled_dot_product_attention`; differentiable, exportable, every device and dtype.

    Returns:
        (B, H, Lq, D) in q's dtype.
    """
    k2, v2 = options.get("k2"), options.get("v2")
    mask, scale = options.get("mask"), options.get("scale")
    if k2 is not None and v2 is not None:
        k, v, mask = join_sources(q, k, v, k2, v2, mask)
    if mask is None and q.device.type == "cpu" and q.dtype == torch.bfloat16:
        # On CPUs with bf16 matrix units the fused kernel is slower than two products. On AMX, 1 thread, both
        # passes, (B, H, Lq, Lk, D) = (800, 6, 5, 7, 32): 31 -> 18 ms; (40, 6, 100, 200, 32): 97 -> 31 ms.
        scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-2, -1)
        return torch.softmax(scores, dim=-1) @ v
    if q.device.type == "cuda":  # PyTorch 2.11 found no kernel for rows that lie at odd addresses
        q, k, v = (tensor if _lies_even(tensor) else tensor.contiguous() for tensor in (q, k, v))
    key_mask = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, Lk), the same for all queries
    return F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask, scale=scale)


def _lies_even(tensor: Tensor) -> bool:
    """Whether every row begins at a multiple of 16 bytes."""
    *rows, column = tensor.stride()
    return column == 1 and all(step * tensor.itemsize % 16 == 0 for step in (*rows, tensor.storage_offset()))


def join_sources(
    q: Tensor, k: Tensor, v: Tensor, k2: Tensor, v2: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the second source behind the first, repeated over the rows that share it.

    Args:
        q: (B, H, Lq, D), for its batch size.
        k, v: (B, H, Lk, D).
        k2, v2: (B2, H, Lk2, D) with B2 dividing B; row b of the batch sees bank b // (B // B2).
        mask: (B, Lk) bool over the first source, or None. The second source is always visible.

    Returns:
        k and v of (B, H, Lk + Lk2, D), and the mask over both or None.
    """
    rows = q.shape[0]
    mask_2 = None if mask is None else mask.new_ones(rows, k2.shape[2])
    joined_mask = None if mask is None or mask_2 is None else torch.cat([mask, mask_2], dim=1)
    k = torch.cat([k, _repeat_rows(k2, rows)], dim=2)
    v = torch.cat([v, _repeat_rows(v2, rows)], dim=2)
    return k, v, joined_mask


def _repeat_rows(bank: Tensor, rows: int) -> Tensor:
    """(B2, H, L, D) → (rows, H, L, D): each bank row B/B2 times in a row."""
    banks = bank.shape[0]
    if banks == rows:
        return bank
    return bank.unsqueeze(1).expand(-1, rows // banks, -1, -1, -1).flatten(0, 1)
