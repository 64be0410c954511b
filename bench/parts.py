"""A training state in files of bounded size, so that it travels where large files do not.

In flow a `state.pt` of `distill.loop`; out flow `NAME.00`, `NAME.01`, … and back. Optimiser moments and
averaged weights are stored in bf16, which halves them; the weights themselves stay as they are. Restoring
such a state is not bit-exact in those two, and training does not notice.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_NARROWED = ("ema", "optimizer")


def split_state(state: Path, folder: Path, name: str, *, part_bytes: int, most: int) -> list[Path]:
    """Write a state's parts in place of those from before.

    Args:
        state: file to read.
        folder: where the parts go.
        name: of the parts, before their number.
        part_bytes: size of a part at most.
        most: number of parts at most.

    Returns:
        The parts written.

    Raises:
        ValueError: the state needs more parts than that; the parts from before stay.
    """
    content = torch.load(state, map_location="cpu", weights_only=True)
    narrowed = {key: _narrow(value) if key in _NARROWED else value for key, value in content.items()}
    buffer = io.BytesIO()
    torch.save(narrowed, buffer)
    whole = buffer.getvalue()
    needed = -(-len(whole) // part_bytes)
    if needed > most:
        raise ValueError(
            f"expected a state of at most {most} parts of {part_bytes / 2**20:.0f} MiB, "
            f"got {len(whole) / 2**20:.0f} MiB; only the weights are kept."
        )
    for old in find_parts(folder, name):
        old.unlink()
    parts = [folder / f"{name}.{index:02d}" for index in range(needed)]
    for index, part in enumerate(parts):
        part.write_bytes(whole[index * part_bytes : (index + 1) * part_bytes])
    return parts


def join_state(folder: Path, name: str, state: Path) -> bool:
    """Put the parts together again.

    Returns:
        Whether there were any.
    """
    parts = find_parts(folder, name)
    if not parts:
        return False
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_bytes(b"".join(part.read_bytes() for part in parts))
    return True


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
