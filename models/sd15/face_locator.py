"""The face locator: where the face is, as features for the denoiser's first level.

In: a mask (B, 1, H, W) in [0, 1]. Out: (B, C0, H/8, W/8). The mask does not change in a session.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS: Final = (16, 32, 96, 256)


class FaceLocator(nn.Module):
    """3x3 convolutions with SiLU, three of them halving."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(1, WIDTHS[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for narrow, wide in pairwise(WIDTHS):
            self.blocks.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            self.blocks.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(WIDTHS[-1], width, 3, padding=1)

    def forward(self, mask: Tensor) -> Tensor:
        h = F.silu(self.conv_in(mask))
        for conv in self.blocks:
            h = F.silu(conv(h))
        return self.conv_out(h)


def region_mask(side: int, region: tuple[int, int, int, int]) -> Tensor:
    """(1, 1, side, side): 1 inside (left, top, width, height), 0 elsewhere."""
    left, top, width, height = region
    mask = torch.zeros(1, 1, side, side)
    mask[:, :, top : top + height, left : left + width] = 1.0
    return mask
