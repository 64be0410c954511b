"""Stage "head-clips": rendered heads that speak, ahead of training and of any autoencoder.

In: a data folder, how many clips, and how many people speak them. Out: `head-clips-SPLIT-…/NNNNNN.npz` (see
`distill.data.talking.head_clips`) and a contact sheet. A clip already there is kept; any number of processes may
each make a part; what is there when a training starts is what it learns from.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from distill.corpus.heads.packages import LICENCES
from distill.data.talking.head_clips import TURN, HeadClips, talking_heads

SHEET_ROWS: Final = 12
SHEET_COLUMNS: Final = 9


def make_head_clips(
    data: Path,
    count: int,
    people: int | None = None,
    speech: int | None = None,
    part: tuple[int, int] = (0, 1),
    minutes: float = 0.0,
    device: str = "cpu",
) -> int:
    """Render clips of the split "train" that are missing, for so many minutes (0: to the end).

    Args:
        data: the data folder.
        count: how many clips there shall be.
        people: how many speak them; None is one each.
        speech: how many speech clips they share; None is one each.
        part: (I, N), which share of the clips is this process's.
        minutes: no clip is begun after them.
        device: where frames are drawn.

    Returns:
        The exit code.
    """
    made = talking_heads(data, "train", count, people, speech, device)
    mine = [index for index in range(len(made)) if index // TURN % part[1] == part[0]]
    missing = [index for index in mine if not made.path(index).is_file()]
    if missing:
        print(LICENCES, file=sys.stderr)
    end = time.monotonic() + 60 * minutes if minutes else float("inf")
    with tqdm(total=len(mine), initial=len(mine) - len(missing), desc="head clips", file=sys.stderr) as bar:
        for index in missing:
            if time.monotonic() >= end:
                break
            made.render(index)
            bar.update()
    _sheet(made)
    return 0


def _sheet(made: HeadClips) -> None:
    """Draw clips that are there, a row each: two references, then moments."""
    rows = []
    for index in made.rendered()[:: 1 if made.people is None else TURN][:SHEET_ROWS]:
        pictures = made[index].pictures
        shown = torch.linspace(2, len(pictures) - 1, SHEET_COLUMNS - 2).round().long()
        some = torch.cat((pictures[:2], pictures[shown]))
        rows.append(some.permute(2, 0, 3, 1).flatten(1, 2))
    if rows:
        sheet = np.ascontiguousarray(torch.cat(rows).numpy())
        Image.fromarray(sheet).save(made.root / "sheet.png")
