"""The GPU command's plan, limits and checkpoint, without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from bench import gpu
from bench.parts import find_parts, join_state, split_state


def make_state(path: Path, numbers: int = 3000) -> dict[str, object]:
    source = torch.Generator().manual_seed(0)
    weights = torch.randn(numbers, generator=source)
    state = {
        "module": {"w": weights},
        "ema": [weights + 1e-3],
        "optimizer": {
            "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.randn(numbers, generator=source)}}
        },
        "step": 7,
        "seconds": 1.5,
        "rows": [{"step": 7, "loss": 0.5}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return state


def test_a_state_survives_being_split(tmp_path: Path) -> None:
    state = make_state(tmp_path / "state.pt")
    parts = split_state(tmp_path / "state.pt", tmp_path, "vae.state", part_bytes=8192, most=9)
    assert len(parts) > 1
    assert all(part.stat().st_size <= 8192 for part in parts)
    assert join_state(tmp_path, "vae.state", tmp_path / "again" / "state.pt")
    again = torch.load(tmp_path / "again" / "state.pt", weights_only=True)
    assert torch.equal(again["module"]["w"], state["module"]["w"])  # type: ignore[index]
    torch.testing.assert_close(again["ema"][0].float(), state["ema"][0], atol=0, rtol=2**-8)  # type: ignore[index]
    assert again["optimizer"]["state"][0]["step"] == 7
    assert (again["step"], again["seconds"], again["rows"]) == (7, 1.5, [{"step": 7, "loss": 0.5}])


def test_fewer_parts_replace_more(tmp_path: Path) -> None:
    make_state(tmp_path / "large.pt", 9000)
    make_state(tmp_path / "small.pt", 1000)
    split_state(tmp_path / "large.pt", tmp_path, "s", part_bytes=8192, most=20)
    split_state(tmp_path / "small.pt", tmp_path, "s", part_bytes=8192, most=20)
    assert join_state(tmp_path, "s", tmp_path / "again.pt")
    assert torch.load(tmp_path / "again.pt", weights_only=True)["module"]["w"].numel() == 1000


def test_a_state_too_large_leaves_the_parts_from_before(tmp_path: Path) -> None:
    make_state(tmp_path / "small.pt", 500)
    before = split_state(tmp_path / "small.pt", tmp_path, "s", part_bytes=8192, most=2)
    make_state(tmp_path / "large.pt", 90_000)
    with pytest.raises(ValueError, match="at most 2 parts"):
        split_state(tmp_path / "large.pt", tmp_path, "s", part_bytes=8192, most=2)
    assert find_parts(tmp_path, "s") == before


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


def test_what_is_kept_fits_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "FILE_BYTES", 8192)
    run_folder, folder = tmp_path / "run", tmp_path / "kept"
    folder.mkdir()
    make_state(run_folder / "state.pt", 1500)
    (run_folder / "model.safetensors").write_bytes(b"\0" * 9000)
    (run_folder / "sheet.png").write_bytes(b"\0" * 100)
    notes = gpu.keep_checkpoint(run_folder, folder, "vae")
    assert len(notes) == 1
    assert "model.safetensors" in notes[0]
    assert all(path.stat().st_size <= 8192 for path in folder.iterdir())
    assert len(list(folder.iterdir())) <= gpu.MOST_FILES - 2  # the report and the log come beside
    assert (folder / "vae.sheet.png").exists()
