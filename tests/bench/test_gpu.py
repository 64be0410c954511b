"""The GPU command's plan, limits and checkpoint, without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import gpu
from bench.parts import SACRIFICES, find_parts, join_state, split_state


def make_state(path: Path, numbers: int = 3000) -> dict[str, Any]:
    source = torch.Generator().manual_seed(0)
    weights = torch.randn(numbers, generator=source)
    moments = {
        "step": torch.tensor(7.0),
        "exp_avg": torch.randn(numbers, generator=source),
        "exp_avg_sq": torch.rand(numbers, generator=source),
    }
    state: dict[str, Any] = {
        "module": {"w": weights},
        "ema": [weights + 1e-3],
        "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "step": 7,
        "seconds": 1.5,
        "rows": [{"step": 7, "loss": 0.5}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return state


@pytest.mark.parametrize(("most", "sacrifice"), list(zip((6, 5, 4), SACRIFICES, strict=True)))
def test_a_state_survives_being_split(most: int, sacrifice: str, tmp_path: Path) -> None:
    state = make_state(tmp_path / "state.pt", 4000)  # 10, 8 and 6 bytes each, and 3 KB around them
    given_up = split_state(tmp_path / "state.pt", tmp_path, "vae.state", part_bytes=7500, most=most)
    assert given_up == sacrifice
    assert 1 < len(find_parts(tmp_path, "vae.state")) <= most
    assert all(part.stat().st_size <= 7500 for part in find_parts(tmp_path, "vae.state"))
    assert join_state(tmp_path, "vae.state", tmp_path / "again" / "state.pt")
    again = torch.load(tmp_path / "again" / "state.pt", weights_only=True)
    narrow = {"atol": 0.0, "rtol": 2**-8}
    torch.testing.assert_close(again["ema"][0].float(), state["ema"][0], **narrow)
    moments, before = again["optimizer"]["state"][0], state["optimizer"]["state"][0]
    torch.testing.assert_close(moments["exp_avg_sq"].float(), before["exp_avg_sq"], **narrow)
    assert moments["exp_avg"].shape == before["exp_avg"].shape
    assert bool(moments["exp_avg"].any()) == (sacrifice == SACRIFICES[0])
    exact = 0.0 if sacrifice != SACRIFICES[2] else 2**-8
    torch.testing.assert_close(again["module"]["w"].float(), state["module"]["w"], atol=0.0, rtol=exact)
    assert moments["step"] == 7
    assert again["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    assert (again["step"], again["seconds"], again["rows"]) == (7, 1.5, [{"step": 7, "loss": 0.5}])


def test_training_goes_on_from_a_joined_state(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(100))
    optimizer = torch.optim.AdamW([weight])
    weight.square().sum().backward()
    optimizer.step()
    whole = {"module": {"w": weight.detach()}, "ema": [weight.detach()], "optimizer": optimizer.state_dict()}
    torch.save(whole, tmp_path / "state.pt")
    split_state(tmp_path / "state.pt", tmp_path, "s", part_bytes=2000, most=20)
    join_state(tmp_path, "s", tmp_path / "again.pt")
    other = torch.optim.AdamW([weight])
    other.load_state_dict(torch.load(tmp_path / "again.pt", weights_only=True)["optimizer"])
    assert other.state[weight]["exp_avg_sq"].dtype == torch.float32
    other.step()


def test_fewer_parts_replace_more(tmp_path: Path) -> None:
    make_state(tmp_path / "large.pt", 9000)
    make_state(tmp_path / "small.pt", 1000)
    split_state(tmp_path / "large.pt", tmp_path, "s", part_bytes=8192, most=20)
    split_state(tmp_path / "small.pt", tmp_path, "s", part_bytes=8192, most=20)
    assert join_state(tmp_path, "s", tmp_path / "again.pt")
    assert torch.load(tmp_path / "again.pt", weights_only=True)["module"]["w"].numel() == 1000


def test_a_state_too_large_leaves_the_parts_from_before(tmp_path: Path) -> None:
    make_state(tmp_path / "small.pt", 500)
    split_state(tmp_path / "small.pt", tmp_path, "s", part_bytes=8192, most=2)
    before = [part.read_bytes() for part in find_parts(tmp_path, "s")]
    make_state(tmp_path / "large.pt", 90_000)
    with pytest.raises(ValueError, match="at most 2 files"):
        split_state(tmp_path / "large.pt", tmp_path, "s", part_bytes=8192, most=2)
    assert [part.read_bytes() for part in find_parts(tmp_path, "s")] == before


def test_no_parts_no_state(tmp_path: Path) -> None:
    assert not join_state(tmp_path, "s", tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()


def test_a_step_that_fails_is_noted_with_its_last_line(tmp_path: Path) -> None:
    step = gpu.Step("trial", [sys.executable, "-c", "print('so it goes'); raise SystemExit(3)"], 60)
    outcome = gpu.run_step(step, tmp_path / "log.txt")
    assert (outcome.result, outcome.detail) == ("failed", "so it goes")


def test_a_step_that_hangs_is_ended(tmp_path: Path) -> None:
    step = gpu.Step("trial", [sys.executable, "-c", "import time; time.sleep(600)"], 0.5)
    outcome = gpu.run_step(step, tmp_path / "log.txt")
    assert outcome.result == "timed out"
    assert outcome.seconds < 60


def test_checks_take_at_most_half_of_the_time(tmp_path: Path) -> None:
    args = gpu.read_arguments([str(tmp_path), "--minutes", "8"])
    steps = gpu.plan_checks(args, tmp_path)
    assert [step.name for step in steps] == ["tests", "kernels", "engine"]
    assert sum(step.limit_s for step in steps) <= 8 * 60 / 2


def test_no_time_left_means_no_training(tmp_path: Path) -> None:
    args = gpu.read_arguments([str(tmp_path)])
    assert gpu.train_slice(args, tmp_path, 3.0, tmp_path / "log.txt").result == "left out"


def test_more_arguments_go_to_the_training() -> None:
    args = gpu.read_arguments(["out", "--stage", "teacher", "--", "--batch", "64"])
    assert args.train_arguments == ["--batch", "64"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.docx").write_text("")
    assert gpu.main([str(tmp_path)]) == 2
    assert "thesis.docx" in capsys.readouterr().err


def test_the_ladder_goes_on_in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ladder = tmp_path / "ladder"
    (ladder / "figures").mkdir(parents=True)
    (ladder / "figures" / "fast-6-s0.json").write_text("{}")
    (ladder / "fast-s0").mkdir()
    (ladder / "fast-s0" / "done.json").write_text("{}")
    steps: list[gpu.Step] = []

    def end_late(step: gpu.Step, log: Path) -> gpu.Outcome:
        steps.append(step)
        return gpu.Outcome(step.name, "timed out", step.limit_s)

    monkeypatch.setattr(gpu, "run_step", end_late)
    words = ["--ladder", str(ladder), "--ladder-arguments", "--speech 40 --seeds 2", "--data", str(tmp_path)]
    args = gpu.read_arguments([str(tmp_path / "out"), *words])
    outcome = gpu.climb_ladder(args, tmp_path, 100.0, tmp_path / "log.txt")
    assert outcome.result == "unfinished"
    assert outcome.detail == "1 students trained, 1 rows measured"
    (step,) = steps
    assert step.limit_s == 100.0
    assert step.command[-4:] == ["--speech", "40", "--seeds", "2"]
    assert step.command[step.command.index("--out") + 1] == str(ladder)
    assert gpu.climb_ladder(args, tmp_path, 3.0, tmp_path / "log.txt").result == "left out"


def test_without_a_ladder_all_the_time_is_for_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, float] = {}

    def note(step: gpu.Step, log: Path) -> gpu.Outcome:
        limits[step.name] = step.limit_s
        return gpu.Outcome(step.name, "passed", 0.0)

    monkeypatch.setattr(gpu, "run_step", note)
    ladder = ["--ladder", str(tmp_path / "ladder")]
    assert gpu.main([str(tmp_path / "out"), "--minutes", "9", "--only", "train"]) == 0
    alone_s = limits["train"]
    assert gpu.main([str(tmp_path / "out"), "--minutes", "9", "--only", "train", "ladder", *ladder]) == 0
    assert limits["train"] == pytest.approx(alone_s / 2, rel=0.05)
    assert limits["ladder"] == pytest.approx(alone_s, rel=0.05)  # the training took no time here


def test_what_is_kept_fits_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "FILE_BYTES", 8192)
    run_folder, folder = tmp_path / "run", tmp_path / "kept"
    folder.mkdir()
    make_state(run_folder / "state.pt", 4000)
    (run_folder / "model.safetensors").write_bytes(b"\0" * 9000)
    (run_folder / "sheet.png").write_bytes(b"\0" * 100)
    notes = gpu.keep_checkpoint(run_folder, folder, "vae")
    assert "model.safetensors" in notes[0]
    assert notes[1] == SACRIFICES[1]  # five files are left for it
    assert all(path.stat().st_size <= 8192 for path in folder.iterdir())
    assert len(list(folder.iterdir())) <= gpu.MOST_FILES - 2  # the report and the log come beside
    assert (folder / "vae.sheet.png").exists()
