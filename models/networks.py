"""What the streaming step asks of the networks, and its PyTorch answer.

In: fp32 tensors. Out: fp32 tensors. `TorchNetworks` runs the modules in fp32 or bf16, channels-last; another
runtime (`models.onnx_networks`) answers the same protocol.
"""

from __future__ import annotations

import copy
from typing import Protocol

import torch
from torch import Tensor

from models.avatar_model import AvatarModel, channels_last
from models.blocks import Bank
from models.presets import Preset
from models.unet import Conditions
from models.vae import ReferenceFeatures


class Networks(Protocol):
    """The student's networks as plain calls; B rows are sessions."""

    preset: Preset

    def encode_reference(self, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Face box (1, 3, h, w) -> (latent (1, C, h, w), banks per block (1, L, C), decoder features)."""
        ...

    def audio_features(self, audio: Tensor) -> Tensor:
        """Windows (B, N) -> (B, T, width)."""
        ...

    def motion_banks(self, motion: Tensor) -> tuple[Tensor, ...]:
        """Motion frames (B, M, C, h, w) -> per block (B, M, L, C)."""
        ...

    def denoise(
        self,
        x_t: Tensor,
        t: Tensor,
        audio: Tensor,
        expression: Tensor,
        reference: Tensor,
        reference_banks: tuple[Tensor, ...],
        motion_banks: tuple[Tensor, ...],
        scales: Tensor,
    ) -> Tensor:
        """x_t (B, T, C, h, w), t (B,), scales (B, 2) of (reference, audio) -> what the preset's sampler takes
        (`models.samplers.sampler_of`): x_0 or v, like x_t.
        """
        ...

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Latents (N, C, h, w) over reference pictures and features of N rows -> face boxes (N, 3, H, W)."""
        ...


class TorchNetworks:
    """The modules themselves, on a device, in one dtype."""

    def __init__(self, model: AvatarModel, device: torch.device, dtype: torch.dtype) -> None:
        if model.role != "student":
            raise ValueError(
                "Streaming needs a student (one branch, CFG tokens); this checkpoint is a teacher."
            )
        self.preset = model.preset
        self.device, self.dtype = device, dtype
        self.model = model.to(device).eval().requires_grad_(False)
        self.logmel = copy.deepcopy(self.model.audio.logmel).float()  # the spectrum needs its precision
        channels_last(self.model).to(dtype)

    def _in(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def encode_reference(self, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        picture = self._in(picture).contiguous(memory_format=torch.channels_last)
        latent = self.model.vae.encode(picture)
        banks = tuple(bank.reference for bank in self.model.reference_net.read_reference(latent))
        features = self.model.vae.reference(picture)
        return latent.float(), banks, () if features is None else features.levels

    def audio_features(self, audio: Tensor) -> Tensor:
        encoder = self.model.audio
        frames = encoder.frames_in(audio.shape[-1])
        mel = self.logmel(audio.to(self.device).float()).to(self.dtype)
        return encoder.encode_mel(encoder.slices(mel, frames)).unflatten(0, (audio.shape[0], frames))

    def motion_banks(self, motion: Tensor) -> tuple[Tensor, ...]:
        return tuple(bank.motion for bank in self.model.reference_net.read_motion(self._in(motion)))

    def denoise(
        self,
        x_t: Tensor,
        t: Tensor,
        audio: Tensor,
        expression: Tensor,
        reference: Tensor,
        reference_banks: tuple[Tensor, ...],
        motion_banks: tuple[Tensor, ...],
        scales: Tensor,
    ) -> Tensor:
        scales = self._in(scales)
        banks = tuple(Bank(r, m) for r, m in zip(reference_banks, motion_banks, strict=True))
        control = self.model.control(scales[:, 0], scales[:, 1])
        cond = Conditions(self._in(audio), self._in(expression), self._in(reference), banks, control=control)
        return self.model.denoiser(self._in(x_t), t.to(self.device), cond).float()

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        z = self._in(z).contiguous(memory_format=torch.channels_last)
        reference = ReferenceFeatures(self._in(picture), features) if features else None
        return self.model.vae.decode(z, reference).float()
