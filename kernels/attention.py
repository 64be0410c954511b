"""Attention for the networks: checks the arguments, then chooses the kernel or the reference, in one place.

In flow queries, keys and values, and optionally a second source of keys and values (a cached reference bank);
out flows one softmax over both. Any thread.

Choice as in `kernels.dispatch`: `kernels.attention_triton` on CUDA, `kernels.reference.attention_sdpa` elsewhere
and for heads wider than the kernel holds.
"""

from __future__ import annotations

from torch import Tensor

from kernels.dispatch import (
    Backend,
    check_groups,
    check_like,
    check_mask,
    check_scale,
    choose_kernel,
)
from kernels.reference import attention_sdpa
from kernels.values import AttentionOptions

MAX_KERNEL_WIDTH = 256
"""Widest head (D) the Triton kernel holds in registers."""


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    k2: Tensor | None = None,
    v2: Tensor | None = None,
    mask: Tensor | None = None,
    scale: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Attend from q to k and, under the same softmax, to k2, without joining the two in memory.

    Args:
        q: queries, (B, H, Lq, D), any strides.
        k: keys, (B, H, Lk, D), q's dtype and device.
        v: values, like k.
        k2: second source of keys, (B2, H, Lk2, D) with B2 dividing B: row b sees bank b // (B // B2), so that
            the frames of one session, neighbours in the batch, share its reference.
        v2: its values, like k2.
        mask: (B, Lk) bool, True where a key of the first source may be seen; the second is always seen. A
            query that sees no key gives zeros.
        scale: factor on the scores, at least 0; None takes 1/√D.
        backend: see `kernels.dispatch`.

    Returns:
        (B, H, Lq, D) in q's dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or "triton" was insisted on where it cannot
            run.
        TypeError: mask is not boolean.
    """
    options = AttentionOptions(k2=k2, v2=v2, mask=mask, scale=scale)
    _check(q, k, v, options)
    width = q.shape[-1]
    refusal = None
    if not 1 <= width <= MAX_KERNEL_WIDTH:
        refusal = f"holds heads 1 to {MAX_KERNEL_WIDTH} wide, got {width}"
    if not choose_kernel(backend, (q, k, v, k2, v2), refusal):
        return attention_sdpa(q, k, v, **options)
    # Imported late: Triton is missing on machines without CUDA, and slow to import where it is not needed.
    from kernels.attention_triton import attention_triton

    result: Tensor = attention_triton(q, k, v, **options)
    return result


def _check(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions) -> None:
    k2, v2 = options.get("k2"), options.get("v2")
    if q.ndim != 4:
        raise ValueError(f"expected q of shape (B, H, Lq, D), got {tuple(q.shape)}.")
    batch, heads, _, width = q.shape
    _check_source("k", k, "v", v, q)
    if k.ndim != 4 or (k.shape[0], k.shape[1], k.shape[3]) != (batch, heads, width):
        raise ValueError(f"expected k of shape ({batch}, {heads}, Lk, {width}), got {tuple(k.shape)}.")
    if (k2 is None) != (v2 is None):
        raise ValueError("expected k2 and v2 together, got only one of them.")
    if k2 is not None and v2 is not None:
        _check_source("k2", k2, "v2", v2, q)
        if k2.ndim != 4 or (k2.shape[1], k2.shape[3]) != (heads, width):
            raise ValueError(f"expected k2 of shape (B2, {heads}, Lk2, {width}), got {tuple(k2.shape)}.")
        check_groups(batch, "k2", k2.shape[0])
    check_mask(options.get("mask"), "q", q, batch, k.shape[2])
    check_scale("scale", options.get("scale"))


def _check_source(k_name: str, k: Tensor, v_name: str, v: Tensor, q: Tensor) -> None:
    if k.shape != v.shape:
        raise ValueError(
            f"expected {k_name} and {v_name} of one shape, got {tuple(k.shape)} and {tuple(v.shape)}."
        )
    check_like("q", q, {k_name: k, v_name: v})
