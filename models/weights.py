"""Where a preset's weights come from: the shipped file, a named one, EchoMimic's files, or random numbers.

In: a preset's name and what the caller named. Out: a model in evaluation mode, in fp32. Random weights are taken
only where they were asked for by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from models.build import AnyModel, build_model
from models.checkpoint import CheckpointError, load_any_model
from models.presets import preset
from models.sd15.echomimic import load_echomimic

WEIGHTS: Final = Path(__file__).resolve().parent.parent / "weights"
"""Shipped weights: ``weights/PRESET/student.safetensors``."""

RANDOM: Final = "random"


def open_model(name: str, weights: Path | str | None = None, size: int | None = None) -> AnyModel:
    """The model of a preset.

    Args:
        name: of the preset.
        weights: a student checkpoint, a folder with EchoMimic's files (presets of its layout), or "random"; None
            takes the shipped checkpoint.
        size: side of the canvas in pixels; None takes the preset's.

    Raises:
        ValueError: no such preset, or it takes no other size.
        CheckpointError: the weights are missing, broken or of another preset.
    """
    chosen = preset(name) if size is None else preset(name).resized(size)
    if weights == RANDOM:
        torch.manual_seed(0)
        return build_model(chosen, "student").eval()
    path = WEIGHTS / name / "student.safetensors" if weights is None else Path(weights)
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
    if size is not None:
        model.preset = model.preset.resized(size)
    return model
