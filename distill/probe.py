"""The measuring probe: reads mouth shape and blink off a picture of the face box.

In: pictures (N, 3, H, W) of the face box in [0, 1], drawn or generated. Out: the visible lip gap in pixels, the
six mouth dims and the blink. It is trained on true pictures alone and knows no sound, so that what it sees in
generated frames is evidence.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.regions import MOUTH_BOX
from models.checkpoint import load_strict, read_tensors
from models.face import MOUTH_DIMS

OPENING_SCALE_PX = 30.0
EYE_BOX = (8, 20, 144, 72)
"""(left, top, width, height) of both eyes and brows inside the face box, px."""


def _tower(width: int, c_in: int, rows: int, columns: int, outputs: int) -> nn.Sequential:
    """Four convolutions to an eighth of the side, then a linear layer that sees every place."""
    return nn.Sequential(
        nn.Conv2d(c_in, width, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(2 * width, 24, 3, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(24 * (rows // 8) * (columns // 8), 128),
        nn.SiLU(),
        nn.Linear(128, outputs),
    )


class Probe(nn.Module):
    """Two small towers, on the mouth and on the eyes."""

    def __init__(self) -> None:
        super().__init__()
        self.mouth = _tower(40, 12, MOUTH_BOX[3], MOUTH_BOX[2], 1 + len(MOUTH_DIMS))
        self.eyes = _tower(24, 12, EYE_BOX[3], EYE_BOX[2], 1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 3, 160, 160) -> (opening (N,) in px, mouth (N, 6), blink (N,))."""
        mouth = self.mouth(F.pixel_unshuffle(_cut(picture, MOUTH_BOX), 2)).float()
        blink = self.eyes(F.pixel_unshuffle(_cut(picture, EYE_BOX), 2)).float()[:, 0]
        return mouth[:, 0] * OPENING_SCALE_PX, mouth[:, 1:], blink


def _cut(picture: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    left, top, width, height = box
    part = picture[..., top : top + height, left : left + width] * 2 - 1
    return part.contiguous(memory_format=torch.channels_last)


def load_probe(path: Path, device: str = "cpu") -> Probe:
    """Read a trained probe.

    Raises:
        models.checkpoint.CheckpointError: the file is missing or does not fit.
    """
    probe = Probe()
    load_strict(probe, read_tensors(path)[0], path)
    return probe.to(device).eval()
