"""The option torch-fp8 on a CPU, where it rounds as a GPU would: how much it changes, and on whose networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.hop import HopControls
from models.presets import HopChoice
from models.runtimes.backends import load_networks
from models.runtimes.calibration import TOLERANCES
from models.runtimes.fp8_modules import Fp8Conv2d, Fp8Linear, make_fp8
from models.streaming import Streamer
from models.weights import open_model
from tests.models.sd15.small_base import thin_model

CPU = torch.device("cpu")


def _latents(backend: str) -> torch.Tensor:
    model = open_model("small", None, None)
    model.preset = HopChoice().applied(model.preset)
    streamer = Streamer(load_networks(model, CPU, backend), CPU)
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    sound = np.random.default_rng(1).normal(0, 0.1, (1, model.preset.window_samples)).astype(np.float32)
    states = [streamer.open(picture, 0)]
    for _ in range(2):
        states, _, _ = streamer.hop(states, sound, HopControls(1.4, 1.0, 1))
    return states[0].motion


def test_the_shipped_student_changes_a_little_and_no_more() -> None:
    exact, rounded = _latents("torch-fp32"), _latents("torch-fp8")
    difference = ((rounded - exact).norm() / exact.norm()).item()
    assert 1e-3 < difference <= TOLERANCES["torch-fp8"]


def test_convolutions_and_linear_layers_of_both_layouts_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.runtimes.fp8_modules.LEAST_CHANNELS", 16)  # the thin base has no layer of 64
    for model in (open_model("small", None, None), thin_model()):
        assert make_fp8(model) > 0
        assert {Fp8Conv2d, Fp8Linear} <= {type(part) for part in model.denoiser.modules()}
        kept = [
            name for name, part in model.denoiser.named_modules() if isinstance(part, Fp8Conv2d | Fp8Linear)
        ]
        assert not any({"cross", "attn2", "control"} & set(name.split(".")) for name in kept)
        assert not any(name in ("enter", "leave", "conv_in", "conv_out") for name in kept)


def test_a_gpu_without_8_bit_tensor_cores_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.runtimes.backends.multiplies_fp8", lambda device: False)
    with pytest.raises(ValueError, match=r"compute capability 8\.9"):
        load_networks(thin_model(), CPU, "torch-fp8")
