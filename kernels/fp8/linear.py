"""Convolutions and linear layers in 8-bit floats: twice the tensor-core rate of bf16, at a stated error.

In flow activations (fp32, fp16 or bf16) and weights packed once; out flows the activations' dtype. Weights are kept
as e4m3 with a scale for each output channel, activations are rounded to e4m3 at every call with a scale for each
image (convolution) or row (linear), so that the largest value meets e4m3's largest, 448. Products are summed in
fp32. Any thread.

Choice as in `kernels.dispatch`: `kernels.fp8.linear_triton` on CUDA devices that multiply 8-bit floats,
elsewhere the reference, which rounds alike and computes in fp32: it says what the rounding costs, on any machine.

Source: Micikevicius et al., "FP8 formats for deep learning" (2209.05433): e4m3 for weights and activations.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.dispatch import Backend, check_like, check_shape, choose_kernel
from kernels.fp8.weight import Fp8Weight, round_rows

LEAST_CAPABILITY: Final = (8, 9)


def fp8_conv2d(
    x: Tensor, weight: Fp8Weight, bias: Tensor | None = None, *, stride: int = 1, backend: Backend = "auto"
) -> Tensor:
    """Convolution, padded by half its size, of x and a packed weight.

    Args:
        x: (N, C, H, W), best channels-last.
        weight: of `pack_fp8`.
        bias: (O,), x's dtype and device.
        stride: 1 or 2.
        backend: see `kernels.dispatch`.

    Returns:
        (N, O, ceil(H / stride), ceil(W / stride)), channels-last, x's dtype.

    Raises:
        ValueError: shapes or devices do not fit together, or "triton" was insisted on where it cannot run.
    """
    if x.ndim != 4 or x.shape[1] != weight.channels:
        raise ValueError(f"expected x of shape (N, {weight.channels}, H, W), got {tuple(x.shape)}.")
    if stride not in (1, 2):
        raise ValueError(f"expected a stride of 1 or 2, got {stride}.")
    _check_layer(x, weight, bias)
    x = x.contiguous(memory_format=torch.channels_last)
    if not choose_kernel(backend, (x, bias), _refusal(x)):
        values, scale = round_rows(x)
        rounded = values.float() * scale.view(-1, 1, 1, 1)
        whole = None if bias is None else bias.float()
        out = F.conv2d(rounded, weight.dequantized(), whole, stride=stride, padding=weight.size // 2)
        return out.to(x.dtype).contiguous(memory_format=torch.channels_last)
    from kernels.fp8.linear_triton import conv2d_triton

    return conv2d_triton(x, weight, bias, stride)


def fp8_linear(
    x: Tensor, weight: Fp8Weight, bias: Tensor | None = None, *, backend: Backend = "auto"
) -> Tensor:
    """Linear layer of x (..., K) and a packed weight -> (..., O), x's dtype.

    Raises:
        ValueError: as `fp8_conv2d`, or the weight is no linear layer's.
    """
    if weight.size != 1 or x.shape[-1] != weight.channels:
        raise ValueError(
            f"expected x (..., {weight.channels}) and a linear layer's weight, got {tuple(x.shape)} and a "
            f"{weight.size}x{weight.size} one."
        )
    rows = x.reshape(-1, weight.channels, 1, 1)
    out = fp8_conv2d(rows, weight, bias, backend=backend)
    return out.reshape(*x.shape[:-1], -1)


def multiplies_fp8(device: torch.device) -> bool:
    """Whether a device has 8-bit tensor cores; True for a CPU, where the interpreter stands in."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY


def _refusal(x: Tensor) -> str | None:
    if not multiplies_fp8(x.device):
        return "needs a GPU with 8-bit tensor cores (compute capability 8.9 or later)"
    return None


def _check_layer(x: Tensor, weight: Fp8Weight, bias: Tensor | None) -> None:
    check_shape("bias", bias, weight.values.shape[0])
    check_like("x", x, {"bias": bias})
    for name, tensor in (("weight.values", weight.values), ("weight.scale", weight.scale)):
        if tensor.device != x.device:
            raise ValueError(f"expected {name} on {x.device} like x, got {tensor.device}.")
