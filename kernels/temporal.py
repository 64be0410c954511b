"""Attention over time: each pixel attends over the window's frames and the motion frames before it.

In flow features of a batch's frames and pixels, heads side by side in the channels, as a projection leaves
them; out flows features laid out alike. Nothing is rearranged on CUDA: `kernels.temporal_triton` reads the
frames of a pixel where they lie. Elsewhere `temporal_reference` regroups and calls PyTorch's attention. Any
thread.

How a network calls it, for (B*T, L, C) tokens and motion frames whose keys and values are projected once a
window:

    q, k, v = (part.unflatten(0, (-1, frames)) for part in to_qkv(tokens).chunk(3, dim=-1))  # views
    out = temporal_attention(q, k, v, heads=heads, k2=motion_k, v2=motion_v) tokens = tokens +
    to_out(out.flatten(0, 1))
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from kernels.attention import MAX_KERNEL_WIDTH
from kernels.dispatch import (
    Backend,
    check_heads,
    check_like,
    check_mask,
    check_out,
    check_scale,
    check_shape,
    choose_kernel,
)
from kernels.reference import attention_sdpa
from kernels.values import AttentionOptions


def temporal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    heads: int,
    k2: Tensor | None = None,
    v2: Tensor | None = None,
    mask: Tensor | None = None,
    scale: float | None = None,
    out: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Attend, at every pixel, from q's frames to k's and, under the same softmax, to k2's.

    Args:
        q: queries, (B, T, L, C) with T frames, L pixels and `heads` heads side by side in C; any strides.
        k: keys, (B, F, L, C), q's dtype and device.
        v: values, like k.
        heads: divides C.
        k2: keys of frames before the window, (B, M, L, C): the motion frames.
        v2: their values, like k2.
        mask: (B, F) bool, True where a frame of the first source may be seen; the second is always seen. A
            frame that sees none gives zeros.
        scale: factor on the scores, at least 0; None takes 1/√(C / heads).
        out: (B, T, L, C) to write into; q itself may be given, k and v may not.
        backend: see `kernels.dispatch`.

    Returns:
        (B, T, L, C) in q's dtype; `out` if given.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or "triton" was insisted on where it cannot
            run.
        TypeError: mask is not boolean.
    """
    options = AttentionOptions(k2=k2, v2=v2, mask=mask, scale=scale)
    _check(q, k, v, heads, options, out)
    width = q.shape[3] // heads
    refusal = None
    if width > MAX_KERNEL_WIDTH:
        refusal = f"holds heads up to {MAX_KERNEL_WIDTH} wide, got {width}"
    if choose_kernel(backend, (q, k, v, k2, v2), refusal):
        # Imported late: Triton is missing on machines without CUDA, and slow to import where it is not needed.
        from kernels.temporal_triton import temporal_triton

        result: Tensor = temporal_triton(q, k, v, heads=heads, out=out, **options)
        return result
    result = temporal_reference(q, k, v, heads=heads, **options)
    return result if out is None else out.copy_(result)


def temporal_reference(
    q: Tensor, k: Tensor, v: Tensor, *, heads: int, **options: Unpack[AttentionOptions]
) -> Tensor:
    """The same in plain PyTorch: join the sources, regroup to (B*L, H, frames, D), attend, regroup back."""
    k2, v2, mask = options.get("k2"), options.get("v2"), options.get("mask")
    if k2 is not None and v2 is not None:
        mask = None if mask is None else torch.cat([mask.new_ones(mask.shape[0], k2.shape[1]), mask], dim=1)
        k, v = torch.cat([k2, k], dim=1), torch.cat([v2, v], dim=1)
    rows, frames, pixels, channels = q.shape

    def regroup(part: Tensor) -> Tensor:  # (B, F, L, C) -> (B*L, H, F, D): few frames, many pixels
        wide = part.transpose(1, 2).flatten(0, 1)
        return wide.reshape(rows * pixels, part.shape[1], heads, channels // heads).transpose(1, 2)

    mask = None if mask is None else mask.repeat_interleave(pixels, 0)
    out = attention_sdpa(regroup(q), regroup(k), regroup(v), mask=mask, scale=options.get("scale"))
    out = out.transpose(1, 2).reshape(rows, pixels, frames, channels)
    return out.transpose(1, 2)


def _check(
    q: Tensor, k: Tensor, v: Tensor, heads: int, options: AttentionOptions, out: Tensor | None
) -> None:
    k2, v2 = options.get("k2"), options.get("v2")
    if q.ndim != 4:
        raise ValueError(f"expected q of shape (B, T, L, C), got {tuple(q.shape)}.")
    batch, _, pixels, channels = q.shape
    check_heads(heads, channels)
    if (k2 is None) != (v2 is None):
        raise ValueError("expected k2 and v2 together, got only one of them.")
    for name, keys, values in (("k", k, v), ("k2", k2, v2)):
        if keys is None or values is None:
            continue
        if keys.ndim != 4 or (keys.shape[0], keys.shape[2], keys.shape[3]) != (batch, pixels, channels):
            raise ValueError(
                f"expected {name} of shape ({batch}, F, {pixels}, {channels}), got {tuple(keys.shape)}."
            )
        check_shape(name.replace("k", "v"), values, *keys.shape)
    check_like("q", q, {"k": k, "v": v, "k2": k2, "v2": v2})
    check_mask(options.get("mask"), "q", q, batch, k.shape[1])
    check_scale("scale", options.get("scale"))
    check_out(out, "q", q)
    if out is not None and any(out is tensor for tensor in (k, v, k2, v2)):
        raise ValueError("expected out apart from keys and values, which other frames still read; give q.")
