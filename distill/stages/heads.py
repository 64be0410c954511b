"""Stage "heads": realistic heads ahead of training, rendered into shards under the data folder.

In: a data folder and how many identities. Out: `heads/SPLIT-...npz` (see `distill.corpus.heads.shards`) and a
contact sheet. Two thirds of a head's frames are moments of the speech corpus' tracks, the rest mouths, blinks and
glances that speech seldom shows. A shard already there is kept; any number of processes may each make a part.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from distill.corpus.heads.kit import Kit
from distill.corpus.heads.packages import LICENCES
from distill.corpus.heads.shards import SHARD_HEADS, HeadItem, Moments, read_shard, render_shard, shard_path
from distill.data.pictures import calm, random_expressions, random_mouths
from distill.data.speech_set import SpeechSet

FRAMES: Final = 10
SPLITS: Final = ("train", "val", "test")
SPEECH_CLIPS: Final = {"train": 160, "val": 24, "test": 24}
SPEECH_SHARE: Final = 0.65


def moments_of(seed: int, speech: SpeechSet, frames: int) -> Moments:
    """What the frames of identity ``seed`` show: moments of one clip, then rarer shapes."""
    generator = torch.Generator().manual_seed(65_537 * seed + 11)
    spoken = speech[seed % len(speech)]
    said = round(frames * SPEECH_SHARE)
    at = _telling_moments(spoken.mouth, said, generator)
    more = frames - said
    mouth = torch.cat((spoken.mouth[at], calm(random_mouths(more, generator))))
    expression = torch.cat((spoken.expression[at], random_expressions(more, generator)))
    expression[:said:3] = random_expressions(len(expression[:said:3]), generator)
    pose = torch.cat((spoken.pose[at], torch.zeros(more, spoken.pose.shape[1])))
    return Moments(mouth, expression, pose)


def _telling_moments(mouth: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices (count,) of a track (T, 6): each the most unlike those chosen, of a handful drawn at random."""
    chosen = [int(torch.randint(len(mouth), (), generator=generator))]
    while len(chosen) < count:
        some = torch.randint(len(mouth), (6,), generator=generator)
        apart = torch.cdist(mouth[some], mouth[chosen]).amin(1)
        chosen.append(int(some[apart.argmax()]))
    return torch.tensor(chosen)


def make_heads(
    data: Path,
    split: str,
    count: int,
    first: int = 0,
    frames: int = FRAMES,
    size: int = 256,
    part: tuple[int, int] = (0, 1),
    device: str = "cpu",
) -> list[Path]:
    """Render ``count`` identities of a split from ``first`` on; returns their shards, those of other parts too."""
    folder = data / "heads"
    folder.mkdir(parents=True, exist_ok=True)
    mine, parts = part
    starts = range(first, first + count, SHARD_HEADS)
    paths = {
        start: shard_path(folder, split, start, min(SHARD_HEADS, first + count - start), frames, size)
        for start in starts
    }
    missing = [start for start in starts[mine::parts] if not paths[start].exists()]
    if not missing:
        return list(paths.values())
    print(LICENCES, file=sys.stderr)
    kit, speech = Kit(), SpeechSet(data, split, SPEECH_CLIPS[split])
    with tqdm(total=len(missing) * SHARD_HEADS, desc=f"heads {split}", mininterval=5, file=sys.stderr) as bar:
        for start in missing:
            heads = min(SHARD_HEADS, first + count - start)
            if not paths[start].exists():  # another process may have been faster
                moments = [moments_of(start + k, speech, frames) for k in range(heads)]
                render_shard(paths[start], kit, split, start, moments, size, device)
            bar.update(heads)
    return list(paths.values())


def contact_sheet(items: Iterator[HeadItem], rows: int, columns: int) -> Image.Image:
    """References with frames beside them, a head a row."""
    lines = []
    for _, item in zip(range(rows), items, strict=False):
        frames = item.frames[: columns - 1]
        lines.append(torch.cat((item.reference[None], frames)).permute(2, 0, 3, 1).flatten(1, 2))
    return Image.fromarray(np.ascontiguousarray(torch.cat(lines).numpy()))


def sheet_of(paths: list[Path], rows: int = 12, columns: int = 8) -> Image.Image:
    """The contact sheet of the first shards that are there."""
    items = (item for path in paths if path.exists() for item in read_shard(path))
    return contact_sheet(items, rows, columns)


def make_all_heads(data: Path, identities: int, part: tuple[int, int] = (0, 1), device: str = "cpu") -> int:
    """Training heads, and a tenth as many (24 to 200) for validation and test; returns the exit code."""
    for split in SPLITS:
        count = identities if split == "train" else max(24, min(200, identities // 10))
        paths = make_heads(data, split, count, part=part, device=device)
        sheet_of(paths).save(data / "heads" / f"{split}.png")
    return 0
