"""Drawn characters as pairs of reference and frame, over the whole canvas; what moved between them nobody says.

In: a split and an index. Out: `MotionItem`s without flow, kept on disk. Item i depends on (split, i) alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from distill.corpus.drawn import Character, sample_identities
from distill.corpus.drawn.canvas import FULL_BOX
from distill.data.motion_set import MotionItem
from distill.data.pictures import random_expressions, random_mouths


class DrawnMotions:
    """``count`` identities of a split, each a neutral reference and ``frames`` pictures, cached under ``root``."""

    def __init__(self, root: Path, split: str, count: int, frames: int = 7) -> None:
        self.split, self.count, self.frames = split, count, frames
        self.root = root / f"drawn-motions-{split}-{frames}"
        self.root.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> MotionItem:
        path = self.root / f"{index:06d}.npy"
        if not path.is_file():
            partial = path.with_suffix(f".{os.getpid()}.partial.npy")  # another process may make the same
            np.save(partial, self._drawn(index).numpy())
            partial.replace(path)
        pictures = torch.from_numpy(np.array(np.load(path, mmap_mode="r")))
        mouth, expression = self._states(index)
        return MotionItem(pictures[0], pictures[1:], torch.cat((mouth, expression), dim=1))

    def _states(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mouth (1 + frames, 6) and expression (1 + frames, 4), the reference's neutral."""
        generator = torch.Generator().manual_seed(7919 * index + 29)
        mouth = random_mouths(1 + self.frames, generator)
        expression = random_expressions(1 + self.frames, generator)
        mouth[0] = 0.0
        expression[0] = 0.0
        return mouth, expression

    def _drawn(self, index: int) -> torch.Tensor:
        """(1 + frames, 3, S, S) uint8, the reference first."""
        mouth, expression = self._states(index)
        identity = sample_identities([index], split=self.split)
        drawn = Character(identity, FULL_BOX).frames(mouth[None], expression[None])[0]
        return (drawn.clamp(0, 1) * 255).round().byte()
