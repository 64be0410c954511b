"""A layer's weight in 8-bit floats, and how rows are rounded to them.

In flow weights and activations; out flow e4m3 values with a scale a row, so that the largest value meets e4m3's
largest, 448. What multiplies them: `kernels.fp8.linear`. Any thread.

Source: Micikevicius et al., "FP8 formats for deep learning" (2209.05433): e4m3 for weights and activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

FP8: Final = torch.float8_e4m3fn


LARGEST: Final = 448.0
"""e4m3's largest value."""


CHANNELS: Final = 16
"""Channels of both sides come in multiples of this: what one load of 16 bytes holds."""


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
