"""The loop: a run that was cut and resumed is the run that was not."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from distill.data.draws import StepDraw, randn
from distill.training.loop import Loop, LoopConfig, learning_rate
from models.checkpoint import read_tensors, save_tensors


class Line:
    """Fit a line: the smallest stage there is."""

    name = "line"
    batch = 8

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(3, 1)
        self.seen: list[float] = []

    def trainable(self) -> nn.Module:
        return self.module

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        x = randn(draw.generators(), 3)
        loss = (self.module(x).float() - x.sum(1, keepdim=True)).square().mean()
        self.seen.append(float(loss.detach()))
        return loss, {"mse": float(loss.detach())}

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_tensors(path, self.module.state_dict(), {"notes": notes})

    def sheet(self, path: Path) -> None:
        Image.new("RGB", (4, 2), (255, 0, 0)).save(path)


def loop_config(out: Path, steps: int = 60, **more: Any) -> LoopConfig:
    return LoopConfig(out=out, steps=steps, lr=0.05, warmup=5, ema=0.9, bf16=False, **more)


def test_a_cut_run_resumes_to_the_same_losses(tmp_path: Path) -> None:
    whole = Line()
    Loop(whole, loop_config(tmp_path / "whole")).run()
    first = Loop(Line(), loop_config(tmp_path / "cut"))
    for _ in range(25):
        first._note(first._step())
    first._save()
    second = Line()
    Loop(second, loop_config(tmp_path / "cut")).run()
    assert second.seen == whole.seen[25:]
    a, b = (read_tensors(tmp_path / n / "model.safetensors")[0] for n in ("whole", "cut"))
    assert torch.equal(a["weight"], b["weight"])
    curves = [(tmp_path / n / "loss.csv").read_text().splitlines() for n in ("whole", "cut")]
    without_clock = [[line.split(",")[:1] + line.split(",")[2:] for line in curve] for curve in curves]
    assert without_clock[0] == without_clock[1]


def test_it_learns_and_leaves_its_papers(tmp_path: Path) -> None:
    line = Line()
    Loop(line, loop_config(tmp_path, steps=200)).run()
    assert line.seen[-1] < 0.05 * line.seen[0]
    papers = {"state.pt", "model.safetensors", "loss.csv", "loss.png", "sheet.png", "tensorboard"}
    assert {p.name for p in tmp_path.iterdir()} == papers
    _, config = read_tensors(tmp_path / "model.safetensors")
    assert config["notes"]["steps"] == 200 and config["notes"]["batch"] == 8
    with (tmp_path / "loss.csv").open() as source:
        assert [int(row["step"]) for row in csv.DictReader(source)] == list(range(20, 201, 20))


def test_tensorboard_holds_curves_and_the_sheet_once_each(tmp_path: Path) -> None:
    Loop(Line(), loop_config(tmp_path, steps=40, log_steps=10)).run()
    Loop(Line(), loop_config(tmp_path, steps=60, log_steps=10)).run()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag in ("train/loss", "train/mse", "train/learning_rate"):
        assert [point.step for point in board.Scalars(tag)] == [10, 20, 30, 40, 50, 60]
    assert {image.step for image in board.Images("sheet")} == {40, 60}
    assert (board.Images("sheet")[0].width, board.Images("sheet")[0].height) == (4, 2)


def test_learning_rate_rises_then_falls() -> None:
    config = loop_config(Path("unused"), steps=100)
    rates = [learning_rate(step, config) for step in range(100)]
    assert max(rates) == pytest.approx(0.05, rel=0.01) and rates.index(max(rates)) <= 5
    assert rates[-1] < 0.1 * max(rates)


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps >= 1"):
        LoopConfig(out=tmp_path, steps=0, lr=1.0)
    with pytest.raises(ValueError, match="log_steps >= 1"):
        LoopConfig(out=tmp_path, steps=1, lr=1.0, log_steps=0)
