"""Lower faces with the true state of their mouths, cut once out of rendered heads and drawn characters.

In: a data folder with rendered heads. Out: pictures of `REGION` at `STORED_PX` and how far each mouth is open, as
plain arrays that are read by mapping.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.drawn_motions import DrawnMotions
from distill.data.head_set import HeadShards

REGION: Final = (48, 96, 160, 160)
"""(left, top, width, height) canvas px: what the mouth's reader sees, and some room to frame it otherwise."""
STORED_PX: Final = 96


class MouthCrops:
    """All pictures of one split.

    Args:
        root: the data folder; rendered heads lie in ``root/heads``.
        split: "train", "val" or "test".
        drawn: drawn characters beside the heads.

    Raises:
        FileNotFoundError: there are no heads of the split.
    """

    def __init__(self, root: Path, split: str, drawn: int) -> None:
        heads = HeadShards(root, split, ("reference", "frames", "states"))
        folder = root / "mouths"
        folder.mkdir(exist_ok=True)
        stem = f"{split}-{len(heads)}-{drawn}"
        paths = folder / f"{stem}.pictures.npy", folder / f"{stem}.opened.npy"
        if not all(path.is_file() for path in paths):
            _cut_all(heads, DrawnMotions(root, split, drawn), paths)
        self._pictures: npt.NDArray[np.uint8] = np.load(paths[0], mmap_mode="r")
        self.opened = torch.from_numpy(np.load(paths[1]))
        self._by_opening = self.opened.argsort()

    def __len__(self) -> int:
        return len(self.opened)

    def pictures(self, rows: Tensor) -> Tensor:
        """(B, 3, STORED_PX, STORED_PX) in [0, 1] of rows (B,)."""
        return torch.from_numpy(self._pictures[rows.numpy()]).float() / 255

    def near(self, opened: Tensor) -> Tensor:
        """Rows (B,) whose mouths are open about as wanted (B,)."""
        place = torch.searchsorted(self.opened[self._by_opening], opened.contiguous())
        return self._by_opening[place.clamp(max=len(self) - 1)]


def _cut_all(heads: HeadShards, drawn: DrawnMotions, paths: tuple[Path, Path]) -> None:
    pictures, opened = [], []
    for index in range(len(heads)):
        head = heads.head(index)
        pictures.append(_cut(torch.cat((head["reference"][None], head["frames"]))))
        opened.append(head["states"][:, 0])
    for index in range(len(drawn)):
        item = drawn[index]
        pictures.append(_cut(torch.cat((item.reference[None], item.frames))))
        opened.append(item.states[:, 0])
    for path, arrays in zip(paths, (pictures, opened), strict=True):
        partial = path.with_suffix(f".{os.getpid()}.partial.npy")
        np.save(partial, torch.cat(arrays).numpy())
        partial.replace(path)


def _cut(canvases: Tensor) -> Tensor:
    """(K, 3, STORED_PX, STORED_PX) uint8 of canvases (K, 3, 256, 256)."""
    left, top, width, height = REGION
    part = canvases[..., top : top + height, left : left + width].float()
    small = F.interpolate(part, (STORED_PX, STORED_PX), mode="bilinear", antialias=True, align_corners=False)
    return small.round().clamp(0, 255).byte()
