"""The loop: a run that was cut and resumed is the run that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distill.loop import Loop, LoopConfig, learning_rate
from models.checkpoint import read_tensors, save_tensors


class _Line:
    """Fit a line: the smallest stage there is."""

    name = "line"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(3, 1)
        self.seen: list[float] = []

    def trainable(self) -> nn.Module:
        return self.module

    def loss(self, generator: torch.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(8, 3, generator=generator)
        loss = (self.module(x).float() - x.sum(1, keepdim=True)).square().mean()
        self.seen.append(float(loss.detach()))
        return loss, {"mse": float(loss.detach())}

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_tensors(path, self.module.state_dict(), {"notes": notes})

    def sheet(self, path: Path) -> None:
        path.write_bytes(b"")


def _config(out: Path, steps: int = 60, **more: Any) -> LoopConfig:
    return LoopConfig(out=out, steps=steps, lr=0.05, warmup=5, ema=0.9, bf16=False, **more)


def test_a_cut_run_resumes_to_the_same_losses(tmp_path: Path) -> None:
    whole = _Line()
    Loop(whole, _config(tmp_path / "whole")).run()
    first = Loop(_Line(), _config(tmp_path / "cut"))
    for _ in range(25):
        first._step()
    first._save()
    second = _Line()
    Loop(second, _config(tmp_path / "cut")).run()
    assert second.seen == pytest.approx(whole.seen[25:], rel=1e-6)
    a, b = (read_tensors(tmp_path / n / "model.safetensors")[0] for n in ("whole", "cut"))
    torch.testing.assert_close(a["weight"], b["weight"])


def test_it_learns_and_leaves_its_papers(tmp_path: Path) -> None:
    line = _Line()
    Loop(line, _config(tmp_path, steps=200)).run()
    assert line.seen[-1] < 0.05 * line.seen[0]
    assert {p.name for p in tmp_path.iterdir()} >= {"state.pt", "model.safetensors", "loss.csv", "loss.png"}
    _, config = read_tensors(tmp_path / "model.safetensors")
    assert config["notes"]["steps"] == 200


def test_learning_rate_rises_then_falls() -> None:
    config = _config(Path("unused"), steps=100)
    rates = [learning_rate(step, config) for step in range(100)]
    assert max(rates) == pytest.approx(0.05, rel=0.01) and rates.index(max(rates)) <= 5
    assert rates[-1] < 0.1 * max(rates)


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps >= 1"):
        LoopConfig(out=tmp_path, steps=0, lr=1.0)
