"""Speech ahead of time, for machines without speech engines."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from distill.corpus.drawn import clips
from distill.data.speech_set import SpeechSet
from distill.evaluation.suites import SUITES, load_clip
from distill.stage_maker import make_stage
from distill.stages import speech as spoken
from distill.stages.speech import make_all_speech, spoken_count
from distill.stages.teacher import TeacherStage
from distill.train import add_arguments, read_config

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "small" / "student.safetensors"


def options(*line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([*line, "--device", "cpu"])


def test_what_was_spoken_is_all_that_training_and_measuring_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "VALIDATION_CLIPS", 1)
    monkeypatch.setattr(spoken, "LONG_RUN_S", 8.0)
    few = {name: argparse.Namespace(clips=1, seconds=8.0, split="test") for name in SUITES}
    monkeypatch.setattr(spoken, "SUITES", few)
    assert make_all_speech(tmp_path, 4) == 0

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this machine has no speech engine")

    monkeypatch.setattr(clips, "speech_clip", refuse)
    line = ("--from-weights", str(SHIPPED), "--data", str(tmp_path), "--speech", "4", "--clips", "6")
    stage = make_stage(read_config(options("--stage", "teacher", *line, "--batch", "2")))
    assert isinstance(stage, TeacherStage) and len(stage.data) == 6
    assert stage.data[5].latents.shape[0] == 40, "the sixth clip speaks the second sound"
    assert load_clip(SUITES["held-out"], 0, tmp_path).frames == 200
    with pytest.raises(AssertionError, match="no speech engine"):
        SpeechSet(tmp_path, "train", 5)[4]


def test_the_number_of_speech_clips() -> None:
    assert spoken_count(100, None, "high") == spoken_count(100, None, "moderate") == 100
    assert spoken_count(100, 40, "high") == 40 and spoken_count(100, 40, "moderate") == 10
    assert spoken_count(8, 40, "high") == 8
    with pytest.raises(ValueError, match=r"--speech takes 4 clips or more.*got 3 for teacher"):
        read_config(options("--stage", "teacher", "--speech", "3"))
    with pytest.raises(ValueError, match="for the stages speech, head-clips, corpus"):
        read_config(options("--stage", "vae", "--speech", "30"))
