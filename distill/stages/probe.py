"""Stage "probe": the measuring probe learns to read true pictures.

In: pictures of the corpus with their true shapes, slightly spoilt (blur, noise, light). Out: a `Probe`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.pictures import PictureSet
from distill.probe import OPENING_SCALE_PX, Probe
from distill.stages.audio import correlations
from models.avatar_model import channels_last
from models.checkpoint import save_tensors


class ProbeStage:
    """Regression of opening, mouth dims and blink."""

    name = "probe"

    def __init__(self, data: PictureSet, validation: PictureSet, batch: int, device: str) -> None:
        self.data, self.validation, self.batch, self.device = data, validation, batch, device
        self.probe = channels_last(Probe()).to(device)

    def trainable(self) -> nn.Module:
        return self.probe

    def loss(self, generator: torch.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        picks = torch.randint(len(self.data), (self.batch,), generator=generator).tolist()
        items = [self.data[index] for index in picks]
        picture = torch.cat([item.frames for item in items]).to(self.device).float() / 255
        picture = self._spoil(picture, generator)
        opening, mouth, blink = self.probe(picture)
        true_opening = torch.cat([item.opening_px for item in items]).to(self.device)
        true_mouth = torch.cat([item.mouth for item in items]).to(self.device)
        true_blink = torch.cat([item.expression[:, 0] for item in items]).to(self.device)
        gap = F.smooth_l1_loss(opening / OPENING_SCALE_PX, true_opening / OPENING_SCALE_PX, beta=0.05)
        shape = F.smooth_l1_loss(mouth, true_mouth, beta=0.1)
        eyes = F.smooth_l1_loss(blink, true_blink, beta=0.1)
        r = correlations(opening.detach()[:, None], true_opening[:, None])
        return 4 * gap + shape + eyes, {"gap": float(gap.detach()), "r_open": float(r)}

    def _spoil(self, picture: Tensor, generator: torch.Generator) -> Tensor:
        rows = picture.shape[0]
        draw = torch.rand(rows, 4, 1, 1, generator=generator).unsqueeze(2).to(self.device)  # (N, 4, 1, 1, 1)
        blurred = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        out = torch.lerp(picture, blurred, draw[:, 0] * (draw[:, 1] < 0.5))
        out = (out - 0.5) * (0.8 + 0.4 * draw[:, 2]) + 0.5 + 0.2 * (draw[:, 3] - 0.5)
        return out + 0.02 * torch.randn(out.shape, generator=generator).to(self.device)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Pearson r of opening and blink on identities that training never saw."""
        read: list[Tensor] = []
        true: list[Tensor] = []
        for index in range(len(self.validation)):
            item = self.validation[index]
            opening, _, blink = self.probe(item.frames.to(self.device).float() / 255)
            read.append(torch.stack((opening, blink), 1).cpu())
            true.append(torch.stack((item.opening_px, item.expression[:, 0]), 1))
        r = correlations(torch.cat(read), torch.cat(true))
        return {"r_opening": round(float(r[0]), 4), "r_blink": round(float(r[1]), 4)}

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_tensors(path, self.probe.state_dict(), {"notes": {**notes, "validation": self.evaluate()}})

    def sheet(self, path: Path) -> None:
        """Nothing to draw: the figures are in the checkpoint's notes."""
