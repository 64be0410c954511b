"""The stage that teaches a decoder to move: it learns, its figures are whole, its files load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill.data.draws import StepDraw
from distill.stages.moving import MovingStage, motion_weights
from models.checkpoint import load_strict, read_tensors
from models.configs import VAEConfig
from models.modules.vae import VAE
from models.presets import Preset
from tests.distill.data.test_motion_set import Slides

TINY = Preset("mover", canvas_px=96, face_box=(16, 20, 64, 64), vae=VAEConfig(
    stem=2, widths=(16, 24, 32), blocks=1, decoder="move"
))  # fmt: skip


def made() -> MovingStage:
    torch.manual_seed(0)
    return MovingStage(TINY, [Slides()], [Slides()], batch=6, device="cpu")


def test_it_learns_to_move() -> None:
    stage = made()
    optimiser = torch.optim.Adam(stage.trainable().parameters(), 2e-3)
    losses = []
    for step in range(40):
        loss, figures = stage.loss(StepDraw(0, step, 0, 6, 6))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(figures["flow"])
        assert all(torch.tensor(value).isfinite() for value in figures.values()), figures
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])


def test_a_saved_autoencoder_loads_and_a_sheet_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = made()
    stage.save(tmp_path / "model.safetensors", {"steps": 0})
    tensors, config = read_tensors(tmp_path / "model.safetensors")
    assert Preset.from_dict(config["preset"]) == TINY
    load_strict(VAE(TINY.vae), tensors, tmp_path)
    stage.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_a_decoder_learns_on_while_latents_stay(tmp_path: Path) -> None:
    """Whatever was trained on the latents stays valid: encoder, mean and deviation are kept to the bit."""
    first = made()
    first.save(tmp_path / "vae.safetensors", {})
    trained = VAE(TINY.vae)
    load_strict(trained, read_tensors(tmp_path / "vae.safetensors")[0], tmp_path)
    stage = MovingStage(TINY, [Slides()], [Slides()], 6, "cpu", trained)
    assert stage.name == "decoder"
    optimiser = torch.optim.Adam([p for p in stage.trainable().parameters() if p.requires_grad], 2e-3)
    for step in range(2):
        loss, figures = stage.loss(StepDraw(0, step, 0, 6, 6))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert "kl" not in figures and "told" not in figures
    stage.save(tmp_path / "decoder.safetensors", {})
    before, after = (read_tensors(tmp_path / f"{name}.safetensors")[0] for name in ("vae", "decoder"))
    kept = ("reader.", "writer.", "mean", "std")
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(kept))
    learnt = [name for name in before if name.startswith(("decoder.", "reference_tower."))]
    assert sum(not torch.equal(before[name], after[name]) for name in learnt) > 0.8 * len(learnt)
    assert set(after) == set(before)


def test_it_runs_in_bf16_too() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = made().loss(StepDraw(0, 0, 0, 6, 6))
    loss.backward()
    assert loss.isfinite()


def test_weights_lie_on_mouth_and_eyes() -> None:
    weights = motion_weights((48, 88, 160, 160))
    assert weights.shape == (160, 160)
    assert weights[186 - 88, 80] > 4.5 and weights[122 - 88, 80 - 31] > 4.5
    assert weights[150, 5] < 1.1
