"""Stage "mouth": the small network learns to say whether a mouth stands open or has something before it.

In: lower faces of rendered heads and drawn characters with their true states, covered, lit and spoilt as strangers'
pictures are (`distill.data.mouths`). Out: `model.safetensors` in 16 bits, for `models.framing.mouth`. What a hand
or a mask looks like is drawn, so that how much of the mouth it hides is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from distill.data.draws import StepDraw, rand
from distill.data.mouths.pool import MARGIN, MouthPool
from models.avatar_model import channels_last
from models.checkpoint import save_tensors
from models.framing.mouth import CONTRAST_FLOOR, HIDDEN, INPUT_PX, LAYERS

PICTURES: Final = 4096
"""Drawn ahead of training."""
CLEAR: Final = 0.12
HIDDEN_SHARE: Final = 0.55
"""A mouth of which less than `CLEAR` is hidden is not covered, from `HIDDEN_SHARE` on it is; between, in part."""


class MouthNet(nn.Module):
    """Six convolutions and two linear layers: logits (N, 2), open and covered, of pictures (N, 3, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(width for width, _ in LAYERS)]
        self.conv = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride, 1)
            for a, b, (_, stride) in zip(widths[:-1], widths[1:], LAYERS, strict=True)
        )
        side = INPUT_PX
        for _, stride in LAYERS:
            side //= stride
        self.hidden = nn.Linear(widths[-1] * side * side, HIDDEN)
        self.out = nn.Linear(HIDDEN, 2)
        for layer in (*self.conv, self.hidden):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, enabled=False):
            spread, middle = torch.std_mean(pictures, (1, 2, 3), correction=0, keepdim=True)
            x = (pictures - middle) / (spread + CONTRAST_FLOOR)
        for layer in self.conv:
            x = F.relu(layer(x))
        logits: Tensor = self.out(F.relu(self.hidden(x.flatten(1))))
        return logits


class MouthStage:
    """Regression of how open a mouth is, and whether it is covered."""

    name = "mouth"

    def __init__(self, data: MouthPool, validation: MouthPool, batch: int, device: str) -> None:
        self.data, self.validation, self.batch, self.device = data, validation, batch, device
        self.net = channels_last(MouthNet()).to(device).train()

    def trainable(self) -> nn.Module:
        return self.net

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        u = rand(draw.generators(), 4)
        rows = (u[:, 0] * len(self.data)).long()
        shifts = (u[:, 1:3] * (2 * MARGIN + 1)).long()
        pictures = self.data.pictures(rows, shifts, u[:, 3] < 0.5)
        opened, hidden = self.data.opened[rows], self.data.hidden[rows]
        logits = self.net(pictures.to(self.device)).float()
        opened, hidden = opened.to(self.device), hidden.to(self.device)
        target = ((hidden - CLEAR) / (HIDDEN_SHARE - CLEAR)).clamp(0, 1)
        free = (1 - 2 * target).clamp_min(0)
        off = F.smooth_l1_loss(logits[:, 0].sigmoid(), opened, beta=0.05, reduction="none")
        gap = (off * free).sum() / free.sum().clamp_min(1)
        cover = F.binary_cross_entropy_with_logits(logits[:, 1], target)
        return 6 * gap + cover, {"gap": float(gap.detach()), "cover": float(cover.detach())}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Error of the opening, and how well covered ones are told, on people that training never saw."""
        opened, hidden = self.validation.opened, self.validation.hidden
        seen = self.validation.straight(torch.arange(len(opened)))
        read = [self.net(part.to(self.device)).float().sigmoid().cpu() for part in seen.split(64)]
        read_open, read_cover = torch.cat(read).unbind(1)
        free, covered = hidden < CLEAR, hidden > HIDDEN_SHARE
        wide, shut = free & (opened > 0.6), free & (opened < 0.3)
        return {
            "open_error": round(float((read_open - opened)[free].abs().mean()), 4),
            "wide_open_seen": round(float((read_open[wide] > 0.5).float().mean()), 4),
            "shut_taken_for_open": round(float((read_open[shut] > 0.5).float().mean()), 4),
            "covered_seen": round(float((read_cover[covered] > 0.5).float().mean()), 4),
            "free_taken_for_covered": round(float((read_cover[free] > 0.5).float().mean()), 4),
        }

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        tensors = {name: tensor.half() for name, tensor in self.net.state_dict().items()}
        save_tensors(path, tensors, {"notes": {**notes, "validation": self.evaluate()}})

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Pictures as training sees them, each with a bar of how open and one of how covered it is read."""
        pictures = self.validation.straight(torch.arange(min(96, len(self.validation) // 12 * 12)))
        read = self.net(pictures.to(self.device)).float().sigmoid().cpu()
        for picture, bars in zip(pictures, read, strict=True):
            for row, (share, colour) in enumerate(zip(bars, ((0.0, 1.0, 0.3), (1.0, 0.2, 0.1)), strict=True)):
                length = round(float(share) * INPUT_PX)
                picture[:, 3 * row : 3 * row + 3, :length] = torch.tensor(colour)[:, None, None]
        rows = pictures.unflatten(0, (-1, 12)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
        Image.fromarray((rows * 255).round().byte().numpy()).save(path)
