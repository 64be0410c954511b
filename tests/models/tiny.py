"""A tiny preset and models with every layer awake, for tests of shape, state and arithmetic."""

from __future__ import annotations

import numpy as np
import torch

from models.avatar_model import AvatarModel, Role
from models.presets import AudioConfig, Preset, UNetConfig, VAEConfig


def tiny_preset() -> Preset:
    """Same geometry as the small preset, a hundredth of its work."""
    return Preset(
        name="tiny",
        audio=AudioConfig(channels=16, width=32),
        vae=VAEConfig(latent_channels=4, widths=(8, 16), blocks=1),
        unet=UNetConfig(
            latent_channels=4,
            channels=(16, 32),
            head_width=16,
            audio_width=32,
            context_width=16,
            groups=4,
            control_width=8,
        ),
    )


def tiny_model(role: Role = "student", seed: int = 0) -> AvatarModel:
    """A model in fp32 whose zero-initialised layers are made random, so that nothing hides behind a zero."""
    torch.manual_seed(seed)
    model = AvatarModel(tiny_preset(), role).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model


def buzz(seed: int, *shape: int) -> np.ndarray:
    """Sound (..., N) float32 that counts as a voice: a sawtooth, each row with its own pitch, and some noise."""
    random = np.random.default_rng(seed)
    pitch_hz = random.uniform(100, 250, (*shape[:-1], 1))
    saw = (np.arange(shape[-1]) * pitch_hz / 16_000) % 1.0 - 0.5
    return (0.3 * saw + random.normal(0, 0.01, shape)).astype(np.float32)
