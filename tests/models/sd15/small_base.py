"""The base preset with thin layers: every class and every path of SD1.5's layout, a thousandth of the work."""

from __future__ import annotations

import dataclasses

import torch

from models.avatar_model import Role
from models.presets import Preset, preset
from models.sd15.model import SD15Model


def thin_base(name: str = "base", size: int = 64) -> Preset:
    """``name`` at ``size`` px with 32 to 64 channels; Whisper stays what it is."""
    base = preset(name).resized(size)
    return dataclasses.replace(
        base,
        vae=dataclasses.replace(base.vae, widths=(32, 32, 32, 32)),
        unet=dataclasses.replace(base.unet, channels=(32, 32, 64, 64), heads=4, groups=8, control_width=8),
        stream=dataclasses.replace(base.stream, nfe=1, max_batch=2),
    )


def thin_model(role: Role = "student", name: str = "base", seed: int = 0) -> SD15Model:
    """Random weights, with every zero-initialised layer awake."""
    torch.manual_seed(seed)
    model = SD15Model(thin_base(name), role).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model
