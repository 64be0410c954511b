"""The streaming step's networks in PyTorch: plain, as a hop wants them, compiled, or on this machine's own kernels.

In: fp32 tensors. Out: fp32 tensors. `TorchNetworks` runs the modules in fp32 or bf16, channels-last; other runtimes
replace its networks one by one (`models.runtimes.onnx_networks`).
"""

from __future__ import annotations

import copy
import os

import torch
from torch import Tensor, nn

from kernels.machine import cache_root
from kernels.native.kernels import Kernels
from kernels.values import AbsorbedContext
from models.avatar_model import AvatarModel, channels_last
from models.modules.blocks import Bank
from models.modules.conv import ReferenceFeatures
from models.modules.unet import Conditions
from models.networks import WindowConditions, projected_banks
from models.runtimes.native_audio import NativeLogMel
from models.runtimes.native_modules import make_native


class TorchNetworks:
    """The modules themselves, on a device, in one dtype."""

    kernels: Kernels | None = None
    """This machine's CPU kernels, where the networks run on them; the head warp then does too."""

    def __init__(self, model: AvatarModel, device: torch.device, dtype: torch.dtype) -> None:
        if model.role != "student":
            raise ValueError(
                "Streaming needs a student (one branch, CFG tokens); this checkpoint is a teacher."
            )
        self.load(model, device, dtype)

    def load(self, model: AvatarModel, device: torch.device, dtype: torch.dtype) -> None:
        """Take a model of either role, to run on a device in one dtype."""
        self.preset = model.preset
        self.device, self.dtype = device, dtype
        self.model = model.to(device).eval().requires_grad_(False)
        self.twins = self.model.denoiser.transformers()
        self.logmel: nn.Module = copy.deepcopy(
            self.model.audio.logmel
        ).float()  # the spectrum needs its precision
        channels_last(self.model).to(dtype)

    def _in(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def encode_reference(self, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        picture = self._in(picture).contiguous(memory_format=torch.channels_last)
        latent = self.model.vae.encode(picture)
        still = self.model.reference_net.read_reference(latent)
        banks = tuple(
            twin.project_reference(bank.reference) for twin, bank in zip(self.twins, still, strict=True)
        )
        features = self.model.vae.reference(picture)
        if features is None:
            return latent.float(), banks, ()
        return latent.float(), banks, self.model.vae.decoder.mix_reference(features).levels

    def audio_features(self, audio: Tensor) -> Tensor:
        encoder = self.model.audio
        frames = encoder.frames_in(audio.shape[-1])
        mel = self.logmel(audio.to(self.device).float()).to(self.dtype)
        return encoder.encode_mel(encoder.slices(mel, frames)).unflatten(0, (audio.shape[0], frames))

    def motion_banks(self, motion: Tensor) -> tuple[Tensor, ...]:
        moving = self.read_motion(self._in(motion))
        return tuple(twin.project_motion(bank.motion) for twin, bank in zip(self.twins, moving, strict=True))

    def absorb_sound(self, audio: Tensor) -> tuple[AbsorbedContext, ...]:
        """Nothing: this denoiser makes its sound tokens together with those of the expression."""
        return ()

    def denoise(self, x_t: Tensor, t: Tensor, told: WindowConditions) -> Tensor:
        scales = self._in(told.scales)
        cond = self.conditions(told, self.model.control(scales[:, 0], scales[:, 1]))
        return self.predict(self._in(x_t), t.to(self.device), cond).float()

    def conditions(self, told: WindowConditions, control: Tensor | None = None) -> Conditions:
        """A window's conditions as the denoiser takes them."""
        banks = projected_banks(told.reference_banks, told.motion_banks)
        audio, expression, reference = map(self._in, (told.audio, told.expression, told.reference))
        return Conditions(audio, expression, reference, banks, control=control)

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        z = self._in(z).contiguous(memory_format=torch.channels_last)
        reference = ReferenceFeatures(self._in(picture), features, mixed=True) if features else None
        return self.paint(z, reference).float()

    # The three networks of a hop that other runtimes replace one by one.

    def read_motion(self, motion: Tensor) -> tuple[Bank, ...]:
        """Motion frames -> the ReferenceNet's banks."""
        return self.model.reference_net.read_motion(motion)

    def predict(self, x_t: Tensor, t: Tensor, cond: Conditions) -> Tensor:
        """One evaluation of the denoiser."""
        return self.model.denoiser(x_t, t, cond)

    def paint(self, z: Tensor, reference: ReferenceFeatures | None) -> Tensor:
        """Latents -> face boxes or moves."""
        return self.model.draw(z, reference)


class PlainNetworks(TorchNetworks):
    """The modules as PyTorch takes them by default, fp32 and NCHW: what every speed is measured against."""

    def __init__(self, model: AvatarModel, device: torch.device) -> None:
        super().__init__(model, device, torch.float32)
        for part in self.model.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.data = part.weight.data.contiguous()
        self.model.denoiser.layout = self.model.reference_net.layout = torch.contiguous_format

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        z, picture, *levels = (self._in(x).contiguous() for x in (z, picture, *features))
        return self.model.draw(z, ReferenceFeatures(picture, tuple(levels), mixed=True))


class NativeNetworks(TorchNetworks):
    """The modules on this machine's own CPU kernels (`kernels.native.kernels`), fp32, or with weights in bf16."""

    def __init__(self, model: AvatarModel, device: torch.device, half: bool = False) -> None:
        """Raises `kernels.native.kernels.NativeError` where the kernels cannot be had."""
        if device.type != "cpu":
            raise ValueError(f"The native backend runs on the CPU, got {device}; choose torch-bf16.")
        kernels = Kernels(half)
        super().__init__(model, device, torch.float32)
        self.kernels = kernels
        make_native(self.model, kernels)
        # the spectrum needs its precision
        self.logmel = NativeLogMel(self.model.audio.logmel, Kernels() if half else kernels)


class CompiledNetworks(TorchNetworks):
    """The modules through `torch.compile`; the first hop of each batch size compiles for a minute or more."""

    def __init__(
        self, model: AvatarModel, device: torch.device, dtype: torch.dtype, compiler: str = "inductor"
    ) -> None:
        """``compiler``: torch.compile's backend; what it makes is kept in the cache folder, not in the checkout."""
        super().__init__(model, device, dtype)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_root() / "inductor"))
        self._read_motion = torch.compile(
            self.model.reference_net.read_motion, backend=compiler, dynamic=False
        )
        self._denoise = torch.compile(self.model.denoiser, backend=compiler, dynamic=False)
        self._decode = torch.compile(self.model.draw, backend=compiler, dynamic=False)

    def read_motion(self, motion: Tensor) -> tuple[Bank, ...]:
        return self._read_motion(motion)

    def predict(self, x_t: Tensor, t: Tensor, cond: Conditions) -> Tensor:
        return self._denoise(x_t, t, cond)

    def paint(self, z: Tensor, reference: ReferenceFeatures | None) -> Tensor:
        return self._decode(z, reference)
