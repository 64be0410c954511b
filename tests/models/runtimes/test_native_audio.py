"""The audio encoder on this machine's own CPU kernels against its PyTorch form in fp64."""

from __future__ import annotations

import copy

import pytest
import torch

from kernels.native.kernels import Kernels
from models.modules.audio import AudioEncoder
from models.presets import preset
from models.runtimes.native_audio import NativeAudioEncoder, NativeLogMel, adopt_audio
from tests.tolerances import NATIVE_RMS


@pytest.mark.parametrize("rows", [1, 3])
def test_spectrum_and_features(rows: int) -> None:
    kernels, encoder = Kernels(), AudioEncoder(preset("small").audio).requires_grad_(False)
    audio = 0.1 * torch.randn(rows, encoder.cfg.context_samples + 9600)
    mel = encoder.logmel(audio)
    ours = NativeLogMel(encoder.logmel, kernels)(audio)
    torch.testing.assert_close(ours, mel, atol=1e-4, rtol=1e-4)  # a logarithm of small powers
    native = copy.deepcopy(encoder)
    adopt_audio(native, kernels)
    assert isinstance(native, NativeAudioEncoder)
    slices = encoder.slices(mel, 2)
    truth = encoder.double().encode_mel(slices.double())
    assert (native.encode_mel(slices) - truth).norm() <= NATIVE_RMS * truth.norm()
