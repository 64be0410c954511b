"""The one choice between a Triton kernel and its PyTorch reference, and the checks that every call shares.

In flow a call's tensors, and why its kernel could not hold their shapes; out flows which of the two runs. Any
thread.

"auto" takes the kernel for CUDA tensors with Triton at hand and no gradient asked for; all else (CPU,
training, ONNX export, shapes beyond the kernel) takes the reference. "triton" insists, also on CPU tensors:
Triton's interpreter takes those. The kernels have no backward pass, so a call under autograd with an argument
that requires gradients is never given to one.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import torch
from torch import Tensor

Backend = Literal["auto", "triton", "reference"]

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


_HAS_TRITON: Final = importlib.util.find_spec("triton") is not None  # looked up once; torch.compile reads it


def has_triton() -> bool:
    """Whether the Triton compiler is installed."""
    return _HAS_TRITON


def choose_kernel(backend: Backend, tensors: Iterable[Tensor | None], refusal: str | None = None) -> bool:
    """Whether the kernel runs this call.

    Args:
        backend: "auto" chooses as the module says; the others insist.
        tensors: the call's tensors, the first of which decides device and dtype.
        refusal: why the kernel cannot hold these shapes, a clause such as "holds heads up to 256 wide, got
            300"; None where it can.

    Raises:
        ValueError: "triton" was insisted on where it cannot run, or the backend has no such name.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"expected backend 'auto', 'triton' or 'reference', got {backend!r}.")
    if backend == "reference":
        return False
    present = [tensor for tensor in tensors if tensor is not None]
    first = present[0]
    needs_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in present)
    if backend == "auto":
        return (
            first.is_cuda
            and not needs_gradient
            and first.dtype in KERNEL_DTYPES
            and refusal is None
            and not torch.compiler.is_exporting()
            and has_triton()
        )
    if needs_gradient:
        refusal = "has no backward pass; call it under torch.no_grad()"
    elif first.dtype not in KERNEL_DTYPES:
        refusal = f"takes fp32, fp16 or bf16, got {first.dtype}"
    elif not has_triton():
        refusal = "needs the package triton, which is not installed"
    if refusal is not None:
        raise ValueError(f"the Triton kernel {refusal}, or use backend='reference'.")
    return True


def check_like(first_name: str, first: Tensor, others: Mapping[str, Tensor | None]) -> None:
    """Hold tensors to the first one's dtype and device; the absent ones pass.

    Raises:
        ValueError: one differs.
    """
    for name, tensor in others.items():
        if tensor is None:
            continue
        if tensor.dtype != first.dtype:
            raise ValueError(f"expected {name} in {first_name}'s dtype {first.dtype}, got {tensor.dtype}.")
        if tensor.device != first.device:
            raise ValueError(f"expected {name} on {first_name}'s device {first.device}, got {tensor.device}.")


def check_shape(name: str, tensor: Tensor | None, *shape: int) -> None:
    """Hold a tensor to a shape; None passes.

    Raises:
        ValueError: it has another.
    """
    if tensor is not None and tuple(tensor.shape) != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {tuple(tensor.shape)}.")


def check_out(out: Tensor | None, like_name: str, like: Tensor) -> None:
    """An output to write into has its model's shape, dtype and device, and no two elements in one place.

    Raises:
        ValueError: it has not.
    """
    if out is None:
        return
    check_shape("out", out, *like.shape)
    check_like(like_name, like, {"out": out})
    if any(size > 1 and stride == 0 for size, stride in zip(out.shape, out.stride(), strict=True)):
        raise ValueError("expected out with room for each of its elements, got an expanded view; clone it.")


def check_mask(mask: Tensor | None, first_name: str, first: Tensor, *shape: int) -> None:
    """Hold a mask over keys to bool, its shape and the first tensor's device; None passes.

    Raises:
        ValueError: its shape or device is another.
        TypeError: it is not boolean.
    """
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise TypeError(f"expected a boolean mask, True where a key may be seen, got {mask.dtype}.")
    check_shape("mask", mask, *shape)
    if mask.device != first.device:
        raise ValueError(f"expected mask on {first.device} like {first_name}, got {mask.device}.")


def check_scale(name: str, scale: float | None) -> None:
    """A factor on scores is finite and not negative (the running maximum is taken before it); None passes.

    Raises:
        ValueError: it is negative, infinite or no number.
    """
    if scale is not None and not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"expected {name} finite and at least 0, got {scale}.")


def check_heads(heads: int, channels: int) -> None:
    """Heads share the channels evenly.

    Raises:
        ValueError: they do not.
    """
    if heads < 1 or channels % heads != 0 or channels == 0:
        raise ValueError(f"expected heads that divide the {channels} channels, got {heads}.")


def check_groups(rows: int, name: str, shared: int) -> None:
    """Neighbouring rows share an entry: its count divides the rows.

    Raises:
        ValueError: it does not.
    """
    if shared == 0 or rows % shared != 0:
        raise ValueError(f"expected {name}'s first size to divide the batch of {rows}, got {shared}.")
