"""A training state in files of bounded size, so that it travels where large files do not.

In flow a `state.pt` of `distill.training.loop`; out flow `NAME.00`, `NAME.01`, … and back. As much is
kept as fits, in this order of sacrifice: Adam's second moments and the averaged weights go to bf16, and
so do its first moments; then the first moments go (they are back after ten steps); then the weights
themselves go to bf16.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SACRIFICES = ("moments in bf16", "first moments left out", "weights in bf16")


def split_state(state: Path, folder: Path, name: str, *, part_bytes: int, most: int) -> str:
    """Write a state's parts in place of those from before.

    Args:
        state: file to read.
        folder: where the parts go.
        name: of the parts, before their number.
        part_bytes: size of a part at most.
        most: number of parts at most.

    Returns:
        What was given up for it, the last of `SACRIFICES` that was needed.

    Raises:
        ValueError: the state needs more parts than that; the parts from before stay.
    """
    content = torch.load(state, map_location="cpu", weights_only=True)
    level, whole = 0, _pack(content, 0)
    while len(whole) > part_bytes * most and level + 1 < len(SACRIFICES):
        level += 1
        whole = _pack(content, level)
    if len(whole) > part_bytes * most:
        raise ValueError(
            f"expected a state of at most {most} files of {part_bytes / 1e6:.0f} MB, "
            f"got {len(whole) / 1e6:.0f} MB; only the model is kept."
        )
    for old in find_parts(folder, name):
        old.unlink()
    for index, start in enumerate(range(0, len(whole), part_bytes)):
        (folder / f"{name}.{index:02d}").write_bytes(whole[start : start + part_bytes])
    return SACRIFICES[level]


def join_state(folder: Path, name: str, state: Path) -> bool:
    """Put the parts together again, as `distill.training.loop` reads them.

    Returns:
        Whether there were any.
    """
    parts = find_parts(folder, name)
    if not parts:
        return False
    whole = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    content = torch.load(whole, map_location="cpu", weights_only=True)
    for moments in content["optimizer"]["state"].values():
        if moments["exp_avg"] is None:
            moments["exp_avg"] = torch.zeros_like(moments["exp_avg_sq"])
    state.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, state)
    return True


def _pack(content: dict[str, Any], level: int) -> bytes:
    packed = {**content, "ema": _narrow(content["ema"]), "optimizer": _narrow(content["optimizer"])}
    if level >= 1:
        for moments in packed["optimizer"]["state"].values():
            moments["exp_avg"] = None
    if level >= 2:
        packed["module"] = _narrow(content["module"])
    buffer = io.BytesIO()
    torch.save(packed, buffer)
    return buffer.getvalue()


def find_parts(folder: Path, name: str) -> list[Path]:
    """The parts of that name, in order."""
    return sorted(path for path in folder.glob(f"{name}.*") if path.suffix[1:].isdigit())


def _narrow(value: Any) -> Any:
    """fp32 tensors with more than one element as bf16, through lists and dicts."""
    if isinstance(value, Tensor):
        return value.to(torch.bfloat16) if value.dtype == torch.float32 and value.numel() > 1 else value
    if isinstance(value, dict):
        return {key: _narrow(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_narrow(inner) for inner in value]
    return value
