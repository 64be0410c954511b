"""Checkpoints: safetensors with the configuration inside and strict keys.

In: a path. Out: tensors and their configuration, or one clear `CheckpointError`; models: `models.weights`. A file
is written beside its final name and then renamed, so that a killed run never leaves half a checkpoint.

CheckpointError: the file is missing, cut off, of another kind, or does not fit its own configuration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = "fada-live/1"


class CheckpointError(Exception):
    """A checkpoint cannot be read; the message says what was expected and what came."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write tensors and a JSON configuration to ``path`` atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": FORMAT, "config": json.dumps(dict(config))}
    partial = path.with_name(path.name + ".partial")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, str(partial), metadata)
    os.replace(partial, path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and configuration of a checkpoint.

    Raises:
        CheckpointError: missing, truncated, not safetensors, or not of this project.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}; train one or restore the shipped weights.")
    try:
        with safe_open(str(path), framework="pt") as source:
            metadata = source.metadata() or {}
            tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be read ({error}); it may be cut off: restore or retrain it."
        ) from error
    if metadata.get("format") != FORMAT or "config" not in metadata:
        raise CheckpointError(
            f"The checkpoint {path} is not of format {FORMAT} (found {metadata.get('format')!r})."
        )
    return tensors, cast(dict[str, Any], json.loads(metadata["config"]))


def load_strict(
    module: nn.Module, tensors: Mapping[str, Tensor], origin: object, assign: bool = False
) -> None:
    """Load with every key accounted for and every shape equal.

    Args:
        module: to be filled.
        tensors: by key.
        origin: for messages.
        assign: take the tensors themselves in fp32, for a module on "meta"; else copy into the module's own.

    Raises:
        CheckpointError: names the first missing, unexpected or mis-shaped keys.
    """
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    surplus = sorted(set(tensors) - set(wanted))
    wrong = sorted(k for k in set(wanted) & set(tensors) if wanted[k].shape != tensors[k].shape)
    if missing or surplus or wrong:
        raise CheckpointError(
            f"The checkpoint {origin} does not fit: {len(missing)} keys missing {missing[:3]}, "
            f"{len(surplus)} unexpected {surplus[:3]}, {len(wrong)} of another shape {wrong[:3]}."
        )
    module.load_state_dict({k: v.to(wanted[k].dtype) for k, v in tensors.items()}, assign=assign)
