"""Stage "probe": the measuring probe learns to read true pictures.

In: pictures of the corpus with their true shapes, half of them in open-set styles, and rendered heads, spoilt as
poor video is (blur, noise, light, framing). Out: a `Probe`. It sees no sound and no student, only truth: so it may
well train on the styles on which students are measured; its seeds of styles are not those of the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.data.draws import Generators, StepDraw, rand, randint, randn
from distill.data.pictures import PictureItem, PictureSet
from distill.data.styled_pictures import StyledPictures
from distill.probe import OPENING_SCALE_PX, Probe
from distill.stages.audio import correlations
from models.avatar_model import channels_last
from models.checkpoint import save_tensors

VIEWS = 2
"""Pictures of one identity in a step: what the identity tower must see as one."""
TEMPERATURE = 0.1


def contrast(embedded: Tensor) -> Tensor:
    """Cross-entropy of finding each picture's other view among all others; embedded (rows, 2, D), unit length.

    Source: NT-Xent, Chen et al. 2020, "A simple framework for contrastive learning", equation 1. The others
    are those of this process, so several processes with small batches have fewer to choose from.
    """
    flat = embedded.transpose(0, 1).flatten(0, 1)  # all first views, then all second
    with torch.autocast(flat.device.type, enabled=False):
        likeness = flat @ flat.T / TEMPERATURE
    likeness = likeness - torch.diag(torch.full_like(likeness[0], 1e4))
    rows = embedded.shape[0]
    partner = torch.cat((torch.arange(rows, 2 * rows), torch.arange(rows))).to(flat.device)
    return F.cross_entropy(likeness, partner)


class Pictures(Protocol):
    """A set of pictures that are known to be true."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> PictureItem: ...


@dataclass(frozen=True, slots=True)
class Heads:
    """Rendered heads for a probe that shall read faces as they are: to learn from, to validate on, how many."""

    data: Pictures
    validation: Pictures
    share: float


