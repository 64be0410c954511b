"""A run killed at any moment goes on to the curve of a run that was not; its papers always agree."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.training.loop import Loop
from models.checkpoint import read_tensors
from tests.distill.training.test_loop import Line, loop_config
from tests.distill.training.tiny_run import tiny_clips

ROOT = Path(__file__).resolve().parents[3]
STEPS = 12
PATIENCE_S = 900


def start(data: Path, out: Path, checkpoint_s: float = 0.0) -> subprocess.Popen[bytes]:
    """A run in a process of its own, with a checkpoint after every step unless told otherwise."""
    line = [sys.executable, "-m", "tests.distill.training.tiny_run", "teacher", str(data), str(out)]
    line += ["--steps", str(STEPS), "--batch", "2", "--checkpoint-s", str(checkpoint_s)]
    with (data / f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(
            line, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log
        )


def wait_for_checkpoint(process: subprocess.Popen[bytes], state: Path, before: int) -> None:
    """Until ``state`` was written after ``before`` (ns)."""
    until = time.monotonic() + PATIENCE_S
    while not state.is_file() or state.stat().st_mtime_ns <= before:
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < until, "no checkpoint in time"
        time.sleep(0.005)


def table(out: Path) -> list[dict[str, str]]:
    """Rows of the loss table, without the clock's column."""
    with (out / "loss.csv").open() as source:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(source)]


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(tmp_path: Path) -> None:
    clips = tiny_clips(tmp_path)
    assert len(clips[0].latents) == len(clips[1].latents)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    uncut = start(tmp_path, whole, checkpoint_s=1e9)
    delays = [random.random(), random.random()]
    reached, written = [], 0
    for delay_s in delays:
        process = start(tmp_path, cut)
        wait_for_checkpoint(process, cut / "state.pt", written)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"the run was over before the kill at {delay_s} s"
        written = (cut / "state.pt").stat().st_mtime_ns
        reached.append(torch.load(cut / "state.pt", weights_only=True)["step"])
    assert start(tmp_path, cut).wait(PATIENCE_S) == 0
    assert uncut.wait(PATIENCE_S) == 0
    assert 0 < reached[0] <= reached[1] < STEPS
    told = f"killed {delays} s after a checkpoint, at steps {reached}"
    assert len(table(whole)) == STEPS
    assert table(cut) == table(whole), told
    mine, theirs = (read_tensors(out / "model.safetensors")[0] for out in (cut, whole))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs), told
    board = EventAccumulator(str(cut / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    points = board.Scalars("train/loss")
    assert [point.step for point in points] == list(range(1, STEPS + 1)), told
    assert [point.value for point in points] == pytest.approx([float(row["loss"]) for row in table(whole)])


class _DiesWhileSaving(Line):
    """Stops where a kill hurts most: the state is written, the model is not yet."""

    saves = 0

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        self.saves += 1
        if self.saves == 2:
            raise InterruptedError("killed")
        super().save(path, notes)


def test_papers_agree_after_a_death_between_state_and_model(tmp_path: Path) -> None:
    loop = Loop(_DiesWhileSaving(), loop_config(tmp_path, steps=40))
    for steps in (10, 20):
        while loop.progress.step < steps:
            loop._step()
        if steps == 10:
            loop._save()
    with pytest.raises(InterruptedError):
        loop._save()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 20
    assert read_tensors(tmp_path / "model.safetensors")[1]["notes"]["steps"] == 10
    again = Loop(Line(), loop_config(tmp_path, steps=20))
    again.run()  # nothing is left to train: the papers are put in order
    tensors, config = read_tensors(tmp_path / "model.safetensors")
    assert config["notes"]["steps"] == 20
    torch.testing.assert_close(tensors["weight"], state["ema"][0])


def test_half_written_files_are_left_aside(tmp_path: Path) -> None:
    Loop(Line(), loop_config(tmp_path, steps=20)).run()
    for name in ("state.pt.partial", "model.safetensors.partial", "loss.csv.partial"):
        (tmp_path / name).write_bytes(b"cut off")
    line = Line()
    Loop(line, loop_config(tmp_path, steps=30)).run()
    assert len(line.seen) == 10
    assert read_tensors(tmp_path / "model.safetensors")[1]["notes"]["steps"] == 30
