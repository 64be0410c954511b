"""A small decoder for Stable Diffusion's latents, in the layout of TAESD's public weights.

In: scaled latents (B, 4, h, w). Out: pictures (B, 3, 8h, 8w) in about [0, 1]. 1.2 M parameters; numbered keys.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH: Final = 64
BLOCKS: Final = 3
LIMIT: Final = 3.0


class SoftLimit(nn.Module):
    """Bends latents smoothly into ±3."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / LIMIT) * LIMIT


class TinyBlock(nn.Module):
    """Three convolutions around a residual, ReLU behind the sum."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3))
        self.conv = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class TinyDecoder(nn.Sequential):
    """Blocks at four sizes with nearest-neighbour doubling in between."""

    def __init__(self, latent_channels: int) -> None:
        parts: list[nn.Module] = [SoftLimit(), nn.Conv2d(latent_channels, WIDTH, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            parts += [TinyBlock() for _ in range(BLOCKS)]
            parts += [nn.Upsample(scale_factor=2.0), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]
        super().__init__(*parts, TinyBlock(), nn.Conv2d(WIDTH, 3, 3, padding=1))
