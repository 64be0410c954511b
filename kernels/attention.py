"""Attention for the networks: checks the arguments, then chooses the kernel or the reference, in one place.

In flow queries, keys and values, and optionally a second source of keys and values (a cached reference bank);
out flows one softmax over both. Any thread.

Choice: a CUDA tensor with Triton at hand and no gradient asked for takes `kernels.attention_triton`; all else
(CPU, training, export, a head wider than the kernel holds) takes `kernels.reference.attention_sdpa`. The
kernel has no backward pass, so a call under autograd with an argument that requires gradients is never given
to it.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from kernels.reference import attention_sdpa

Backend = Literal["auto", "triton", "reference"]

MAX_KERNEL_WIDTH = 256
"""Widest head (D) the Triton kernel holds in registers."""

_KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


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
        scale: factor on the scores; None takes 1/√D.
        backend: "auto" chooses as the module says; the others insist.

    Returns:
        (B, H, Lq, D) in q's dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or "triton" was insisted on where it cannot
            run.
        TypeError: mask is not boolean.
    """
    _check(q, k, v, k2, v2, mask)
    needs_gradient = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (q, k, v, k2, v2)
    )
    if backend == "reference" or (backend == "auto" and not _kernel_runs(q, needs_gradient)):
        return attention_sdpa(q, k, v, k2=k2, v2=v2, mask=mask, scale=scale)
    if backend == "triton":
        _check_kernel(q, needs_gradient)
    # Imported late: Triton is missing on machines without CUDA, and slow to import where it is not needed.
    from kernels.attention_triton import attention_triton

    return attention_triton(q, k, v, k2=k2, v2=v2, mask=mask, scale=scale)


@lru_cache(maxsize=1)
def has_triton() -> bool:
    """Whether the Triton compiler is installed."""
    return importlib.util.find_spec("triton") is not None


def _kernel_runs(q: Tensor, needs_gradient: bool) -> bool:
    return (
        q.is_cuda
        and not needs_gradient
        and q.dtype in _KERNEL_DTYPES
        and q.shape[-1] <= MAX_KERNEL_WIDTH
        and not torch.compiler.is_exporting()
        and has_triton()
    )


def _check_kernel(q: Tensor, needs_gradient: bool) -> None:
    """Say why an insisted-on kernel cannot run. CPU tensors pass: Triton's interpreter takes them."""
    if needs_gradient:
        raise ValueError(
            "the Triton kernel has no backward pass; call under torch.no_grad() or use 'reference'."
        )
    if q.dtype not in _KERNEL_DTYPES:
        raise ValueError(f"the Triton kernel takes fp32, fp16 or bf16, got {q.dtype}; use 'reference'.")
    width = q.shape[-1]
    if width > MAX_KERNEL_WIDTH:
        raise ValueError(
            f"the Triton kernel holds heads up to {MAX_KERNEL_WIDTH} wide, got {width}; use 'reference'."
        )
    if not has_triton():
        raise ValueError(
            "the Triton kernel needs the package triton, which is not installed; use 'reference'."
        )


def _check(
    q: Tensor, k: Tensor, v: Tensor, k2: Tensor | None, v2: Tensor | None, mask: Tensor | None
) -> None:
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
        if k2.shape[0] == 0 or batch % k2.shape[0] != 0:
            raise ValueError(f"expected k2's first size to divide the batch of {batch}, got {k2.shape[0]}.")
    if mask is not None:
        if mask.dtype != torch.bool:
            raise TypeError(f"expected a boolean mask, True where a key may be seen, got {mask.dtype}.")
        if tuple(mask.shape) != (batch, k.shape[2]):
            raise ValueError(f"expected mask of shape ({batch}, {k.shape[2]}), got {tuple(mask.shape)}.")
        if mask.device != q.device:
            raise ValueError(f"expected mask on {q.device} like q, got {mask.device}.")


def _check_source(k_name: str, k: Tensor, v_name: str, v: Tensor, q: Tensor) -> None:
    if k.shape != v.shape:
        raise ValueError(
            f"expected {k_name} and {v_name} of one shape, got {tuple(k.shape)} and {tuple(v.shape)}."
        )
    for name, tensor in ((k_name, k), (v_name, v)):
        if tensor.dtype != q.dtype:
            raise ValueError(f"expected {name} in q's dtype {q.dtype}, got {tensor.dtype}.")
        if tensor.device != q.device:
            raise ValueError(f"expected {name} on q's device {q.device}, got {tensor.device}.")
