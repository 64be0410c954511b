"""Latents that say what a face does and nothing of how it looks: read off a picture, written from a state.

In: pictures of the face box, or states of mouth and eyes. Out: states (B, 10), `MOUTH_DIMS` and `EXPRESSION_DIMS`;
latents (B, C, h, w). Between picture and latents there are the ten numbers and nothing else, so neither light nor
colour nor a person's looks pass. Runs on whichever thread calls it; holds no state.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.configs import VAEConfig
from models.face import EXPRESSION_DIMS, MOUTH_DIMS

STATE_DIMS: Final = len(MOUTH_DIMS) + len(EXPRESSION_DIMS)
CELLS: Final = 20
"""Side of the maps that the linear layers see, in cells: those of a face box of 160 px."""
HIDDEN: Final = 128
WRITTEN: Final = 8.0
"""Factor on the written latents: their weights learn that much faster, for they have all of the places to learn."""


class MotionReader(nn.Module):
    """Pictures to states: convolutions to an eighth of the side, then a linear layer that sees every place."""

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        width = cfg.widths[0]
        self.stem = cfg.stem
        self.places = nn.Sequential(
            nn.Conv2d(3 * cfg.stem**2, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 24, 3, padding=1),
            nn.SiLU(),
        )
        self.whole = nn.Sequential(
            nn.Linear(24 * CELLS * CELLS, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, STATE_DIMS)
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> states (B, 10)."""
        evened = F.instance_norm(picture)  # light and colour of the whole say nothing of the mouth
        x = self.places(F.pixel_unshuffle(evened, self.stem))
        if x.shape[-2:] != (CELLS, CELLS):
            x = F.interpolate(x, (CELLS, CELLS), mode="bilinear", align_corners=False)
        return self.whole(x.flatten(1))


class MotionWriter(nn.Module):
    """States to latents; rest is zero everywhere."""

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        self.channels = cfg.latent_channels
        self.first = nn.Linear(STATE_DIMS, HIDDEN)
        self.last = nn.Linear(HIDDEN, self.channels * CELLS * CELLS, bias=False)
        nn.init.normal_(self.last.weight, std=0.2 / WRITTEN)  # what is learnt soon outweighs what was drawn

    def forward(self, state: Tensor, rows: int, columns: int) -> Tensor:
        """States (B, 10) -> raw latents (B, C, rows, columns)."""
        moved = F.silu(self.first(state)) - F.silu(self.first(torch.zeros_like(state)))
        z = WRITTEN * self.last(moved).unflatten(1, (self.channels, CELLS, CELLS))
        if (rows, columns) != (CELLS, CELLS):
            z = F.interpolate(z, (rows, columns), mode="bilinear", align_corners=False)
        return z
