"""What the streaming step asks of the networks.

In: fp32 tensors. Out: fp32 tensors. Who answers: `models.runtimes.torch_networks` and `.onnx_networks`, and for
EchoMimic's layout `models.sd15.networks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from kernels.values import AbsorbedContext
from models.modules.blocks import Bank
from models.presets import Preset


@dataclass(frozen=True, slots=True)
class WindowConditions:
    """What steers every evaluation of one window; B rows are sessions."""

    audio: Tensor  # of `Networks.audio_features`
    expression: Tensor  # (B, T, expression_dims)
    reference: Tensor  # (B, C, h, w): latent of the reference picture
    reference_banks: tuple[Tensor, ...]
    motion_banks: tuple[Tensor, ...]
    scales: Tensor  # (B, 2) of (reference, audio)
    sound: tuple[AbsorbedContext, ...] = ()  # ``audio`` of `Networks.absorb_sound`


class Networks(Protocol):
    """The student's networks as plain calls; B rows are sessions."""

    preset: Preset

    def encode_reference(self, picture: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Face box (1, 3, h, w) -> latent (1, C, h, w), keys and values per block (1, L, 2C), decoder features."""
        ...

    def audio_features(self, audio: Tensor) -> Tensor:
        """Windows (B, N) -> (B, T, width)."""
        ...

    def motion_banks(self, motion: Tensor) -> tuple[Tensor, ...]:
        """Motion frames (B, M, C, h, w) -> keys and values per block (B, M, L, 2C)."""
        ...

    def absorb_sound(self, audio: Tensor) -> tuple[AbsorbedContext, ...]:
        """Features of `audio_features` -> `WindowConditions.sound`, where the networks have a use for it."""
        ...

    def denoise(self, x_t: Tensor, t: Tensor, told: WindowConditions) -> Tensor:
        """x_t (B, T, C, h, w), t (B,) -> what the preset's sampler takes
        (`models.diffusion.samplers.sampler_of`): x_0 or v, like x_t.
        """
        ...

    def decode(self, z: Tensor, picture: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Latents (N, C, h, w) over reference pictures and features of N rows -> face boxes (N, 3, H, W).

        Of a preset that `moves`: -> moves (N, H, W, 8) of `models.modules.mover.packed`; no picture is looked at.
        """
        ...


def projected_banks(
    reference_banks: tuple[Tensor, ...], motion_banks: tuple[Tensor, ...]
) -> tuple[Bank, ...]:
    """Banks of what `Networks.encode_reference` and `Networks.motion_banks` gave."""
    return tuple(Bank(r, m, projected=True) for r, m in zip(reference_banks, motion_banks, strict=True))
