"""A preset and a role to a model: the one place that knows which layout has which class."""

from __future__ import annotations

from models.avatar_model import AvatarModel, Role
from models.presets import Preset
from models.sd15.model import SD15Model

AnyModel = AvatarModel | SD15Model


def build_model(preset: Preset, role: Role) -> AnyModel:
    """A model with fresh weights."""
    return AvatarModel(preset, role) if preset.layout == "fada" else SD15Model(preset, role)
