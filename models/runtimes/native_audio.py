"""The audio encoder on this machine's own CPU kernels: its convolutions and its spectrum as matrix products.

In: an `AudioEncoder` or a `LogMel` in fp32. Out: the same with its products in `kernels.native.kernels`.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.native.kernels import COLUMNS, Kernels
from models.modules.audio import AudioEncoder, LogMel


class NativeLogMel(nn.Module):
    """`LogMel` as two matrix products."""

    basis: Tensor
    filters: Tensor

    def __init__(self, logmel: LogMel, kernels: Kernels) -> None:
        super().__init__()
        self.cfg, self.kernels = logmel.cfg, kernels
        basis, filters = logmel.basis.squeeze(1), logmel.filters
        self.bins, self.mels = len(basis), len(filters)
        for name, weight in (("basis", basis), ("filters", filters)):
            weight = F.pad(weight, (0, 0, 0, -len(weight) % COLUMNS))
            self.register_buffer(name, kernels.keep(kernels.columns(weight)), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """See `LogMel`."""
        columns = audio.unfold(-1, self.cfg.window_samples, self.cfg.step_samples)
        spectrum = self.kernels.linear(columns, self.basis, None)[..., : self.bins]
        real, imaginary = spectrum.chunk(2, dim=-1)
        power = torch.addcmul(real.square(), imaginary, imaginary)
        mel = self.kernels.linear(power, self.filters, None)[..., : self.mels]
        return ((torch.log(mel + 1e-4) + 4.0) / 4.0).transpose(1, 2)


class NativeAudioEncoder(AudioEncoder):
    """`AudioEncoder` whose convolutions are matrix products over their patches, with GELU riding along."""

    kernels: Kernels
    packed: list[tuple[Tensor, Tensor]]

    def encode_mel(self, slices: Tensor) -> Tensor:
        """See `AudioEncoder.encode_mel`."""
        x = slices.transpose(1, 2)  # (N, columns, C)
        for (weight, bias), stride in zip(self.packed, (1, 2, 2, 2), strict=True):
            padded = F.pad(x, (0, 0, 2, 2)).unfold(1, 5, stride)  # (N, columns / stride, C, 5)
            patches = padded.transpose(2, 3).flatten(2)  # (N, columns / stride, 5 C), as they lie
            x = self.kernels.linear(patches, weight, bias, gelu=True)
        x = F.gelu(self.leave(self.norm(x.transpose(1, 2).flatten(1))))
        return x + F.gelu(self.hidden(x))


def adopt_audio(encoder: AudioEncoder, kernels: Kernels) -> None:
    """Give an audio encoder its matrix products, where its width allows it."""
    convs = (encoder.enter, *encoder.convs)
    shapes = [(conv.kernel_size, conv.padding, conv.groups) for conv in convs]
    strides = [conv.stride for conv in convs] == [(1,), (2,), (2,), (2,)]
    if not strides or set(shapes) != {((5,), (2,), 1)} or encoder.enter.out_channels % COLUMNS:
        return
    encoder.__class__ = NativeAudioEncoder
    native = cast(NativeAudioEncoder, encoder)
    native.kernels = kernels
    native.packed = [
        (
            kernels.keep(kernels.columns(conv.weight.detach().transpose(1, 2).flatten(1))),
            conv.bias.detach().float(),
        )
        for conv in convs
    ]
