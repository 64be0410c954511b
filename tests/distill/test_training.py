"""The stages take real steps on real data: small networks, few steps, losses that fall."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill.data.batches import draw_batch, draw_noise
from distill.data.clip_set import ClipSet, busy_expression
from distill.data.draws import StepDraw
from distill.data.pictures import PictureSet
from distill.data.speech_set import SpeechSet, audio_window
from distill.stages.audio import AudioStage
from distill.stages.teacher import TeacherStage
from distill.stages.vae import VAEStage
from models.avatar_model import AvatarModel
from models.face import MOUTH_DIMS, SAMPLES_PER_FRAME
from tests.models.tiny import tiny_preset

CPU = "cpu"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    root = tmp_path_factory.mktemp("data")
    torch.manual_seed(0)
    vae = AvatarModel(tiny_preset(), "teacher").vae.eval()
    speech = SpeechSet(root, "train", 2, seconds=3.0)
    return ClipSet(root, tiny_preset(), vae, speech, "train", 2, frames=14)


def test_items_depend_on_their_index_alone(clips: ClipSet, tmp_path: Path) -> None:
    again = ClipSet(
        tmp_path, clips.preset, clips.vae, SpeechSet(tmp_path, "train", 2, 3.0), "train", 2, frames=14
    )
    torch.testing.assert_close(again[1].latents, clips[1].latents)
    torch.testing.assert_close(again[1].audio, clips[1].audio)
    assert clips[0].latents.shape == (14, *clips.preset.latent_shape)


def test_audio_window_pads_with_silence() -> None:
    sound = torch.arange(1, 4 * SAMPLES_PER_FRAME + 1).float()
    window = audio_window(sound, 0, 4, 100, 50)
    assert window.shape == (100 + 4 * SAMPLES_PER_FRAME + 50,)
    assert not window[:100].any() and not window[-50:].any() and window[100] == 1
    late = audio_window(sound, 10, 2, 100, 50)
    assert late.shape == (100 + 2 * SAMPLES_PER_FRAME + 50,) and not late.any()


def test_batches_hold_what_they_promise(clips: ClipSet) -> None:
    generators = StepDraw(seed=1, step=0, first=0, rows=3, total=3).generators()
    batch = draw_batch([(clips, 1.0)], 5, 2, generators, CPU)
    assert batch.x_0.shape == (3, 5, *clips.preset.latent_shape) and batch.motion.shape[1] == 2
    samples = (
        clips.preset.audio.context_samples + 5 * SAMPLES_PER_FRAME + clips.preset.audio.lookahead_samples
    )
    assert batch.audio.shape == (3, samples) and bool(batch.high_quality.all())
    noise = draw_noise(batch.x_0, generators)
    assert noise.std().item() == pytest.approx(1.0, abs=0.05)


def test_expressions_stay_in_range() -> None:
    generator = torch.Generator().manual_seed(3)
    expression = busy_expression(50, generator)
    assert expression.shape == (50, 4) and expression.abs().max() <= 1 and (expression[:, 0] >= 0).all()


def _run(stage, steps: int, lr: float = 2e-3) -> list[float]:  # type: ignore[no-untyped-def]
    optimizer = torch.optim.Adam([p for p in stage.trainable().parameters() if p.requires_grad], lr=lr)
    losses = []
    for step in range(steps):
        # two batches take turns
        rows = stage.batch
        loss, _ = stage.loss(StepDraw(seed=0, step=step % 2, first=0, rows=rows, total=rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_vae_learns_and_its_decoder_can_learn_on(tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path, "train", 2, frames=3)
    stage = VAEStage(tiny_preset(), pictures, pictures, 2, CPU)
    losses = _run(stage, 12)
    assert sum(losses[-2:]) < sum(losses[:2])
    tower = stage.vae.tower.enter.weight.detach().clone()
    later = VAEStage(tiny_preset(), pictures, pictures, 2, CPU, trained=stage.vae)
    _run(later, 3)
    torch.testing.assert_close(stage.vae.tower.enter.weight, tower)


def test_audio_encoder_learns_the_mouth(tmp_path: Path) -> None:
    speech = SpeechSet(tmp_path, "train", 2, seconds=3.0)
    stage = AudioStage(tiny_preset(), speech, speech, 3, 8, CPU)
    losses = _run(stage, 12)
    assert sum(losses[-2:]) < sum(losses[:2])
    assert set(stage.evaluate(clips=1)) == {f"r_{name}" for name in MOUTH_DIMS}


def test_teacher_learns(clips: ClipSet) -> None:
    torch.manual_seed(1)
    teacher = AvatarModel(tiny_preset(), "teacher")
    teacher.vae.load_state_dict(clips.vae.state_dict())
    losses = _run(TeacherStage(teacher, clips, 3, 4, CPU), 30)
    assert sum(losses[-2:]) < sum(losses[:2])
