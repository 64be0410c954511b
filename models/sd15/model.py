"""The whole model at SD1.5 size: autoencoder, sound encoder, ReferenceNet, denoiser, face locator and, for a
student, tokens. The twin of `models.avatar_model.AvatarModel` for presets of the layout "sd15".

In: a `Preset` and a role. Out: one module whose state dict is a checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.avatar_model import Role
from models.diffusion.guidance import ControlTokens
from models.presets import Preset
from models.sd15.face_locator import FaceLocator
from models.sd15.unet import Denoiser, ReferenceNet
from models.sd15.vae import SDVAE
from models.sd15.wav2vec import Wav2VecAudio
from models.sd15.whisper import WhisperAudio


class SD15Model(nn.Module):
    """Networks of one preset.

    Args:
        preset: of the layout "sd15".
        role: "student" adds CFG control layers and learnable tokens; a "teacher" has EchoMimic's keys exactly.
    """

    def __init__(self, preset: Preset, role: Role) -> None:
        super().__init__()
        if role not in ("teacher", "student"):
            raise ValueError(f"SD15Model: role must be 'teacher' or 'student', got '{role}'.")
        if preset.layout != "sd15":
            raise ValueError(f"SD15Model: expected a preset of layout sd15, got '{preset.name}'.")
        self.preset = preset
        self.role = role
        self.vae = SDVAE(preset.vae)
        self.audio: WhisperAudio | Wav2VecAudio = (
            WhisperAudio(preset.audio) if preset.audio.encoder == "whisper" else Wav2VecAudio(preset.audio)
        )
        self.reference_net = ReferenceNet(preset.unet)
        self.denoiser = Denoiser(preset.unet, control=role == "student")
        self.face_locator = FaceLocator(preset.unet.channels[0])
        self.tokens = (
            ControlTokens(preset.unet.control_tokens, preset.unet.control_width)
            if role == "student"
            else None
        )

    def control(self, s_ref: Tensor, s_aud: Tensor) -> Tensor | None:
        """Mixed CFG tokens (B, K, W) of scales (B,); None for a teacher, which answers for scales of 1."""
        return None if self.tokens is None else self.tokens(s_ref, s_aud)

    def parameter_count(self) -> dict[str, int]:
        """Elements of each part."""
        return {name: sum(p.numel() for p in part.parameters()) for name, part in self.named_children()}


def random_model(preset: Preset, seed: int = 0) -> SD15Model:
    """A student with random weights, for measuring and for tests of the whole path; it draws noise, no face."""
    torch.manual_seed(seed)
    return SD15Model(preset, "student").eval()
