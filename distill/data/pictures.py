"""Pictures of the procedural corpus as a training set: rendered on demand, kept on disk.

In: a split and an index. Out: ``frames`` face-box pictures of one identity, the first with a neutral, closed
mouth. Item i depends on (split, i) alone, whether or not it was cached, so a resumed run sees the same data.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill.corpus.drawn import Character, sample_identities, true_opening
from models.face import EXPRESSION_DIMS, FACE_BOX, MOUTH_DIMS


def random_mouths(count: int, generator: torch.Generator) -> Tensor:
    """Mouth shapes (count, 6) that cover more than speech does: every mix of dims, a third nearly closed."""
    u = torch.rand(count, len(MOUTH_DIMS), generator=generator)
    closed = torch.rand(count, generator=generator)
    opening = torch.where(closed < 0.15, 0.0, torch.where(closed < 0.35, 0.25 * u[:, 0], u[:, 0]))
    width = (u[:, 1] * 2 - 1) * 0.9
    rounding = torch.where(u[:, 2] < 0.5, 0.0, 2 * u[:, 2] - 1)
    width = torch.where(rounding > 0.4, width.clamp(max=0.1), width)
    teeth = torch.where(u[:, 3] < 0.3, 0.0, u[:, 3])
    tongue = torch.where(u[:, 4] < 0.5, 0.0, 2 * u[:, 4] - 1)
    tuck = torch.where(u[:, 5] < 0.75, 0.0, 4 * u[:, 5] - 3)
    return torch.stack((opening, width, rounding, teeth, tongue, tuck), dim=1)


def calm(mouth: Tensor) -> Tensor:
    """Random mouths (N, 6) brought nearer to what people do: what is rounded is not spread, what tucks is shut."""
    opened, width, rounded, teeth, tongue, tuck = mouth.unbind(1)
    opened = torch.where(tuck > 0.2, opened.clamp(max=0.25), opened * (1 - 0.3 * rounded))
    return torch.stack((opened, 0.8 * width, rounded, teeth, tongue, tuck), 1)


def random_expressions(count: int, generator: torch.Generator) -> Tensor:
    """Expressions (count, 4): a quarter in a blink, gaze mostly ahead."""
    u = torch.rand(count, len(EXPRESSION_DIMS), generator=generator)
    n = torch.randn(count, 3, generator=generator)
    blink = torch.where(u[:, 0] < 0.7, 0.0, (u[:, 0] - 0.7) / 0.3)
    return torch.stack(
        (blink, (0.4 * n[:, 0]).clamp(-1, 1), (0.3 * n[:, 1]).clamp(-1, 1), (0.4 * n[:, 2]).clamp(-1, 1)), 1
    )


@dataclass(frozen=True, slots=True)
class PictureItem:
    """One identity's pictures and what they truly show."""

    frames: Tensor  # (K, 3, H, W) uint8
    mouth: Tensor  # (K, 6)
    expression: Tensor  # (K, 4)
    opening_px: Tensor  # (K,) visible lip gap


class PictureSet:
    """``count`` identities of a split with ``frames`` pictures of a box each, cached under ``root``."""

    def __init__(
        self, root: Path, split: str, count: int, frames: int = 8, box: tuple[int, int, int, int] = FACE_BOX
    ) -> None:
        self.split, self.count, self.frames, self.box = split, count, frames, box
        place = "" if box == FACE_BOX else "-" + "x".join(map(str, box))
        self.root = root / f"pictures-{split}-{frames}{place}"
        self.root.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> PictureItem:
        path = self.root / f"{index:06d}.npy"
        mouth, expression = self._shapes(index)
        identity = sample_identities([index], split=self.split)
        if path.is_file():
            frames = torch.from_numpy(np.load(path))
        else:
            drawn = Character(identity, self.box).frames(mouth[None], expression[None])[0]
            frames = (drawn.clamp(0, 1) * 255).round().byte()
            partial = path.with_suffix(f".{os.getpid()}.partial.npy")  # another process may make the same
            np.save(partial, frames.numpy())
            partial.replace(path)
        return PictureItem(frames, mouth, expression, true_opening(identity.repeat(self.frames), mouth))

    def _shapes(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7919 * index + 13)
        mouth, expression = random_mouths(self.frames, generator), random_expressions(self.frames, generator)
        mouth[0] = 0.0
        expression[0] = 0.0
        return mouth, expression
