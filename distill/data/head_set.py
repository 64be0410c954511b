"""Rendered heads on disk as training sets: shards of the stage "heads", laid out for fast reading.

In: a data folder with shards. Out: `MotionItem`s, pairs with a true flow, or `PictureItem`s, pictures with their
true mouths. A shard is inflated once into plain arrays beside it, which are read by mapping, so that a training row
costs a picture and not a shard. The list of shards is fixed when the set is made: later ones count from the next
run on.
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

from distill.data.motion_set import MotionItem
from distill.data.pictures import PictureItem
from distill.data.regions import MEASURED_BOX
from models.face import MOUTH_DIMS

MOTION_PARTS: Final = ("reference", "frames", "states", "flow", "hole")
PICTURE_PARTS: Final = ("frames", "states", "openings")


def opening_of(landmarks: Tensor) -> Tensor:
    """Gap (...) between the inner lips of landmarks (..., 18, 2), in their pixels, 0 or more."""
    from distill.corpus.heads.anatomy import LANDMARKS

    lower, upper = (LANDMARKS.index(f"{lip}_lip_in") for lip in ("lower", "upper"))
    return (landmarks[..., lower, 1] - landmarks[..., upper, 1]).clamp_min(0)


class HeadShards:
    """The heads of one split that have been rendered so far, as arrays.

    Args:
        root: the data folder; shards lie in ``root/heads``.
        split: "train", "val" or "test".
        parts: which arrays are read.
        most: at most that many shards; None takes all.

    Raises:
        FileNotFoundError: there is no shard of the split.
    """

    def __init__(self, root: Path, split: str, parts: tuple[str, ...], most: int | None = None) -> None:
        shards = sorted((root / "heads").glob(f"{split}-*.npz"))[:most]
        if not shards:
            raise FileNotFoundError(
                f"There are no rendered heads of the split '{split}' in {root / 'heads'}; make some with "
                "`fada train --stage heads`."
            )
        self.parts = parts
        self._ready = root / "heads" / "ready"
        self._ready.mkdir(exist_ok=True)
        self._opened: dict[Path, dict[str, npt.NDArray[np.generic]]] = {}
        self._rows = [(path, row) for path in shards for row in range(_heads_in(path))]

    def __len__(self) -> int:
        return len(self._rows)

    def head(self, index: int) -> dict[str, Tensor]:
        """The arrays of one head, by part."""
        path, row = self._rows[index]
        arrays = self._arrays(path)
        return {name: torch.from_numpy(np.array(arrays[name][row])) for name in self.parts}

    def _arrays(self, path: Path) -> dict[str, npt.NDArray[np.generic]]:
        if path not in self._opened:
            files = {name: self._ready / f"{path.stem}.{name}.npy" for name in self.parts}
            if not all(file.is_file() for file in files.values()):
                _lay_out(path, files)
            self._opened[path] = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
        return self._opened[path]


class HeadMotions:
    """Pairs of reference and frame with what truly moved; see `HeadShards`."""

    def __init__(self, root: Path, split: str, most: int | None = None) -> None:
        self._shards = HeadShards(root, split, MOTION_PARTS, most)

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index: int) -> MotionItem:
        return MotionItem(**self._shards.head(index))


class HeadPictures:
    """Frames of each head inside a box, and what they truly show; see `HeadShards`.

    References are left out: their smiles are none of the mouth's dims.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        most: int | None = None,
        box: tuple[int, int, int, int] = MEASURED_BOX,
    ) -> None:
        self._shards, self.box = HeadShards(root, split, PICTURE_PARTS, most), box

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index: int) -> PictureItem:
        head = self._shards.head(index)
        left, top, width, height = self.box
        frames = head["frames"][..., top : top + height, left : left + width]
        states = head["states"][1:]
        mouth, expression = states[:, : len(MOUTH_DIMS)], states[:, len(MOUTH_DIMS) :]
        return PictureItem(frames, mouth, expression, head["openings"][1:])


def _heads_in(path: Path) -> int:
    """How many heads a shard's name says that it holds."""
    return int(path.stem.split("x")[1].split("-")[0])


def _lay_out(path: Path, files: dict[str, Path]) -> None:
    """Inflate a shard into those of the files that are not there; flow and hole at half the pictures' size."""
    from distill.corpus.heads.shards import read_shard

    items = read_shard(path)
    parts = {
        "reference": [item.reference for item in items],
        "frames": [item.frames for item in items],
        "states": [
            torch.cat((item.reference_state[None, :10], torch.cat((item.mouth, item.expression), dim=1)))
            for item in items
        ],
        "openings": [opening_of(item.landmarks) for item in items],
        "flow": [F.avg_pool2d(item.flow.float(), 2).half() for item in items],
        "hole": [(255 * F.avg_pool2d(item.hole[None].float(), 2)[0]).round().byte() for item in items],
    }
    for name, file in files.items():
        if not file.is_file():
            partial = file.with_suffix(f".{os.getpid()}.partial.npy")
            np.save(partial, torch.stack(parts[name]).numpy())
            partial.replace(file)
