"""The options of `fada train`: what they build, what they refuse."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch

import fada
from distill.data.clip_set import ClipSet
from distill.methods.recipes import RECIPES
from distill.methods.stage import StudentStage, start_student
from distill.probe import Probe
from distill.stage_maker import make_stage, start_control, start_trunk
from distill.stages.audio import AudioStage
from distill.stages.teacher import TeacherStage
from distill.train import add_arguments, read_config, run
from models.checkpoint import CheckpointError, save_tensors
from models.weights import load_model, save_model
from tests.models.tiny import tiny_model

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "small" / "student.safetensors"


def options(*line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([*line, "--device", "cpu"])


def test_a_teacher_starts_from_shipped_parts_in_one_command(tmp_path: Path) -> None:
    line = [
        "--stage",
        "teacher",
        "--from-weights",
        str(SHIPPED),
        "--init",
        str(SHIPPED),
        "--data",
        str(tmp_path),
    ]
    stage = make_stage(read_config(options(*line, "--batch", "2")))
    assert isinstance(stage, TeacherStage) and isinstance(stage.data, ClipSet)
    shipped = load_model(SHIPPED)
    for mine, theirs in ((stage.model.vae, shipped.vae), (stage.model.audio, shipped.audio)):
        found = theirs.state_dict()
        assert all(torch.equal(value, found[key]) for key, value in mine.state_dict().items())
    trunk = shipped.denoiser.state_dict()
    assert all(torch.equal(value, trunk[key]) for key, value in stage.model.denoiser.state_dict().items())
    assert not any(p.requires_grad for p in stage.model.vae.parameters())
    trained = {id(p) for p in stage.trainable().parameters()}
    assert not any(id(p) in trained for p in stage.model.audio.parameters())


def test_a_student_starts_from_a_teachers_trunk_and_keeps_its_control_layers(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    teacher, student = tiny_model("teacher", seed=1), tiny_model("student", seed=2)
    save_model(path, teacher)
    before = {key: value.clone() for key, value in student.denoiser.state_dict().items()}
    start_trunk(student, path)
    found = teacher.denoiser.state_dict()
    for key, value in student.denoiser.state_dict().items():
        assert torch.equal(value, found[key] if key in found else before[key]), key
    assert any("control" in key for key in before)


def test_an_audio_encoder_is_trained_on_and_given_to_the_teacher(tmp_path: Path) -> None:
    line = ("--stage", "audio", "--init", str(SHIPPED), "--data", str(tmp_path))
    stage = make_stage(read_config(options(*line, "--batch", "2")))
    assert isinstance(stage, AudioStage)
    shipped = load_model(SHIPPED).audio.state_dict()
    assert all(torch.equal(value, shipped[key]) for key, value in stage.encoder.state_dict().items())
    with torch.no_grad():
        stage.encoder.leave.bias.add_(1)
    save_tensors(tmp_path / "audio.safetensors", stage.encoder.state_dict(), {})
    line = (
        "--stage",
        "teacher",
        "--from-weights",
        str(SHIPPED),
        "--audio",
        str(tmp_path / "audio.safetensors"),
    )
    teacher = make_stage(read_config(options(*line, "--data", str(tmp_path), "--batch", "2")))
    assert isinstance(teacher, TeacherStage)
    torch.testing.assert_close(teacher.model.audio.leave.bias, shipped["leave.bias"] + 1)


def test_a_student_takes_what_another_learnt_of_guidance(tmp_path: Path) -> None:
    teacher, other = tiny_model("teacher", seed=1), tiny_model("student", seed=2)
    save_model(tmp_path / "other.safetensors", other)
    student = start_student(teacher, RECIPES["fast"])
    start_control(student, tmp_path / "other.safetensors")
    trunk, control = teacher.denoiser.state_dict(), other.denoiser.state_dict()
    for key, value in student.denoiser.state_dict().items():
        assert torch.equal(value, control[key] if ".control." in key else trunk[key]), key
    assert student.tokens is not None and other.tokens is not None
    assert torch.equal(student.tokens.audio, other.tokens.audio)
    with pytest.raises(ValueError, match="needs CFG tokens"):
        start_control(start_student(teacher, RECIPES["naive"]), tmp_path / "other.safetensors")


def test_a_trunk_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_model(path, tiny_model("teacher"))
    with pytest.raises(CheckpointError, match="does not fit"):
        start_trunk(load_model(SHIPPED), path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (("--stage", "vae", "--from-weights", "x"), "--from-weights is for"),
        (("--stage", "vae", "--init", "x"), "--init is for"),
        (("--stage", "steps", "--control", "x"), "--control is for the stage student"),
        (("--stage", "student", "--audio", "x"), "--audio is for the stage teacher"),
        (("--stage", "teacher", "--method", "fast"), "--method is for"),
        (("--stage", "steps", "--grids", "1"), "--grids is for"),
        (("--stage", "vae", "--people", "3"), "--people is for the stages"),
        (("--stage", "head-clips", "--people", "0"), "--people of 1 or more"),
        (("--stage", "teacher", "--people", "3"), "it needs --heads SHARE"),
        (("--stage", "audio", "--heads", "0.5"), "--heads is for the stages"),
        (("--stage", "student", "--heads", "1.5"), "--heads SHARE of 0 to 1"),
    ],
)
def test_options_that_a_stage_would_ignore_are_refused(line: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_config(options(*line))


def test_prepared_videos_are_for_the_diffusion_stages(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="holds prepared videos"):
        read_config(options("--stage", "vae", "--data", str(tmp_path)))
    read_config(options("--stage", "teacher", "--data", str(tmp_path)))
    with pytest.raises(ValueError, match="--heads is a share of the corpus' clips"):
        read_config(options("--stage", "teacher", "--data", str(tmp_path), "--heads", "0.5"))


def test_heads_reach_the_stages(tmp_path: Path) -> None:
    """What the command line says of rendered heads is what a stage looks for: here they are not there yet."""
    line = ("--stage", "teacher", "--from-weights", str(SHIPPED), "--data", str(tmp_path), "--heads", "0.5")
    with pytest.raises(FileNotFoundError, match=r"of24-40; make some with .*--people 24"):
        make_stage(read_config(options(*line, "--people", "24")))


def test_unknown_presets_and_missing_runs_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no preset 'huge'"):
        run(options("--stage", "teacher", "--preset", "huge"))
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        run(options("--stage", "teacher", "--runs", str(tmp_path), "--data", str(tmp_path)))


def test_the_student_that_was_trained_last_is_shipped(tmp_path: Path) -> None:
    for seed, name in enumerate(("steps", "student", "steps")):
        (tmp_path / name).mkdir(exist_ok=True)
        save_model(tmp_path / name / "model.safetensors", tiny_model("student", seed))
        os.utime(tmp_path / name / "model.safetensors", (seed, seed))
    (tmp_path / "probe").mkdir()
    save_tensors(tmp_path / "probe" / "model.safetensors", Probe().state_dict(), {})
    line = ["train", "--stage", "ship", "--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    assert fada.main(line) == 0
    shipped, wanted = load_model(tmp_path / "out" / "student.safetensors"), tiny_model("student", 2)
    torch.testing.assert_close(
        shipped.denoiser.leave.weight, wanted.denoiser.leave.weight.bfloat16().float(), rtol=0, atol=0
    )


def test_a_student_visits_the_times_of_the_step_counts_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "teacher" / "model.safetensors"
    path.parent.mkdir()
    save_model(path, tiny_model("teacher"))
    line = ("--stage", "student", "--runs", str(tmp_path), "--data", str(tmp_path))
    for more, grids in (((), (6,)), (("--grids", "1, 2"), (1, 2))):
        stage = make_stage(read_config(options(*line, *more, "--batch", "2")))
        assert isinstance(stage, StudentStage) and stage.drawing.grids == grids
    for wrong in ("0", "1,two", "", "99"):
        with pytest.raises(SystemExit):
            options(*line, "--grids", wrong)
        assert "expected step counts" in capsys.readouterr().err
