"""Checkpoints come back whole or not at all, with one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from distill.methods.sample import AUDIO_SCALES, REFERENCE_SCALES
from models.avatar_model import AvatarModel
from models.checkpoint import CheckpointError, load_strict, read_tensors, save_tensors
from models.presets import Preset, StreamConfig, preset
from models.weights import load_model, save_model
from tests.models.tiny import tiny_model, tiny_preset


def test_round_trip(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(tmp_path / "a.safetensors", model, steps=7)
    back = load_model(tmp_path / "a.safetensors")
    assert back.preset == model.preset and back.role == "student"
    for key, value in model.state_dict().items():
        torch.testing.assert_close(back.state_dict()[key], value)
    assert not list(tmp_path.glob("*.partial"))


def test_presets_written_before_the_ranges_come_back_with_those_of_training() -> None:
    assert preset("small").stream.audio_scale_range == AUDIO_SCALES
    assert preset("small").stream.reference_scale_range == REFERENCE_SCALES
    old = tiny_preset().to_dict()
    for name in ("audio_scale_range", "reference_scale_range"):
        del old["stream"][name]
    assert Preset.from_dict(json.loads(json.dumps(old))) == tiny_preset()
    with pytest.raises(ValueError, match="low <= reference_scale <= high"):
        StreamConfig(reference_scale_range=(1.2, 1.5))


def test_a_model_may_lie_in_several_files(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    model = tiny_model()
    save_model(path, model, file_bytes=100_000)
    assert len(list(tmp_path.iterdir())) > 1
    loaded = load_model(path).state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded[key], value)
    (tmp_path / "a.2.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_model(path)


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, tiny_model())
    data = path.read_bytes()
    for size in (0, 5, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match="cut off"):
            load_model(path)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_model(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("this is no checkpoint at all")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(text)
    save_file({"a": torch.zeros(1)}, str(tmp_path / "foreign.safetensors"))
    with pytest.raises(CheckpointError, match="format"):
        load_model(tmp_path / "foreign.safetensors")


def test_keys_are_strict(tmp_path: Path) -> None:
    model = tiny_model()
    tensors = dict(model.state_dict())
    tensors["surplus"] = torch.zeros(1)
    del tensors["denoiser.leave.bias"]
    with pytest.raises(CheckpointError, match=r"1 keys missing.*1 unexpected"):
        load_strict(model, tensors, "here")
    tensors = dict(model.state_dict())
    tensors["denoiser.leave.bias"] = torch.zeros(99)
    with pytest.raises(CheckpointError, match="1 of another shape"):
        load_strict(model, tensors, "here")


def test_unknown_configuration_is_refused(tmp_path: Path) -> None:
    model = tiny_model()
    config = {"preset": {**tiny_preset().to_dict(), "wings": 2}, "role": "student", "notes": {}}
    save_tensors(tmp_path / "a.safetensors", model.state_dict(), config)
    with pytest.raises(CheckpointError, match="wings"):
        load_model(tmp_path / "a.safetensors")
    assert read_tensors(tmp_path / "a.safetensors")[1]["role"] == "student"


def test_presets_survive_a_dictionary() -> None:
    for one in (tiny_preset(), preset("small")):
        assert Preset.from_dict(one.to_dict()) == one
    with pytest.raises(ValueError, match="no preset"):
        preset("huge")


def test_every_part_of_the_small_preset_builds() -> None:
    counts = AvatarModel(preset("small"), "student").parameter_count()
    assert set(counts) == {"vae", "audio", "reference_net", "denoiser", "tokens"}
    assert 2 * sum(counts.values()) < 40e6  # bf16 weights that ship stay under 40 MB
