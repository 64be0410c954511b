"""Rendered heads on disk: N identities with a reference and T frames each, in shards that can be taken up again.

In: a folder, a split and numbers. Out: `HeadItem`s for training. A shard is named for what is in it
(`train-00000016x8-10-256.npz`: identities 16 to 23, 10 frames, 256 px) and depends on its name and on the speech
alone, so any number of processes may fill one folder. Frames are stored as they differ from the reference inside
the window, flow as 32nds of a pixel; both deflate well: about 90 kB a frame.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.corpus.heads.clips import HeadClip, make_clip
from distill.corpus.heads.head import WINDOW, Head
from distill.corpus.heads.kit import Kit
from models.face import CANVAS_PX

SHARD_HEADS: Final = 8
_STEPS: Final = 32
"""Of flow in a canvas pixel."""
_HOLE: Final = 0x80
"""The bit of a material that says that the reference does not show it."""


@dataclass(frozen=True, slots=True)
class HeadItem:
    """One identity: a reference and T frames over the canvas, and what is true of them.

    Attributes:
        reference: (3, H, W) uint8. frames: (T, 3, H, W) uint8.
        flow: (T, 2, H, W) float32 canvas px from a pixel of a frame to its point in the reference.
        hole: (T, H, W) bool: not to be had from the reference.
        matte: (1 + T, H, W) uint8 alpha of the person, the reference's first; material: alike.
        landmarks: (1 + T, 18, 2) canvas px. mouth: (T, 6). expression: (T, 4).
        reference_state: (11,) mouth, expression, smile. view: (3,) yaw, pitch, roll of the head, radians.
        pose: (T, 6) `POSE_DIMS` of the moments shown, for whoever warps the finished picture.
        meta: seed, split and traits in words.
    """

    reference: Tensor
    frames: Tensor
    flow: Tensor
    hole: Tensor
    matte: Tensor
    material: Tensor
    landmarks: Tensor
    mouth: Tensor
    expression: Tensor
    reference_state: Tensor
    view: Tensor
    pose: Tensor
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moments:
    """What the frames of one head shall show: mouth (T, 6), expression (T, 4), pose (T, 6)."""

    mouth: Tensor
    expression: Tensor
    pose: Tensor


def shard_path(folder: Path, split: str, first: int, count: int, frames: int, size: int) -> Path:
    """Where a shard lies."""
    return folder / f"{split}-{first:08d}x{count}-{frames}-{size}.npz"


def render_shard(
    path: Path, kit: Kit, split: str, first: int, moments: list[Moments], size: int, device: str = "cpu"
) -> None:
    """Render identities from ``first`` on, one for each of ``moments``, and write them whole or not at all.

    On CUDA all frames of a head are drawn together, on a CPU one by one.
    """
    packed: list[dict[str, Any]] = []
    for number, shown in enumerate(moments):
        head = Head(kit.traits(first + number, split), kit, size, device=device)
        at_once = 1 if device == "cpu" else len(shown.mouth)
        clip = make_clip(head, shown.mouth, shown.expression, at_once=at_once)
        packed.append({**_pack(clip), "pose": shown.pose.numpy().astype(np.float16)})
    arrays = {name: np.stack([item[name] for item in packed]) for name in packed[0]}
    partial = path.with_suffix(f".{os.getpid()}.part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array))
    partial.replace(path)


def read_shard(path: Path) -> list[HeadItem]:
    """The identities of a shard.

    Raises:
        FileNotFoundError: there is no such shard.
    """
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return [_unpack({name: array[i] for name, array in arrays.items()}) for i in range(len(arrays["meta"]))]


def _window(size: int, window: npt.NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns of a window, canvas px, in pictures of ``size``."""
    left, top, width, height = (round(int(v) * size / CANVAS_PX) for v in window)
    return slice(top, top + height), slice(left, left + width)


def _pack(clip: HeadClip) -> dict[str, Any]:
    """A clip as arrays; differences wrap round, so that they stay bytes."""
    rows, columns = _window(clip.reference.shape[0], np.array(WINDOW))
    reference = clip.reference.numpy()
    frames = clip.frames.numpy()[:, rows, columns] - reference[rows, columns]
    flow = (clip.truth.flow[:, :, rows, columns] * _STEPS).round().clamp(-32768, 32767).short().numpy()
    material = clip.truth.material | (clip.truth.hole.byte() * _HOLE)
    own = clip.reference_truth
    landmarks = torch.cat((own.landmarks, clip.truth.landmarks))
    return {
        "window": np.array(WINDOW, np.int16),
        "reference": reference,
        "frames": frames,
        "flow": np.diff(flow, axis=-1, prepend=np.int16(0)).astype(np.int16),
        "material": material.numpy()[:, rows, columns],
        "matte": (clip.truth.matte * 255).round().byte().numpy()[:, rows, columns],
        "reference_material": own.material[0].numpy(),
        "reference_matte": (own.matte[0] * 255).round().byte().numpy(),
        "landmarks": landmarks.numpy().astype(np.float16),
        "mouth": clip.mouth.numpy().astype(np.float16),
        "expression": clip.expression.numpy().astype(np.float16),
        "reference_state": clip.reference_state.numpy().astype(np.float16),
        "view": clip.view.numpy().astype(np.float16),
        "meta": np.array(json.dumps(clip.meta)),
    }


def _unpack(one: dict[str, npt.NDArray[Any]]) -> HeadItem:
    size, count = one["reference"].shape[0], len(one["frames"])
    rows, columns = _window(size, one["window"])

    def laid(whole: npt.NDArray[Any], window: npt.NDArray[Any]) -> Tensor:
        out = np.repeat(whole[None], count, 0)
        out[:, rows, columns] = window
        return torch.from_numpy(out)

    reference = one["reference"]
    frames = laid(reference, one["frames"] + reference[rows, columns])
    flow = torch.zeros(count, 2, size, size)
    flow[:, :, rows, columns] = torch.from_numpy(np.cumsum(one["flow"], -1, dtype=np.int16)).float() / _STEPS
    material = laid(one["reference_material"], one["material"])
    matte = laid(one["reference_matte"], one["matte"])
    floats = {
        name: torch.from_numpy(one[name].astype(np.float32))
        for name in ("landmarks", "mouth", "expression", "reference_state", "view", "pose")
    }
    return HeadItem(
        reference=torch.from_numpy(reference).permute(2, 0, 1),
        frames=frames.permute(0, 3, 1, 2),
        flow=flow,
        hole=(material & _HOLE) > 0,
        matte=torch.cat((torch.from_numpy(one["reference_matte"])[None], matte)),
        material=torch.cat((torch.from_numpy(one["reference_material"])[None], material & ~_HOLE)),
        meta=json.loads(str(one["meta"])),
        **floats,
    )
