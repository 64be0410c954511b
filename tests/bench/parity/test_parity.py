"""The parity tool: its rule draws what the fixtures' authors drew, and it says what it was not given."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fada
from bench.parity.networks import Check, Fixtures, exact_convolutions, relative_l2, salts
from bench.parity.report import examine_parity
from bench.parity.rule import case_input, face_mask, fill_network

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "echomimic"
DIGESTS = json.loads((FIXTURES / "echomimic_parity.json").read_text(encoding="utf-8"))["digests"]


@pytest.mark.parametrize("key", [key for key in DIGESTS if "|input/" not in key and ".pe" not in key])
def test_weights_of_both_salts_are_those_of_the_fixtures(key: str) -> None:
    salt, _, name = key.partition("|")
    model, _, tail = name.partition("/")
    wanted = DIGESTS[key]
    holder: nn.Module = nn.Module()
    inner = holder
    *path, leaf = tail.split(".")
    for part in path:
        child = nn.Module()
        inner.add_module(part, child)
        inner = child
    inner.register_parameter(leaf, nn.Parameter(torch.empty(wanted["shape"]), requires_grad=False))
    fill_network(holder, model, salt)
    drawn = holder.state_dict()[tail].numpy()
    assert hashlib.sha256(drawn.astype("<f4").tobytes()).hexdigest() == wanted["sha256_f32le"]


@pytest.mark.parametrize("salt", ["alpha", "beta"])
def test_inputs_are_those_of_the_fixtures(salt: str) -> None:
    for case in Fixtures(FIXTURES, salt).cases.values():
        made = {
            "latents": case.latents(salt).transpose(1, 2),
            "ref_latents": case.reference(salt),
            "audio": case.audio(salt),
            "mask": case.mask().unsqueeze(2),
        }
        for name, tensor in made.items():
            wanted = DIGESTS.get(f"{salt}|input/{case.name}/{name}")
            if wanted is not None:
                assert list(tensor.shape) == wanted["shape"]
                got = hashlib.sha256(tensor.contiguous().numpy().astype("<f4").tobytes()).hexdigest()
                assert got == wanted["sha256_f32le"], (case.name, name)


def test_another_salt_draws_other_numbers() -> None:
    one, other = (case_input("A", "latents", salt, (4, 4)) for salt in ("alpha", "gamma"))
    assert not torch.equal(one, other)
    assert face_mask(128, 128).sum() == 5120


def test_errors_are_relative_and_shapes_count() -> None:
    truth = np.ones((2, 3), dtype=np.float32)
    assert relative_l2(truth * 1.5, truth) == pytest.approx(0.5)
    assert relative_l2(truth[:1], truth) == float("inf")
    assert relative_l2(truth * np.nan, truth) == float("inf")
    assert Check("a", 2e-5).good and not Check("a", 2.1e-5).good


@pytest.mark.parametrize("frames", [4, 24])
@torch.inference_mode()
def test_convolutions_are_exact_in_large_batches_too(frames: int) -> None:
    """From 16 on, PyTorch without oneDNN takes NNPACK's Winograd convolution: 4.6e-6 here."""
    torch.manual_seed(0)
    layer, x = nn.Conv2d(320, 64, 3, padding=1, bias=False), torch.randn(frames, 320, 8, 8)
    truth = torch.nn.functional.conv2d(x.double(), layer.weight.double(), padding=1)
    with exact_convolutions():
        error = relative_l2(layer(x), truth.numpy())
    assert error <= 6e-7


def test_what_is_not_there_gets_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert salts(FIXTURES) == ["alpha"]
    assert fada.main(["doctor", "--parity", str(tmp_path)]) == 2
    assert "found none" in capsys.readouterr().err
    with pytest.raises(ValueError, match="choose another salt"):
        examine_parity(FIXTURES, "gamma", ["A"], None)
    with pytest.raises(ValueError, match="got Z"):
        examine_parity(FIXTURES, None, ["Z"], None)
    with pytest.raises(ValueError, match="name a case beside 'kernels'"):
        examine_parity(FIXTURES, None, ["kernels"], None)
