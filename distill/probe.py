"""The measuring probe: reads mouth shape, blink and identity off a picture of `MEASURED_BOX`.

In: pictures (N, 3, H, W) of that part of the canvas in [0, 1], drawn, rendered or generated, whatever box the
preset that made them draws. Out: the visible lip gap in pixels, the
six mouth dims and the blink; an embedding that tells people apart whatever mouth and lids do; and features for
the Fréchet distance. It is trained on true pictures alone, open-set styles among them, and knows neither sound
nor student, so that what it sees in generated frames is evidence.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.data.regions import MEASURED_BOX, MOUTH_BOX
from models.checkpoint import load_strict, read_tensors
from models.face import MOUTH_DIMS

OPENING_SCALE_PX = 30.0
IDENTITY_DIMS = 64
FEATURE_DIMS = 128
EYE_BOX = (8, 20, 144, 72)
"""(left, top, width, height) of both eyes and brows inside `MEASURED_BOX`, px."""


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


def _identity_tower() -> nn.Sequential:
    """The whole face box at a sixteenth of its side, then a linear layer that sees every place."""
    return nn.Sequential(
        nn.Conv2d(48, 48, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(48, 64, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(64, 96, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(96, 32, 3, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(32 * (MEASURED_BOX[3] // 16) * (MEASURED_BOX[2] // 16), FEATURE_DIMS),
        nn.SiLU(),
        nn.Linear(FEATURE_DIMS, IDENTITY_DIMS),
    )


class Probe(nn.Module):
    """Small towers on the mouth, on the eyes and, unless ``identity`` is False, on the whole face."""

    def __init__(self, identity: bool = True) -> None:
        super().__init__()
        self.mouth = _tower(40, 12, MOUTH_BOX[3], MOUTH_BOX[2], 1 + len(MOUTH_DIMS))
        self.eyes = _tower(24, 12, EYE_BOX[3], EYE_BOX[2], 1)
        self.identity = _identity_tower() if identity else None

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 3, 160, 160) -> (opening (N,) in px, mouth (N, 6), blink (N,))."""
        mouth = self.mouth(F.pixel_unshuffle(_cut(picture, MOUTH_BOX), 2)).float()
        blink = self.eyes(F.pixel_unshuffle(_cut(picture, EYE_BOX), 2)).float()[:, 0]
        return mouth[:, 0] * OPENING_SCALE_PX, mouth[:, 1:], blink

    def embed(self, picture: Tensor) -> Tensor:
        """Pictures (N, 3, 160, 160) -> unit-length identity embeddings (N, 64).

        Raises:
            ValueError: this probe was trained without an identity tower.
        """
        return F.normalize(self._tower().forward(_whole(picture)).float(), dim=1)

    def features(self, picture: Tensor) -> Tensor:
        """Pictures (N, 3, 160, 160) -> penultimate activations of mouth and identity towers (N, 256).

        Raises:
            ValueError: this probe was trained without an identity tower.
        """
        mouth = self.mouth[:-1](F.pixel_unshuffle(_cut(picture, MOUTH_BOX), 2)).float()
        return torch.cat((mouth, self._tower()[:-1](_whole(picture)).float()), dim=1)

    def _tower(self) -> nn.Sequential:
        if self.identity is None:
            raise ValueError(
                "This probe has no identity tower; train one with `fada train --stage probe` and give it "
                "with --probe."
            )
        return self.identity


def _whole(picture: Tensor) -> Tensor:
    return F.pixel_unshuffle(picture * 2 - 1, 4).contiguous(memory_format=torch.channels_last)


def _cut(picture: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    left, top, width, height = box
    part = picture[..., top : top + height, left : left + width] * 2 - 1
    return part.contiguous(memory_format=torch.channels_last)


def load_probe(path: Path, device: str = "cpu") -> Probe:
    """Read a trained probe; one without an identity tower reads mouths and lids alone.

    Raises:
        models.checkpoint.CheckpointError: the file is missing or does not fit.
    """
    tensors = read_tensors(path)[0]
    probe = Probe(identity=any(name.startswith("identity.") for name in tensors))
    load_strict(probe, tensors, path)
    return probe.to(device).eval()
