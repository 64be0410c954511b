"""Training one model of the ladder: the same clips, steps and rates for every row.

In: a `RowTraining`, a row's model and a seed. Out: ``OUT/MODEL-sSEED/model.safetensors``.
"""

from __future__ import annotations

import copy
from pathlib import Path

from distill.data.batches import Clips
from distill.ladder.config import LadderConfig, RowTraining
from distill.ladder.jobs import Plan, write_json
from distill.ladder.rows import PARENT
from distill.methods.recipes import recipe
from distill.methods.stage import StudentStage, start_student
from distill.methods.step_stages import STEP_STAGES
from distill.methods.tokens import RATES
from distill.stage_maker import make_clips
from distill.train import train
from distill.train_config import PaceConfig, StartConfig, TrainConfig
from distill.training.loop import Loop, LoopConfig, Stage
from distill.training.precision import trains_in_bf16
from models.avatar_model import AvatarModel, channels_last
from models.modules.vae import VAE
from models.presets import preset
from models.weights import load_model

WARMUP_STEPS = 20
TEACHER_LR = 1.5e-3


def clip_sets(training: RowTraining, vae: VAE) -> tuple[Clips, Clips]:
    """The training clips of high and of moderate quality, a quarter as many."""
    chosen, clips = preset(training.preset), training.clips
    high = make_clips(clips, chosen, vae, "high")
    return high, make_clips(clips, chosen, vae, "moderate", max(1, clips.clips // 4))


def train_row(training: RowTraining, plan: Plan, name: str, seed: int, step_stage: bool) -> None:
    """Train the model ``name`` with a seed from the teacher, or from the Fast student of the same seed."""
    device = training.device
    parent = load_model(plan.model(PARENT, seed) if step_stage else plan.teacher, device)
    channels_last(parent)
    sets = clip_sets(training, parent.vae)
    stage: Stage
    if step_stage:
        student = channels_last(copy.deepcopy(parent))
        stage = STEP_STAGES[name](student, parent, *sets, training.batch, training.frames, device)
    else:
        chosen = recipe(name)
        student = channels_last(start_student(parent, chosen).to(device))
        stage = StudentStage(student, parent, *sets, training.batch, training.frames, device, chosen)
    freeze(student)
    _loop(training, stage, plan.model(name, seed).parent, seed)


def freeze(student: AvatarModel) -> None:
    """Only the diffusion trunk trains: the VAE and the audio encoder stay as their own stages left them."""
    student.train()
    student.requires_grad_(True)
    student.vae.requires_grad_(False)
    student.audio.requires_grad_(False)


def _loop(training: RowTraining, stage: Stage, out: Path, seed: int) -> None:
    config = LoopConfig(
        out=out,
        steps=training.steps,
        lr=training.lr,
        warmup=min(WARMUP_STEPS, training.steps),
        ema=0.97,
        seed=seed,
        rates=RATES,
        device=training.device,
        bf16=trains_in_bf16("auto", training.device),
    )
    figures = Loop(stage, config).run()
    write_json(out / "done.json", figures)
    (out / "state.pt").unlink()  # the row is finished; its weights stay


def teacher_config(config: LadderConfig) -> TrainConfig:
    """The teacher's run: the rows' clips and frames, twice their batch, on the named VAE and audio encoder."""
    training = config.training
    return TrainConfig(
        stage="teacher",
        preset=training.preset,
        pace=PaceConfig(
            steps=config.teacher.steps,
            batch=2 * training.batch,
            lr=TEACHER_LR,
            device=training.device,
            frames=training.frames,
        ),
        clips=training.clips,
        start=StartConfig(from_weights=config.teacher.weights),
        out=config.plan.teacher.parent / "making",
    )


def train_teacher(config: LadderConfig) -> None:
    """Train the teacher as ``fada train`` does, and put it where the rows look for it."""
    making = teacher_config(config)
    train(making)
    # before that, the file is only a checkpoint of an unfinished teacher
    (making.folder / "model.safetensors").replace(config.plan.teacher)
