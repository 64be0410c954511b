"""Convolutions and linear layers in 8-bit floats: twice the tensor-core rate of bf16, at a stated error.

In flow activations (fp32, fp16 or bf16) and weights packed once; out flows the activations' dtype. Weights are kept
as e4m3 with a scale for each output channel, activations are rounded to e4m3 at every call with a scale for each
image (convolution) or row (linear), so that the largest value meets e4m3's largest, 448. Products are summed in
fp32. Any thread.

Choice as in `kernels.dispatch`: `kernels.fp8.linear_triton` on CUDA devices that multiply 8-bit floats,
elsewhere the
reference, which rounds alike and computes in fp32: it says what the rounding costs, on any machine.

Source: Micikevicius et al., "FP8 formats for deep learning" (2209.05433): e4m3 for weights and activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.dispatch import Backend, check_like, check_shape, choose_kernel

FP8: Final = torch.float8_e4m3fn
LARGEST: Final = 448.0
"""e4m3's largest value."""
CHANNELS: Final = 16
"""Channels of both sides come in multiples of this: what one load of 16 bytes holds."""
LEAST_CAPABILITY: Final = (8, 9)


@dataclass(frozen=True, slots=True)
class Fp8Weight:
    """A layer's weight: value (o, y, x, c) is values[o, (y size + x) C + c] * scale[o]."""

    values: Tensor  # (O, size * size * C) e4m3
    scale: Tensor  # (O,) fp32
    size: int  # 1 or 3: side of the kernel
    channels: int  # C

    def dequantized(self) -> Tensor:
        """(O, C, size, size) fp32."""
        whole = self.values.float() * self.scale[:, None]
        return whole.reshape(-1, self.size, self.size, self.channels).permute(0, 3, 1, 2)


def pack_fp8(weight: Tensor) -> Fp8Weight:
    """Round a convolution's weight (O, C, 1 or 3, same) or a linear layer's (O, K) to e4m3.

    Raises:
        ValueError: another shape, or channels that are no multiples of 16.
    """
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] not in (1, 3):
        raise ValueError(
            f"expected a weight (O, C, 1, 1), (O, C, 3, 3) or (O, K), got {tuple(weight.shape)}."
        )
    leaving, channels, size, _ = weight.shape
    if leaving % CHANNELS or channels % CHANNELS:
        raise ValueError(f"expected channels in multiples of {CHANNELS}, got {channels} -> {leaving}.")
    rows = weight.detach().float().permute(0, 2, 3, 1).flatten(1)
    values, scale = round_rows(rows)
    return Fp8Weight(values, scale, size, channels)


def round_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (N, ...) -> e4m3 of the same shape and layout, and the scale (N,) fp32 of each row of it."""
    scale = row_scales(x)
    shaped = scale.view(-1, *(1,) * (x.ndim - 1))
    # rounding may carry the largest value past 448, where e4m3 has only NaN
    return (x.float() / shaped).clamp(-LARGEST, LARGEST).to(FP8), scale


def row_scales(x: Tensor) -> Tensor:
    """The scale (N,) fp32 at which each row of x (N, ...) fills e4m3; a row of zeros has a tiny one."""
    most = x.flatten(1).abs().amax(dim=1).float()
    return (most / LARGEST).clamp_min(torch.finfo(torch.float32).tiny * 2**20)


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
