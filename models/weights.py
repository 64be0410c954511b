"""Models in and out of files, and where a preset's weights come from: shipped, named, EchoMimic's, or random.

In: a path, or a preset's name and what the caller named. Out: a model in evaluation mode, in fp32. Random weights
are taken only where they were asked for by name. What a file looks like is `models.checkpoint`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from models.avatar_model import AvatarModel, Role
from models.build import AnyModel, build_model
from models.checkpoint import CheckpointError, load_strict, read_tensors, save_tensors
from models.presets import Preset, preset, shipped
from models.sd15.echomimic import load_echomimic

RANDOM: Final = "random"


def open_model(name: str, weights: Path | str | None = None, size: int | None = None) -> AnyModel:
    """The model of a preset.

    Args:
        name: of the preset.
        weights: a student checkpoint, a folder with EchoMimic's files (presets of its layout), or "random"; None
            takes the shipped checkpoint.
        size: side of the pictures; the canvas of presets of the layout sd15 is as large.

    Raises:
        ValueError: no such preset, or it takes no other size.
        CheckpointError: the weights are missing, broken or of another preset.
    """
    chosen = _sized(preset(name), size)
    if weights == RANDOM:
        torch.manual_seed(0)
        return build_model(chosen, "student").eval()
    path = shipped(name) if weights is None else Path(weights)
    if path.is_dir():
        return load_echomimic(path, chosen)
    if not path.exists() and chosen.layout == "sd15":
        raise CheckpointError(
            f"Preset '{name}' ships no weights and there are none at {path}; name a checkpoint or a folder with "
            f"EchoMimic's files with --weights (docs/base.md), or --weights {RANDOM} to try the path with noise."
        )
    model = load_any_model(path)
    if model.preset.name != name:
        raise CheckpointError(f"The weights {path} are of preset '{model.preset.name}', not '{name}'.")
    model.preset = _sized(model.preset, size)
    return model


def _sized(chosen: Preset, size: int | None) -> Preset:
    """The preset with the canvas for pictures of that size; only the layout sd15 has more than one."""
    return chosen if size is None or chosen.layout == "fada" else chosen.resized(size)


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
        save_tensors(part_path(path, number), tensors, config)


def part_path(path: Path, number: int) -> Path:
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
        tensors |= read_tensors(part_path(path, number))[0]
    try:
        made, role = Preset.from_dict(config["preset"]), cast(Role, config["role"])
        large = made.layout == "sd15"  # gigabytes: built without memory of its own
        with torch.device("meta" if large else "cpu"):
            model = build_model(made, role)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint {path} holds a configuration that does not fit: {error}"
        ) from error
    load_strict(model, tensors, path, assign=large)
    return model.to(device).eval()
