"""Rendered heads as pairs with a true flow: shards of the stage "heads", laid out for fast reading.

In: a data folder with shards. Out: `MotionItem`s. A shard is inflated once into plain arrays beside it, which are
read by mapping, so that a training row costs a picture and not a shard. The list of shards is fixed when the set
is made: later ones count from the next run on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from distill.data.motion_set import MotionItem

PARTS: Final = ("reference", "frames", "states", "flow", "hole")


class HeadMotions:
    """The heads of one split that have been rendered so far.

    Args:
        root: the data folder; shards lie in ``root/heads``.
        split: "train", "val" or "test".
        most: at most that many shards; None takes all.

    Raises:
        FileNotFoundError: there is no shard of the split.
    """

    def __init__(self, root: Path, split: str, most: int | None = None) -> None:
        shards = sorted((root / "heads").glob(f"{split}-*.npz"))[:most]
        if not shards:
            raise FileNotFoundError(
                f"There are no rendered heads of the split '{split}' in {root / 'heads'}; make some with "
                "`fada train --stage heads`."
            )
        self._ready = root / "heads" / "ready"
        self._ready.mkdir(exist_ok=True)
        self._opened: dict[Path, dict[str, npt.NDArray[np.generic]]] = {}
        self._rows = [(path, row) for path in shards for row in range(_heads_in(path))]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> MotionItem:
        path, row = self._rows[index]
        arrays = self._arrays(path)
        return MotionItem(*(torch.from_numpy(np.array(arrays[name][row])) for name in PARTS))

    def _arrays(self, path: Path) -> dict[str, npt.NDArray[np.generic]]:
        if path not in self._opened:
            files = {name: self._ready / f"{path.stem}.{name}.npy" for name in PARTS}
            if not all(file.is_file() for file in files.values()):
                _lay_out(path, files)
            self._opened[path] = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
        return self._opened[path]


def _heads_in(path: Path) -> int:
    """How many heads a shard's name says that it holds."""
    return int(path.stem.split("x")[1].split("-")[0])


def _lay_out(path: Path, files: dict[str, Path]) -> None:
    """Inflate a shard; flow and hole at half the pictures' size."""
    from distill.corpus.heads.shards import read_shard

    items = read_shard(path)
    parts = {
        "reference": [item.reference for item in items],
        "frames": [item.frames for item in items],
        "states": [
            torch.cat((item.reference_state[None, :10], torch.cat((item.mouth, item.expression), dim=1)))
            for item in items
        ],
        "flow": [F.avg_pool2d(item.flow.float(), 2).half() for item in items],
        "hole": [(255 * F.avg_pool2d(item.hole[None].float(), 2)[0]).round().byte() for item in items],
    }
    for name, made in parts.items():
        partial = files[name].with_suffix(f".{os.getpid()}.partial.npy")
        np.save(partial, torch.stack(made).numpy())
        partial.replace(files[name])
