"""Calibration: measured once, found again only where nothing changed, and nothing wrong is chosen for its speed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from models.hop import HopControls
from models.runtimes import calibration
from models.runtimes.backends import load_networks
from models.runtimes.calibration import (
    TOLERANCES,
    Calibration,
    Trial,
    calibrate,
    calibration_key,
    read_calibration,
    resolve_backend,
    tolerance,
    write_calibration,
)
from models.runtimes.options import BACKENDS
from models.runtimes.torch_networks import CompiledNetworks, TorchNetworks
from models.streaming import Streamer
from tests.models.tiny import tiny_model
from tests.tolerances import NATIVE_HOP

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))


def test_every_backend_has_a_tolerance() -> None:
    assert set(TOLERANCES) == set(BACKENDS)


def test_the_fastest_that_passes_is_chosen_and_found_again() -> None:
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ticks = itertools.count()
    found = calibrate(model, CPU, ["torch-fp32", "native"], rounds=2, clock=lambda: float(next(ticks)))
    by_name = {trial.backend: trial for trial in found.trials}
    assert set(by_name) == {"torch-eager", "torch-fp32", "native"}
    assert by_name["native"].difference is not None and by_name["native"].difference <= NATIVE_HOP
    assert found.chosen in ("torch-fp32", "native")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert resolve_backend(model, CPU)[1] == "rule"
    write_calibration(found)
    assert resolve_backend(model, CPU) == (found.chosen, "measured")


def test_a_changed_weight_thread_or_kernel_makes_it_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tiny_model()
    key = calibration_key(model, CPU)
    path = write_calibration(Calibration("native", (Trial("native", 1.0, 2.0, 0.0),), key))
    assert read_calibration(key) is not None
    with torch.no_grad():
        model.vae.mean += 1.0
    assert read_calibration(calibration_key(model, CPU)) is None
    model = tiny_model()
    other = tmp_path / "native.c"
    other.write_text("/* another kernel */")
    monkeypatch.setattr(calibration, "SOURCE", other)
    assert read_calibration(calibration_key(model, CPU)) is None
    monkeypatch.undo()
    path.write_text("not json")
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    assert read_calibration(key) is None


def test_what_differs_or_breaks_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: object, device: torch.device, backend: str) -> object:
        if backend == "onnx":
            raise ValueError("no graphs today")
        networks = load_networks(model, device, "torch-fp32")  # type: ignore[arg-type]
        if backend == "native":
            networks.model.denoiser.leave.bias.data += 1.0  # type: ignore[attr-defined]
        return networks

    monkeypatch.setattr(calibration, "load_networks", broken)
    ticks = itertools.count()
    found = calibrate(
        tiny_model(), CPU, ["torch-fp32", "native", "onnx"], rounds=1, clock=lambda: float(next(ticks))
    )
    trials = {trial.backend: trial for trial in found.trials}
    assert "differs from fp32 PyTorch" in trials["native"].problem and trials["native"].speedup is None
    assert trials["onnx"].problem == "no graphs today"
    assert found.chosen == "torch-fp32"


@pytest.mark.slow
def test_compiled_networks_are_the_same_networks() -> None:
    compiled = Streamer(CompiledNetworks(tiny_model(), CPU, torch.float32, compiler="eager"), CPU)
    plain = Streamer(TorchNetworks(tiny_model(), CPU, torch.float32), CPU)
    latents = []
    for streamer in (compiled, plain):
        picture = torch.full((256, 256, 3), 90, dtype=torch.uint8).numpy()
        sound = torch.zeros(1, 14720).numpy()
        (state,), _, _ = streamer.hop([streamer.open(picture, 1)], sound, HopControls(1.4, 1.0, 1))
        latents.append(state.motion)
    torch.testing.assert_close(latents[0], latents[1], rtol=1e-5, atol=1e-5)


def test_cuda_may_differ_by_tf32_and_a_cpu_may_not() -> None:
    assert tolerance("torch-fp32", CPU) == TOLERANCES["torch-fp32"]
    assert tolerance("torch-fp32", torch.device("cuda")) == 1e-3
    assert tolerance("torch-bf16", torch.device("cuda")) == TOLERANCES["torch-bf16"]