class ProbeStage:
    """Regression of opening, mouth dims and blink, and identities told apart."""

    name = "probe"

    def __init__(
        self,
        data: PictureSet,
        validation: PictureSet,
        batch: int,
        device: str,
        heads: Heads | None = None,
        trained: Probe | None = None,
    ) -> None:
        """``batch`` identities a step, ``VIEWS`` pictures of each; styled pictures lie beside ``data``'s.

        ``heads`` mixes rendered heads in; ``trained`` is a probe that learns on.
        """
        self.batch, self.device, self.heads = batch, device, heads
        styled = StyledPictures(data.root.parent, data.split, data.count)
        self.sets: tuple[PictureSet | StyledPictures, ...] = (data, styled)
        far = 500_000  # styles that training does not reach, and evaluation neither
        others = StyledPictures(validation.root.parent, validation.split, validation.count, first_style=far)
        self.validation: dict[str, Pictures] = {"": validation, "styled_": others}
        if heads is not None:
            self.validation["heads_"] = heads.validation
        self.probe = channels_last(trained or Probe()).to(device).train()

    def trainable(self) -> nn.Module:
        return self.probe

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        generators = draw.generators()
        chosen = randint(generators, len(self.sets))
        items = []
        for which, generator in zip(chosen, generators, strict=True):
            data: Pictures = self.sets[which]
            if self.heads is not None and float(rand([generator])) < self.heads.share:
                data = self.heads.data
            item = data[int(torch.randint(len(data), (), generator=generator))]
            items.append(_pick(item, torch.randperm(item.frames.shape[0], generator=generator)[:VIEWS]))
        picture = torch.cat([item.frames for item in items]).to(self.device).float() / 255
        opening_px = torch.cat([item.opening_px for item in items]).to(self.device)
        with torch.autocast(torch.device(self.device).type, enabled=False):  # places need all their digits
            picture, opening_px = self._reframe(picture, opening_px, generators)
            picture = self._spoil(picture, generators)
        opening, mouth, blink = self.probe(picture)
        true_mouth = torch.cat([item.mouth for item in items]).to(self.device)
        true_blink = torch.cat([item.expression[:, 0] for item in items]).to(self.device)
        gap = F.smooth_l1_loss(opening / OPENING_SCALE_PX, opening_px / OPENING_SCALE_PX, beta=0.05)
        shape = F.smooth_l1_loss(mouth, true_mouth, beta=0.1)
        eyes = F.smooth_l1_loss(blink, true_blink, beta=0.1)
        who = contrast(self.probe.embed(picture).unflatten(0, (-1, VIEWS)))
        r = correlations(opening.detach()[:, None], opening_px[:, None])
        figures = {"gap": float(gap.detach()), "who": float(who.detach()), "r_open": float(r)}
        return 4 * gap + shape + eyes + 0.1 * who, figures

    def _reframe(self, picture: Tensor, opening_px: Tensor, generators: Generators) -> tuple[Tensor, Tensor]:
        """Move by up to 4 px and scale by up to 5%, half of the pictures (N, 3, H, W); gaps scale along."""
        draw = rand(generators, VIEWS, 4).flatten(0, 1).to(self.device)
        draw = torch.where(draw[:, 3:] < 0.5, draw * 2 - 1, torch.zeros_like(draw))
        scale = 1 + 0.05 * draw[:, 0]
        shift = draw[:, 1:3] * (8 / picture.shape[-1])
        theta = torch.cat((torch.diag_embed((1 / scale)[:, None].expand(-1, 2)), shift[..., None]), dim=2)
        grid = F.affine_grid(theta, list(picture.shape), align_corners=False)
        moved = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
        return moved, opening_px * scale

    def _spoil(self, picture: Tensor, generators: Generators) -> Tensor:
        """Blur, light, greyness and noise for pictures (N, 3, H, W), ``VIEWS`` of each row in turn."""
        draw = rand(generators, VIEWS, 7, 1, 1, 1).flatten(0, 1).to(self.device)  # (N, 7, 1, 1, 1)
        blurred = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        small = F.interpolate(F.avg_pool2d(picture, 2), scale_factor=2.0, mode="bilinear")
        soft = torch.where(draw[:, 5] < 0.5, blurred, small)
        out = torch.lerp(picture, soft, draw[:, 0] * (draw[:, 1] < 0.5))
        # views share their greyness: colour must not be all that tells people apart
        grey = draw[:, 4].unflatten(0, (-1, VIEWS))[:, :1].expand(-1, VIEWS, -1, -1, -1).flatten(0, 1) < 0.3
        out = torch.where(grey, out.mean(1, keepdim=True), out)
        out = (out - 0.5) * (0.7 + 0.5 * draw[:, 2]) + 0.5 + 0.3 * (draw[:, 3] - 0.5)
        noise = randn(generators, VIEWS, *out.shape[1:]).flatten(0, 1).to(self.device)
        return out + (0.01 + 0.06 * draw[:, 6].square()) * noise

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Pearson r of opening and blink on identities that training never saw; how often the nearest other
        picture is of the same person."""
        figures: dict[str, float] = {}
        for prefix, data in self.validation.items():
            read: list[Tensor] = []
            true: list[Tensor] = []
            embedded: list[Tensor] = []
            for index in range(len(data)):
                item = data[index]
                picture = item.frames.to(self.device).float() / 255
                opening, _, blink = self.probe(picture)
                embedded.append(self.probe.embed(picture).cpu())
                read.append(torch.stack((opening, blink), 1).cpu())
                true.append(torch.stack((item.opening_px, item.expression[:, 0]), 1))
            r = correlations(torch.cat(read), torch.cat(true))
            figures[f"{prefix}r_opening"] = round(float(r[0]), 4)
            figures[f"{prefix}r_blink"] = round(float(r[1]), 4)
            figures[f"{prefix}same_person_nearest"] = round(_nearest_is_same(torch.stack(embedded)), 4)
        return figures

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_tensors(path, self.probe.state_dict(), {"notes": {**notes, "validation": self.evaluate()}})

    def sheet(self, path: Path) -> None:
        """Nothing to draw: the figures are in the checkpoint's notes."""


def _pick(item: PictureItem, index: Tensor) -> PictureItem:
    return PictureItem(item.frames[index], item.mouth[index], item.expression[index], item.opening_px[index])


def _nearest_is_same(embedded: Tensor) -> float:
    """Share of pictures (people, K, D) whose nearest neighbour is of the same person."""
    people, count, _ = embedded.shape
    flat = embedded.flatten(0, 1)
    likeness = flat @ flat.T
    likeness.fill_diagonal_(-2.0)
    owner = torch.arange(people).repeat_interleave(count)
    return float((owner[likeness.argmax(1)] == owner).float().mean())
