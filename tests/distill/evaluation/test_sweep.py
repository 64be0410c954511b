"""Turning the guidance scales of the shipped student, with one branch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill.evaluation.suites import Suite
from distill.evaluation.sweep import sweep
from distill.probe import load_probe
from models.hop import HopControls
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from models.weights import load_model

WEIGHTS = Path(__file__).resolve().parents[3] / "weights" / "small"


@pytest.mark.slow
def test_the_shipped_student_obeys_both_scales(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    streamer = Streamer(
        TorchNetworks(load_model(WEIGHTS / "student.safetensors"), cpu, torch.float32), cpu, move_head=False
    )
    probe = load_probe(WEIGHTS / "probe.safetensors")
    suite, controls = Suite("short", "test", 2, 2.0), HopControls(1.4, 1.0, 1)
    found = sweep(streamer, probe, suite, controls, tmp_path, values=5)
    assert found["amplitude_rises"], found
    # it moves the picture's own pixels: as like at any scale as the one that painted was at its best, 0.00059
    distance = list(found["identity_distance_by_reference_scale"].values())
    assert max(distance) <= 0.00059 and distance[-1] <= distance[0], found
    low, high = streamer.preset.stream.audio_scale_range
    assert list(found["amplitude_by_audio_scale"]) == [f"{low + (high - low) * i / 4:.4g}" for i in range(5)]
    with pytest.raises(ValueError, match="2 values or more"):
        sweep(streamer, probe, suite, controls, tmp_path, values=1)
