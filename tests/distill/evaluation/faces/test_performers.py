"""Who makes pictures speak: students of any preset, autoencoders with and without flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from distill.evaluation.config import StudentConfig
from distill.evaluation.faces.line import Line
from distill.evaluation.faces.opened import open_performer
from distill.evaluation.faces.performers import Puppet, Student, load_autoencoder
from distill.evaluation.faces.regions import OUT_PX
from models.checkpoint import save_tensors
from models.modules.vae import VAE
from models.presets import Preset, VAEConfig
from models.weights import save_model
from tests.distill.evaluation.faces.test_measures import grainy, item_of
from tests.models.test_moving_stream import MOVING, moving_model
from tests.models.tiny import tiny_model

PAINTING = replace(MOVING, vae=VAEConfig(latent_channels=8, widths=(8, 16), blocks=1))


def autoencoder(path: Path, preset: Preset) -> Path:
    torch.manual_seed(2)
    vae = VAE(preset.vae)
    with torch.no_grad():
        for parameter in vae.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    save_tensors(path, vae.state_dict(), {"preset": preset.to_dict(), "notes": {}})
    return path


@pytest.mark.parametrize("preset", [MOVING, PAINTING], ids=["move", "paint"])
def test_an_autoencoder_draws_inside_the_box_as_its_own_decoder_does(preset: Preset, tmp_path: Path) -> None:
    found = load_autoencoder(autoencoder(tmp_path / "vae.safetensors", preset))
    assert found is not None and found[1] == preset
    puppet = Puppet(*found, shown=lambda line: torch.zeros(0))
    picture = grainy()
    z = torch.randn(3, *preset.latent_shape, generator=torch.Generator().manual_seed(1))
    frames = puppet.draw(picture, z)
    assert frames.shape == (3, OUT_PX, OUT_PX, 3)
    left, top, width, height = (2 * edge for edge in preset.face_box)
    outside = np.ones((OUT_PX, OUT_PX), bool)
    outside[top : top + height, left : left + width] = False
    np.testing.assert_array_equal(
        frames[:, outside], np.broadcast_to(picture[outside], frames[:, outside].shape)
    )
    box = puppet.box_of(picture)
    with torch.no_grad():
        reference = found[0].reference(box.expand(3, -1, -1, -1))
        own = found[0].decode(z, reference)
    inside = torch.from_numpy(frames[:, top : top + height, left : left + width].copy()).permute(0, 3, 1, 2)
    small = F.avg_pool2d(inside.float() / 255, 2)
    still = (own - box).abs().mean()  # how much the decoder changes at all
    assert (small - own).abs().mean() < 0.35 * still


def test_a_checkpoint_says_itself_whether_it_can_hear(tmp_path: Path) -> None:
    save_model(tmp_path / "student.safetensors", tiny_model())
    assert load_autoencoder(tmp_path / "student.safetensors") is None
    vae = autoencoder(tmp_path / "vae.safetensors", MOVING)
    assert isinstance(open_performer(StudentConfig(vae), "small", tmp_path), Puppet)


@pytest.mark.parametrize("moves", [False, True])
def test_a_student_gives_512_px_whatever_it_draws(moves: bool, tmp_path: Path) -> None:
    model = moving_model() if moves else tiny_model()
    path = tmp_path / "student.safetensors"
    save_model(path, model)
    performer = open_performer(StudentConfig(path, "torch-fp32"), model.preset.name, tmp_path)
    assert isinstance(performer, Student) and not performer.streamer.move_head
    assert performer.streamer.placement.width == (512 if moves else 256)


def test_an_autoencoder_that_moves_is_told_the_line(tmp_path: Path) -> None:
    """No other face is looked at: states are written into latents, rest is the picture's own state of rest."""
    found = load_autoencoder(autoencoder(tmp_path / "vae.safetensors", MOVING))
    assert found is not None

    def nobody(line: Line) -> torch.Tensor:
        raise AssertionError("no face should be shown")

    puppet = Puppet(*found, shown=nobody)
    mouth, expression = torch.zeros(3, 6), torch.zeros(3, 4)
    mouth[1, 0], expression[2, 0] = 0.8, 1.0
    frames = puppet.perform(grainy(), Line(item_of(mouth), 0, expression))
    changed = np.abs(frames[1:].astype(int) - frames[0]).mean((1, 2, 3))
    assert frames.shape == (3, OUT_PX, OUT_PX, 3) and (changed > 0.01).all()
