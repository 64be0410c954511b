"""`fada eval --pictures`: a folder as people have them, to a table, a sheet and a film."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import pytest
import torch
from PIL import Image

import fada
from distill.probe import Probe
from kernels.machine import ROOT
from models.checkpoint import save_tensors
from models.weights import save_model
from tests.models.tiny import tiny_model


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_model(tmp_path / "student.safetensors", tiny_model())
    torch.manual_seed(5)
    save_tensors(tmp_path / "probe.safetensors", Probe().state_dict(), {})
    return tmp_path


def test_pictures_speak_and_those_that_cannot_are_said(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    shutil.copy(ROOT / "avatars" / "mira.png", folder / "mira.png")
    Image.new("RGB", (300, 200), (90, 120, 60)).save(folder / "meadow.png")
    (folder / "notes.txt").write_text("no picture")
    options = ["eval", "--backend", "torch-fp32", "--threads", "1", "--seconds", "1.5"]
    files = ["--weights", str(weights / "student.safetensors"), "--probe", str(weights / "probe.safetensors")]
    places = ["--data", str(tmp_path / "data"), "--plots", str(out), "--json", str(tmp_path / "f.json")]
    film = ["--film", "mira", "--film-seconds", "1"]
    assert fada.main([*options, *files, *places, "--pictures", str(folder), *film]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert list(figures["pictures"]) == ["mira"] and figures["framed_share"] == 0.5
    assert len(figures["refused"]) == 1 and "No face was found" in figures["refused"][0]
    assert -1 <= figures["r_opening"] <= 1 and figures["rest_db"] > 0
    text = (out / "pictures.md").read_text()
    assert "| mira |" in text and "refused: No face" in text and text.strip() in capsys.readouterr().out
    with Image.open(out / "pictures.png") as sheet:
        assert sheet.width > 9 * 224
    with av.open(str(out / "mira.mp4")) as made:
        pictures = sum(1 for _ in made.decode(video=0))
        assert pictures == 25 and made.streams.video[0].width == 256 and len(made.streams.audio) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--film", "mira"], "name it with --pictures"),
        (["--pictures", "nowhere"], "nowhere is none"),
        (["--pictures", "."], "found none"),
        (["--pictures", ".", "--film", "mira"], "name it with --plots"),
    ],
)
def test_what_makes_no_sense_is_said(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fada.main(["eval", *options]) == 2
    assert said in capsys.readouterr().err
