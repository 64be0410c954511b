"""What the streaming step asks of the networks, answered at SD1.5 size.

In: fp32 tensors. Out: fp32 tensors. The same protocol as the small preset's (`models.networks.Networks`), so the
stream, the engine and the server do not know which of them they run. What stays as it is in a session is computed
once: the reference's keys and values when it opens, the face map when the networks are loaded.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from kernels.values import AbsorbedContext
from models.avatar_model import channels_last
from models.networks import WindowConditions
from models.sd15.face_locator import region_mask
from models.sd15.model import SD15Model
from models.sd15.unet import Conditions
from models.sd15.whisper import WhisperAudio


class SD15Networks:
    """The modules themselves, on a device, in one dtype."""

    def __init__(self, model: SD15Model, device: torch.device, dtype: torch.dtype) -> None:
        self.preset = model.preset
        self.device, self.dtype = device, dtype
        self.model = model.eval().requires_grad_(False)
        sound = self.model.audio
        # The spectrum needs its precision, so its tables stay in fp32 while the model is converted.
        self._mel: nn.Module | None = (
            copy.deepcopy(sound.mel).float().to(device) if isinstance(sound, WhisperAudio) else None
        )
        channels_last(self.model).to(device, dtype)
        mask = region_mask(self.preset.canvas_px, self.preset.face_region)
        with torch.inference_mode():
            self._face = self.model.face_locator(self._in(mask))  # (1, C0, h, w)

    def _in(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def encode_reference(self, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Picture (1, 3, H, W) -> latent (1, C, h, w), keys and values per transformer (1, L, 2C), no features."""
        picture = self._in(picture).contiguous(memory_format=torch.channels_last)
        latent = self.model.vae.encode(picture)
        banks = self.model.reference_net.read_reference(latent)
        return latent.float(), self.model.denoiser.reference_kv(banks), ()

    def audio_features(self, audio: Tensor) -> Tensor:
        """Windows (B, N) -> tokens (B, T, K, width)."""
        audio = audio.to(self.device).float()
        prepared = self.model.audio.spectrum(audio) if self._mel is None else self._mel(audio)
        return self.model.audio.tokens(prepared.to(self.dtype))

    def motion_banks(self, motion: Tensor) -> tuple[Tensor, ...]:
        """Motion frames (B, M, C, h, w) -> tokens per motion module (B, M, L, C)."""
        return self.model.reference_net.read_motion(self._in(motion))

    def absorb_sound(self, audio: Tensor) -> tuple[AbsorbedContext, ...]:
        """Tokens (B, T, K, width) with every transformer's projections inside, where the kernel runs."""
        return self.model.denoiser.absorb_sound(self._in(audio))

    def denoise(self, x_t: Tensor, t: Tensor, told: WindowConditions) -> Tensor:
        """x_t (B, T, C, h, w), t (B,) in 0..999 -> v like x_t.

        Expression and the reference's latent are the small preset's: SD1.5's layout has no place for them.
        """
        scales = self._in(told.scales)
        control = self.model.control(scales[:, 0], scales[:, 1])
        cond = Conditions(
            self._in(told.audio), self._face, told.reference_banks, told.motion_banks,
            control=control, sound=told.sound,
        )  # fmt: skip
        return self.model.denoiser(self._in(x_t), t.to(self.device), cond).float()

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Latents (N, C, h, w) -> pictures (N, 3, H, W); the reference picture is not looked at."""
        z = self._in(z).contiguous(memory_format=torch.channels_last)
        return self.model.vae.decode(z).float()
