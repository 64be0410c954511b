"""The ONNX graphs say what PyTorch says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.networks import TorchNetworks
from models.onnx_networks import OnnxNetworks, cache_folder, choose_providers, export_graphs
from models.streaming import HopControls, Streamer
from tests.models.tiny import tiny_model
from tests.tolerances import ONNX_EQUALS_TORCH


def test_graphs_and_whole_hops_equal_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    cpu = torch.device("cpu")
    differences = export_graphs(tiny_model(), cache_folder(tiny_model()))  # where OnnxNetworks looks for them
    assert set(differences) == {"audio", "motion", "denoise", "decode"}
    assert max(differences.values()) < ONNX_EQUALS_TORCH
    ours = Streamer(OnnxNetworks(tiny_model(), cpu), cpu)
    torchs = Streamer(TorchNetworks(tiny_model(), cpu, torch.float32), cpu)
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    controls = HopControls(1.4, 1.0, 2)
    audio = np.random.default_rng(1).normal(0, 0.1, (2, 14720)).astype(np.float32)
    a, frames_a, _ = ours.hop([ours.open(picture, 1), ours.open(picture, 2)], audio, controls)
    b, frames_b, _ = torchs.hop([torchs.open(picture, 1), torchs.open(picture, 2)], audio, controls)
    for mine, theirs in zip(a, b, strict=True):
        torch.testing.assert_close(mine.motion, theirs.motion, atol=ONNX_EQUALS_TORCH, rtol=1e-3)
    assert np.abs(frames_a.astype(int) - frames_b).max() <= 1


def test_cuda_without_its_provider_is_one_sentence_before_any_work() -> None:
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert choose_providers(torch.device("cuda"), both) == both
    assert choose_providers(torch.device("cpu"), both) == ["CPUExecutionProvider"]
    with pytest.raises(ValueError, match="onnxruntime-gpu"):
        choose_providers(torch.device("cuda"), ["CPUExecutionProvider"])
