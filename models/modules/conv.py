"""Parts that both decoders share: residual blocks, their first weights, and what is kept of a reference picture.

In: feature maps. Out: feature maps of the same size. Any thread; no state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions, without norms (they are slow on a CPU)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


def wake(module: nn.Module) -> None:
    """Initialise convolutions so that signals keep their size without norms; residual ends stay at zero.

    Source: He et al. 1502.01852.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and bool(part.weight.any()):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")


@dataclass(frozen=True, slots=True)
class ReferenceFeatures:
    """What the decoder keeps of a reference picture: its pixels and its features per decoder level.

    ``mixed``: the decoder's own 1x1 convolutions have been over the features (`Decoder.mix_reference`): once per
    session, since they depend on nothing else.
    """

    picture: Tensor  # (B, 3, H, W)
    levels: tuple[Tensor, ...]  # finest first, (B, width_i, H/(stem 2^i), W/(stem 2^i))
    mixed: bool = False

    def expand(self, frames: int) -> ReferenceFeatures:
        """Repeat every row ``frames`` times, for a batch of (b t) frames."""
        if frames == 1:
            return self
        return ReferenceFeatures(
            self.picture.repeat_interleave(frames, 0),
            tuple(level.repeat_interleave(frames, 0) for level in self.levels),
            self.mixed,
        )
