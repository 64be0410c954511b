"""The whole model of a preset: autoencoder, audio encoder, ReferenceNet, denoiser and, for a student, tokens.

In: a `Preset` and a role. Out: one module whose state dict is a checkpoint.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from models.diffusion.guidance import ControlTokens
from models.modules.audio import AudioEncoder
from models.modules.conv import ReferenceFeatures
from models.modules.unet import Denoiser, ReferenceNet
from models.modules.vae import VAE
from models.presets import Preset

Role = Literal["teacher", "student"]
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class AvatarModel(nn.Module):
    """Networks of one preset; ``role`` "student" adds CFG control layers and learnable tokens."""

    def __init__(self, preset: Preset, role: Role) -> None:
        super().__init__()
        if role not in ("teacher", "student"):
            raise ValueError(f"AvatarModel: role must be 'teacher' or 'student', got '{role}'.")
        self.preset = preset
        self.role = role
        self.vae = VAE(preset.vae)
        self.audio = AudioEncoder(preset.audio)
        self.reference_net = ReferenceNet(preset.unet)
        self.denoiser = Denoiser(preset.unet, control=role == "student")
        self.tokens = (
            ControlTokens(preset.unet.control_tokens, preset.unet.control_width)
            if role == "student"
            else None
        )

    def control(self, s_ref: Tensor, s_aud: Tensor) -> Tensor:
        """Mixed CFG tokens (B, K, W) of scales (B,); only a student has them."""
        if self.tokens is None:
            raise ValueError("Only a student has CFG tokens; this model is a teacher.")
        return self.tokens(s_ref, s_aud)

    def draw(self, z: Tensor, reference: ReferenceFeatures | None) -> Tensor:
        """What the decoder says of latents (N, C, h, w), as `models.networks.Networks.decode` gives it."""
        if not self.preset.moves:
            return self.vae.decode(z, reference)
        assert reference is not None
        return self.vae.packed_moves(z, reference, self.preset.canvas_px)

    def parameter_count(self) -> dict[str, int]:
        """Elements of each part."""
        return {name: sum(p.numel() for p in part.parameters()) for name, part in self.named_children()}


def channels_last(model: ModuleT) -> ModuleT:
    """Convolution weights in channels-last memory, the layout that CPU and GPU kernels want."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def weights_digest(model: AvatarModel) -> str:
    """16 hexadecimal digits that tell a model's preset, role and weights from any other's."""
    digest = hashlib.sha256(repr((model.preset, model.role)).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.float().contiguous().numpy(force=True).tobytes())
    return digest.hexdigest()[:16]
