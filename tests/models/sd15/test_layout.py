"""The full-size networks have the public weights' keys and shapes, without a byte of weights in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.presets import PRESETS, preset
from models.sd15.model import SD15Model

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "echomimic"
MANIFEST = json.loads((FIXTURES / "echomimic_manifest.json").read_text(encoding="utf-8"))
PARTS = {
    "denoiser": "denoising_unet",
    "reference_net": "reference_unet",
    "face_locator": "face_locator",
    "vae": "vae",
    "audio": "whisper_tiny",
}


@pytest.fixture(scope="module")
def model() -> Iterator[SD15Model]:
    with torch.device("meta"):
        yield SD15Model(preset("base-vae"), "teacher")


@pytest.mark.parametrize("part", PARTS)
def test_every_key_of_the_manifest_is_there_and_no_other(model: SD15Model, part: str) -> None:
    listed = MANIFEST[PARTS[part]].get("keys") or MANIFEST[PARTS[part]]["encoder_keys"]
    wanted = {row["key"]: tuple(row["shape"]) for row in listed}
    ours = {key: tuple(value.shape) for key, value in getattr(model, part).state_dict().items()}
    assert ours == wanted


def test_sizes_are_those_of_the_manifest(model: SD15Model) -> None:
    def elements(part: str) -> int:
        return sum(value.numel() for value in getattr(model, part).state_dict().values())

    assert elements("denoiser") == MANIFEST["denoising_unet"]["n_elements"] == 1_304_353_924
    assert elements("reference_net") == MANIFEST["reference_unet"]["n_elements"] == 815_521_280
    assert elements("face_locator") == 1_086_192
    motion = [k for k in model.denoiser.state_dict() if ".motion_modules." in k]
    assert len(motion) == MANIFEST["denoising_unet"]["n_motion_keys"]


def test_there_are_motion_modules_at_all_21_places(model: SD15Model) -> None:
    names = [name for name, _ in model.denoiser.named_modules() if name.endswith("temporal_transformer")]
    assert len(names) == 21
    assert {
        "down_blocks.3.motion_modules.1",
        "mid_block.motion_modules.0",
        "up_blocks.0.motion_modules.2",
    } < {name.removesuffix(".temporal_transformer") for name in names}


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("base")])
def test_a_student_adds_control_layers_and_tokens_alone(name: str, model: SD15Model) -> None:
    with torch.device("meta"):
        student = SD15Model(preset(name), "student")
    added = set(student.denoiser.state_dict()) - set(model.denoiser.state_dict())
    assert added and all(".control." in key for key in added)
    assert set(student.reference_net.state_dict()) == set(model.reference_net.state_dict())
    assert student.tokens is not None and model.tokens is None


def test_the_tiny_decoder_has_the_public_ones_keys() -> None:
    with torch.device("meta"):
        decoder = SD15Model(preset("base"), "teacher").vae.tiny_decoder
    assert decoder is not None
    convolutions = [1, 7, 12, 17, 19]
    blocks = [3, 4, 5, 8, 9, 10, 13, 14, 15, 18]
    wanted = {f"{i}.weight" for i in convolutions} | {"1.bias", "19.bias"}
    wanted |= {f"{i}.conv.{j}.{kind}" for i in blocks for j in (0, 2, 4) for kind in ("weight", "bias")}
    assert set(decoder.state_dict()) == wanted
    assert sum(p.numel() for p in decoder.parameters()) == pytest.approx(1.22e6, rel=0.01)
