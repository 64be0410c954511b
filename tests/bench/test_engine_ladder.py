"""`fada bench engine`: rungs are checked before they are timed, and say why when they are not."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from bench import engine
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from tests.models.tiny import tiny_model

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    monkeypatch.setattr(engine, "load_or_invent", lambda name: (tiny_model(), "tiny"))


def test_a_run_reports_every_rung_paired_with_the_default(tmp_path: Path) -> None:
    args = argparse.Namespace(
        preset="small", nfe=[1, 2], batch=[1], backend=["native"], device="cpu", threads=1, rounds=2,
        plot=tmp_path / "ladder.png",
    )  # fmt: skip
    figures = engine.run(args)["figures"]
    assert [rung["rung"] for rung in figures["rungs"]] == ["torch-eager", "native"]
    assert all(rung["difference"] <= rung["tolerance"] and not rung["problem"] for rung in figures["rungs"])
    assert [(row["arm"], row["nfe"]) for row in figures["arms"]] == [
        ("torch-eager", 1), ("native", 1), ("torch-eager", 2), ("native", 2),
    ]  # fmt: skip
    assert figures["arms"][0]["speedup"]["p50"] == figures["arms"][2]["speedup"]["p50"] == 1.0
    assert all(row["sessions"] == 1 and row["hop_budget_ms"] == 160.0 for row in figures["sessions"])
    assert (tmp_path / "ladder.png").stat().st_size > 5000
    assert set(figures["first_frames_ms"]) == {"torch-eager", "native"}


def test_a_rung_that_draws_something_else_is_not_timed() -> None:
    good, bad = tiny_model(), tiny_model(seed=1)
    rungs = [
        engine.Rung(name, Streamer(TorchNetworks(model, CPU, torch.float32), CPU), None)
        for name, model in (("torch-eager", good), ("native", bad))
    ]
    engine.check_against_base(rungs)
    assert rungs[0].problem == "" and "not timed" in rungs[1].problem


def test_a_rung_that_cannot_be_had_says_why() -> None:
    rung = engine.climb("torch-bf16+graph", tiny_model(), CPU)
    assert rung.streamer is None and "CUDA device" in rung.problem
