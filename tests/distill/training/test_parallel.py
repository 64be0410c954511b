"""Two processes under torchrun train as one process does on the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distill.data.batches import draw_batch, draw_noise
from distill.data.draws import StepDraw, mixed, rand, randint, randn
from distill.training.parallel import choose_way, gather_objects, gather_rows, mean_figures, rows_of
from models.checkpoint import read_tensors
from tests.distill.training.tiny_run import main, tiny_clips

ROOT = Path(__file__).resolve().parents[3]
STEPS = 12
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
REL = 1e-5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips made ahead, so that no two processes make the same one."""
    root = tmp_path_factory.mktemp("data")
    clips = tiny_clips(root)
    assert len(clips[0].latents) == len(clips[1].latents) == 14
    return root


def run_two(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`tests.distill.training.tiny_run` in two processes of one thread each."""
    return subprocess.run(
        [*LAUNCH, "-m", "tests.distill.training.tiny_run", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in json.loads((out / "raw.json").read_text())]


def assert_same_weights(out: Path, whole: Path) -> None:
    mine, theirs = (read_tensors(folder / "model.safetensors")[0] for folder in (out, whole))
    assert mine.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(mine[key], theirs[key], rtol=1e-3, atol=1e-4, msg=key)


@pytest.fixture(scope="module", params=["teacher", "student"])
def alone(request: pytest.FixtureRequest, data: Path) -> tuple[str, Path]:
    """(kind, run folder) of one process."""
    out = data / f"{request.param}-alone"
    main([request.param, str(data), str(out), "--steps", str(STEPS)])
    return request.param, out


@pytest.mark.slow
@pytest.mark.parametrize("way", ["average", "ddp"])
def test_two_processes_have_the_losses_of_one(way: str, alone: tuple[str, Path], data: Path) -> None:
    kind, whole = alone
    out = data / f"{kind}-{way}"
    ended = run_two(kind, data, out, "--steps", STEPS, "--parallel", way)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert len(losses(out)) == STEPS
    assert losses(out) == pytest.approx(losses(whole), rel=REL)
    assert_same_weights(out, whole)


@pytest.mark.slow
def test_shares_of_the_weights_take_a_run_up_and_hand_it_back(data: Path) -> None:
    """Steps 1-4 alone, 5-8 by FSDP2 in two processes, 9-12 alone: the losses of a run that was alone throughout."""
    whole, out = data / "whole", data / "shared"
    line = ["teacher", str(data), str(out), "--steps", str(STEPS)]
    main(["teacher", str(data), str(whole), "--steps", str(STEPS)])
    main([*line, "--stop", "4"])
    (out / "sheet.png").unlink()
    ended = run_two(*line, "--stop", 8, "--parallel", "fsdp")
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert losses(out) == pytest.approx(losses(whole)[4:8], rel=REL)
    assert (out / "sheet.png").is_file()
    model, config = read_tensors(out / "model.safetensors")
    assert config["notes"]["steps"] == 8 and config["notes"]["processes"] == 2
    state = torch.load(out / "state.pt", weights_only=True)
    main(line)
    assert losses(out) == pytest.approx(losses(whole)[8:], rel=REL)
    assert_same_weights(out, whole)
    for key, averaged in zip(state["module"], state["ema"], strict=True):
        assert torch.equal(model[key], averaged), key


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(data: Path) -> None:
    ended = run_two("teacher", data, data / "odd", "--batch", 3)
    assert ended.returncode != 0
    assert "2 processes share evenly, got 3 rows" in ended.stderr


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_any_split_of_a_batch_draws_the_same_rows(parts: int, data: Path) -> None:
    clips, rows = tiny_clips(data), 4

    def drawn(first: int, count: int) -> list[torch.Tensor]:
        generators = StepDraw(7, 3, first, count, rows).generators()
        batch = draw_batch([(clips, 0.5), (clips, 0.5)], 4, 2, generators, "cpu")
        index = torch.tensor(randint(generators, 1000))
        noise = draw_noise(batch.x_0, generators)
        rest = (rand(generators), randn(generators, 2, 3), index, noise)
        return [batch.x_0, batch.motion, batch.reference, batch.audio, *rest]

    each = rows // parts
    split = [drawn(first, each) for first in range(0, rows, each)]
    for pieces, whole in zip(zip(*split, strict=True), drawn(0, rows), strict=True):
        assert torch.equal(torch.cat(pieces), whole)


def test_draws_depend_on_seed_step_and_row_and_start_afresh() -> None:
    draw = StepDraw(0, 0, 0, 2, 2)
    assert torch.equal(rand(draw.generators(), 4), rand(draw.generators(), 4))
    seeds = {mixed(seed, step, row) for seed in range(8) for step in range(40) for row in range(40)}
    assert len(seeds) == 8 * 40 * 40
    # the low 32 bits are what the CPU's generator takes
    assert len({seed & 0xFFFFFFFF for seed in seeds}) > 8 * 40 * 40 - 3
    # the value is part of every run's identity: it must not change between versions or machines
    assert mixed(0, 0, 0) == 1279368494785126216
    with pytest.raises(ValueError, match="first \\+ rows <= total"):
        StepDraw(0, 0, 3, 2, 4)


def test_alone_nothing_is_shared() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert torch.equal(gather_rows(rows), rows.detach()) and not gather_rows(rows).requires_grad
    assert gather_objects("told") == ["told"]
    assert rows_of(6) == (0, 6)
    assert choose_way("auto", "cpu") == choose_way("average", "cpu") == "average"


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_ways_of_several_processes_are_refused_alone(way: str) -> None:
    with pytest.raises(ValueError, match="torchrun"):
        choose_way(way, "cpu")
    with pytest.raises(ValueError, match="--parallel"):
        choose_way("dpd", "cpu")


def test_figures_are_averaged_over_those_who_have_them() -> None:
    assert mean_figures([{"a": 1.0, "b": 4.0}, {"a": 3.0}]) == {"a": 2.0, "b": 4.0}
