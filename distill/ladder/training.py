"""Training one model of the ladder: the same clips, steps and rates for every row.

In: the command's options, a row's model and a seed. Out: ``OUT/MODEL-sSEED/model.safetensors``.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

from distill.data.clip_set import ClipSet
from distill.data.speech_set import SpeechSet
from distill.ladder.jobs import Plan, write_json
from distill.ladder.rows import PARENT
from distill.methods.recipes import recipe
from distill.methods.stage import StudentStage, start_student
from distill.methods.step_stages import STEP_STAGES
from distill.methods.tokens import RATES
from distill.stages.speech import spoken_count
from distill.training.loop import Loop, LoopConfig, Stage
from distill.training.precision import trains_in_bf16
from models.avatar_model import AvatarModel, channels_last
from models.modules.vae import VAE
from models.presets import shipped
from models.weights import load_model

WARMUP_STEPS = 20


def clip_sets(args: argparse.Namespace, vae: VAE) -> tuple[ClipSet, ClipSet]:
    """The training clips of high and of moderate quality, a quarter as many."""
    from models.presets import preset

    made = []
    for quality, count in (("high", args.clips), ("moderate", max(1, args.clips // 4))):
        spoken = spoken_count(count, args.speech, quality)
        speech = SpeechSet(args.data, "train", spoken, quality=quality)
        made.append(
            ClipSet(args.data, preset(args.preset), vae.eval(), speech, "train", count, quality=quality)
        )
    return made[0], made[1]


def train_row(args: argparse.Namespace, plan: Plan, name: str, seed: int, step_stage: bool) -> None:
    """Train the model ``name`` with a seed from the teacher, or from the Fast student of the same seed."""
    parent = load_model(plan.model(PARENT, seed) if step_stage else plan.teacher, args.device)
    channels_last(parent)
    sets = clip_sets(args, parent.vae)
    stage: Stage
    if step_stage:
        student = channels_last(copy.deepcopy(parent))
        stage = STEP_STAGES[name](student, parent, *sets, args.batch, args.frames, args.device)
    else:
        chosen = recipe(name)
        student = channels_last(start_student(parent, chosen).to(args.device))
        stage = StudentStage(student, parent, *sets, args.batch, args.frames, args.device, chosen)
    freeze(student)
    _loop(args, stage, plan.model(name, seed).parent, seed)


def freeze(student: AvatarModel) -> None:
    """Only the diffusion trunk trains: the VAE and the audio encoder stay as their own stages left them."""
    student.train()
    student.requires_grad_(True)
    student.vae.requires_grad_(False)
    student.audio.requires_grad_(False)


def _loop(args: argparse.Namespace, stage: Stage, out: Path, seed: int) -> None:
    config = LoopConfig(
        out=out,
        steps=args.steps,
        lr=args.lr,
        warmup=min(WARMUP_STEPS, args.steps),
        ema=0.97,
        seed=seed,
        rates=RATES,
        device=args.device,
        bf16=trains_in_bf16("auto", args.device),
    )
    figures = Loop(stage, config).run()
    write_json(out / "done.json", figures)
    (out / "state.pt").unlink()  # the row is finished; its weights stay


def train_teacher(args: argparse.Namespace) -> int:
    """Train the teacher by ``fada train``, on the shipped VAE and audio encoder."""
    from distill.train import add_arguments, run

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    weights = args.weights or shipped(args.preset)
    line = ["--stage", "teacher", "--preset", args.preset, "--data", args.data, "--device", args.device]
    making = args.teacher.parent / "making"
    line += ["--from-weights", weights, "--out", making, "--steps", args.teacher_steps]
    line += ["--clips", args.clips, "--frames", args.frames, "--batch", 2 * args.batch, "--lr", 1.5e-3]
    code = run(parser.parse_args([str(part) for part in line]))
    if code == 0:  # before that, the file is only a checkpoint of an unfinished teacher
        (making / "model.safetensors").replace(args.teacher)
    return code
