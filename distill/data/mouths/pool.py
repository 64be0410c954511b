"""Mouths as strangers' pictures show them: framed, covered, lit and spoilt, drawn ahead of training.

In: the crops of one split. Out: pictures with how far each mouth is open and which share of it is hidden. Drawing a
picture costs more than learning from it, so that a pool is drawn once and each of its pictures is seen many times.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from distill.data.draws import Generators, mixed, rand
from distill.data.jitter import Jitter, draw_places, sampled
from distill.data.mouths.covers import covered_by
from distill.data.mouths.crops import REGION, MouthCrops
from distill.data.mouths.spoiling import draw_shadow, spoilt
from distill.data.photometric import draw_light
from models.face import CANVAS_PX, MOUTH_LINE_Y
from models.framing.mouth import BOX, INPUT_PX

MARGIN: Final = 3
"""Px of a pool's picture around what the network reads, so that each step may shift it."""
POOL_PX: Final = INPUT_PX + 2 * MARGIN
SEEDS: Final = {"train": 1, "val": 2, "test": 3}
AT_ONCE: Final = 64
FRAMING: Final = Jitter(turn=0.06, scale=0.06, stretch=0.05, shift_px=2.6, still=0.0)
"""In px of the pool's pictures."""
LIGHT: Final = 0.7
COVERED_SHARE: Final = 0.6
"""Of pictures with something in them; not all of it is before the mouth."""
SPAN: Final = (27.0, 11.0)
"""Half axes of a closed mouth with its lips, canvas px."""
DROP: Final = 13.0
"""How much higher half of it, and lower its middle, is when it is wide open."""


class MouthPool:
    """``count`` pictures of one split; picture i depends on (split, i) and the crops alone.

    Attributes:
        opened: (N,) 0..1. hidden: (N,) share of the mouth that something is before.
    """

    def __init__(self, root: Path, split: str, drawn: int, count: int) -> None:
        """``drawn`` characters beside the heads in ``root/heads``; pictures are kept in ``root/mouths``."""
        path = root / "mouths" / f"pool-{split}-{drawn}-{count}.npz"
        if not path.is_file():
            _draw(MouthCrops(root, split, drawn), split, count, path)
        with np.load(path) as stored:
            self._pictures: npt.NDArray[np.uint8] = stored["pictures"]
            self.opened = torch.from_numpy(stored["opened"])
            self.hidden = torch.from_numpy(stored["hidden"])

    def __len__(self) -> int:
        return len(self.opened)

    def pictures(self, rows: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
        """(B, 3, INPUT_PX, INPUT_PX) in [0, 1] of rows (B,), shifted by (B, 2) of 0..2 ``MARGIN`` px."""
        span = torch.arange(INPUT_PX)
        y, x = shifts[:, :1] + span, shifts[:, 1:] + span
        x = torch.where(mirrored[:, None], x.flip(1), x)
        at = (
            rows[:, None, None, None],
            torch.arange(3)[None, :, None, None],
            y[:, None, :, None],
            x[:, None, None],
        )
        return torch.from_numpy(self._pictures[tuple(index.numpy() for index in at)]).float() / 255

    def straight(self, rows: Tensor) -> Tensor:
        """The same without shift and mirror."""
        return self.pictures(
            rows, torch.full((len(rows), 2), MARGIN), torch.zeros(len(rows), dtype=torch.bool)
        )


def _draw(crops: MouthCrops, split: str, count: int, path: Path) -> None:
    parts = []
    for first in tqdm(range(0, count, AT_ONCE), desc=f"mouths {split}", mininterval=5, file=sys.stderr):
        rows = range(first, min(first + AT_ONCE, count))
        parts.append(
            seen_by(crops, [torch.Generator().manual_seed(mixed(SEEDS[split], row)) for row in rows])
        )
    pictures, opened, hidden = (torch.cat(some) for some in zip(*parts, strict=True))
    partial = path.with_suffix(f".{os.getpid()}.partial.npz")
    seen = (pictures * 255).round().byte().numpy()
    np.savez(partial, pictures=seen, opened=opened.numpy(), hidden=hidden.numpy())
    partial.replace(path)


def seen_by(data: MouthCrops, generators: Generators) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pictures as a stranger's might be.

    Returns:
        (B, 3, POOL_PX, POOL_PX) in [0, 1], how far each mouth is open (B,), and which share of it is hidden (B,).
    """
    u = rand(generators, 8)
    rows = (u[:, 0] * len(data)).long()
    rows = torch.where(u[:, 1] < 0.5, rows, data.near(u[:, 2]))  # few mouths are wide open
    opened = data.opened[rows]
    left, top, width, _ = REGION
    shrink = INPUT_PX / BOX[2]
    corner = round((BOX[0] - left) * shrink) - MARGIN, round((BOX[1] - top) * shrink) - MARGIN
    box = (*corner, POOL_PX, POOL_PX)
    places, _ = draw_places(generators, box, round(width * shrink), FRAMING)
    pictures = sampled(data.pictures(rows), places)
    on_canvas = (places + 1) * (width / 2) + torch.tensor([float(left), float(top)])
    pictures = draw_shadow(pictures, on_canvas, generators)
    hidden = torch.zeros(len(rows), POOL_PX, POOL_PX)
    if len(has := (u[:, 3] < COVERED_SHARE).nonzero()[:, 0]):
        others = sampled(data.pictures((u[has, 4] * len(data)).long()), places[has]).flip(2)
        theirs = [generators[row] for row in has.tolist()]
        pictures[has], hidden[has] = covered_by(pictures[has], others, on_canvas[has], theirs)
    mouth = _mouth(on_canvas, opened)
    share = (hidden * mouth).sum((1, 2)) / mouth.sum((1, 2)).clamp_min(1)
    lit = draw_light(generators, LIGHT).over(pictures[:, None])[:, 0]
    return spoilt(lit, generators), opened, share


def _mouth(on_canvas: Tensor, opened: Tensor) -> Tensor:
    """(B, H, W): 1 where a mouth is that is so far open."""
    x, y = on_canvas.unbind(-1)
    drop = (DROP * opened)[:, None, None]
    away = ((x - CANVAS_PX / 2) / SPAN[0]).square() + ((y - MOUTH_LINE_Y - drop) / (SPAN[1] + drop)).square()
    return (away < 1).float()
