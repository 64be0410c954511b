"""Pictures of the corpus in open-set styles: what the measuring probe is trained on besides plain drawings.

In: a split and an index. Out: the same identities and shapes as `PictureSet`, restyled. Two neighbouring
identities share a style, so that telling them apart takes more than colour. Training seeds of styles end where
those of the evaluation begin.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from distill.corpus.drawn import Character, sample_identities, true_opening
from distill.corpus.drawn.openset import open_style
from distill.data.pictures import PictureItem, random_expressions, random_mouths
from distill.data.regions import MEASURED_BOX

EVALUATION_SEED: Final = 1_000_000
"""Styles from this seed on are kept for evaluation."""
_SHARING: Final = 2


class StyledPictures:
    """``count`` restyled identities of a split with ``frames`` pictures each, cached under ``root``."""

    def __init__(self, root: Path, split: str, count: int, frames: int = 8, first_style: int = 0) -> None:
        self.split, self.count, self.frames, self.first_style = split, count, frames, first_style
        self.root = root / f"styled-{split}-{frames}-{first_style}"
        self.root.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> PictureItem:
        path = self.root / f"{index:06d}.npy"
        mouth, expression = self._shapes(index)
        who = sample_identities([index], split=self.split)
        style = open_style(self.first_style + index // _SHARING)
        if path.is_file():
            frames = torch.from_numpy(np.load(path))
        else:
            with torch.autocast("cpu", enabled=False):  # an item is the same in any precision of training
                canvas = style(Character(who).frames(mouth[None], expression[None])[0])
            left, top, width, height = MEASURED_BOX
            box = canvas[..., top : top + height, left : left + width]
            frames = (box.clamp(0, 1) * 255).round().byte()
            partial = path.with_suffix(f".{os.getpid()}.partial.npy")  # another process may make the same
            np.save(partial, frames.numpy())
            partial.replace(path)
        gap = true_opening(who.repeat(self.frames), mouth)
        return PictureItem(frames, mouth, expression, style.opening_px(gap, who.mouth_y.repeat(self.frames)))

    def _shapes(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7919 * index + 14)
        mouth, expression = random_mouths(self.frames, generator), random_expressions(self.frames, generator)
        mouth[0] = 0.0
        expression[0] = 0.0
        return mouth, expression
