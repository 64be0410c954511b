"""The ONNX graphs say what PyTorch says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.hop import HopControls
from models.runtimes.calibration import TOLERANCES
from models.runtimes.onnx_int8 import Int8Networks, babble
from models.runtimes.onnx_networks import OnnxNetworks, cache_folder, choose_providers, export_graphs
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from models.voice import voice_only
from tests.models.tiny import tiny_model
from tests.tolerances import ONNX_EQUALS_TORCH


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache folder for this file: exporting takes longer than all that is tested of it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("FADA_CACHE", str(folder))
        yield folder


@pytest.mark.slow
def test_graphs_and_whole_hops_equal_torch(cache: Path) -> None:
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


@pytest.mark.slow
def test_int8_graphs_are_made_once_and_draw_nearly_the_same(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.runtimes.onnx_int8.FACES", 2)
    cpu = torch.device("cpu")
    ours = Streamer(Int8Networks(tiny_model(), cpu), cpu)
    made = {path.name: path.stat().st_mtime_ns for path in cache_folder(tiny_model()).iterdir()}
    assert {"motion.int8.onnx", "denoise.int8.onnx", "decode.int8.onnx", "audio.onnx"} <= set(made)
    assert not [name for name in made if name.endswith((".ready", ".partial"))]
    Int8Networks(tiny_model(), cpu)
    assert made == {path.name: path.stat().st_mtime_ns for path in cache_folder(tiny_model()).iterdir()}
    torchs = Streamer(TorchNetworks(tiny_model(), cpu, torch.float32), cpu)
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    sound = babble(tiny_model().preset.window_samples, seed=9)[None]
    (a,), frames_a, _ = ours.hop([ours.open(picture, 1)], sound, HopControls(1.4, 1.0, 1))
    (b,), frames_b, _ = torchs.hop([torchs.open(picture, 1)], sound, HopControls(1.4, 1.0, 1))
    difference = ((a.motion - b.motion).norm() / b.motion.norm()).item()
    assert 0 < difference <= TOLERANCES["onnx-int8"]
    assert np.abs(frames_a.astype(int) - frames_b).mean() < 2


def test_babble_is_a_voice_to_the_voice_gate_and_the_same_every_time() -> None:
    sound = babble(16_000, seed=1)
    assert sound.dtype == np.float32 and np.isfinite(sound).all() and np.abs(sound).max() <= 0.3
    np.testing.assert_array_equal(sound, babble(16_000, seed=1))
    assert np.abs(voice_only(sound)).mean() > 0.5 * np.abs(sound).mean()


def test_int8_on_a_gpu_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="choose torch-fp8"):
        Int8Networks(tiny_model(), torch.device("cuda"))
