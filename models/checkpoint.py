"""Checkpoints: safetensors with the configuration inside and strict keys.

In: a path. Out: an `AvatarModel`, or one clear `CheckpointError`. A file is written beside its final name and
then renamed, so that a killed run never leaves half a checkpoint.

CheckpointError: the file is missing, cut off, of another kind, or does not fit its own configuration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.avatar_model import AvatarModel, Role
from models.build import AnyModel, build_model
from models.presets import Preset

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


def save_model(
    path: Path,
    model: AnyModel,
    dtype: torch.dtype = torch.float32,
    file_bytes: int | None = None,
    **notes: Any,
) -> None:
    """Write a model with its preset, role and notes (how it was made).

    Args:
        path: of the first file.
        model: what to write.
        dtype: of floating-point tensors in the file.
        file_bytes: start another file (``NAME.2.safetensors``, …) when one would grow past this; None never does.
        notes: kept in the configuration.
    """
    files: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, value in model.state_dict().items():
        tensor = value.to(dtype) if value.is_floating_point() else value
        if file_bytes is not None and files[-1] and size + tensor.nbytes > file_bytes:
            files.append({})
            size = 0
        files[-1][key] = tensor
        size += tensor.nbytes
    config = {"preset": model.preset.to_dict(), "role": model.role, "files": len(files), "notes": notes}
    for number, tensors in reversed(
        list(enumerate(files, start=1))
    ):  # the first file last: it names the others
        save_tensors(_part(path, number), tensors, config)


def _part(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_suffix(f".{number}{path.suffix}")


def load_model(path: Path, device: torch.device | str = "cpu") -> AvatarModel:
    """Read a model of this project's own layout in fp32, in evaluation mode.

    Raises:
        CheckpointError: see `load_any_model`; or the model is of another layout.
    """
    model = load_any_model(path, device)
    if not isinstance(model, AvatarModel):
        raise CheckpointError(
            f"The checkpoint {path} is of preset '{model.preset.name}'; expected one of the small preset's layout."
        )
    return model


def load_any_model(path: Path, device: torch.device | str = "cpu") -> AnyModel:
    """Read a model of any layout in fp32, in evaluation mode.

    Raises:
        CheckpointError: see `read_tensors` and `load_strict`.
    """
    tensors, config = read_tensors(path)
    for number in range(2, int(config.get("files", 1)) + 1):
        tensors |= read_tensors(_part(path, number))[0]
    try:
        preset, role = Preset.from_dict(config["preset"]), cast(Role, config["role"])
        large = preset.layout == "sd15"  # gigabytes: built without memory of its own
        with torch.device("meta" if large else "cpu"):
            model = build_model(preset, role)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint {path} holds a configuration that does not fit: {error}"
        ) from error
    load_strict(model, tensors, path, assign=large)
    return model.to(device).eval()
