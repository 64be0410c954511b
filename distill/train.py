"""Command ``fada train``: one stage of training, resumable, with progress, curves and sample sheets.

In: a stage, a preset, a data folder (a cache of the procedural corpus) and a run folder. Out: see
`distill.loop`. Stages build on each other: vae and audio stand alone, teacher needs both, student the teacher.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from distill.clip_set import ClipSet
from distill.loop import Loop, LoopConfig, Stage, join_world
from models.avatar_model import channels_last
from models.checkpoint import load_model, load_strict, read_tensors, save_model, save_tensors
from models.presets import Preset, preset
from models.vae import VAE

SUMMARY = "train one stage of the model, resumable"
STAGES = ("vae", "decoder", "probe", "audio", "corpus", "teacher", "student", "ship")
STEPS = {"vae": 3000, "audio": 3000, "probe": 2000, "decoder": 4000, "teacher": 6000, "student": 3000}
LEARNING_RATES = {
    "vae": 1e-3,
    "audio": 1e-3,
    "probe": 1e-3,
    "decoder": 7e-4,
    "teacher": 1.2e-3,
    "student": 4e-4,
}
SHIPPED_FILE_BYTES = 18 * 2**20
BATCHES = {"vae": 16, "audio": 16, "probe": 8, "decoder": 16, "teacher": 8, "student": 6}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--stage", required=True, choices=STAGES)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--data", type=Path, default=Path("runs/data"), help="cache of the corpus")
    parser.add_argument("--out", type=Path, help="run folder (default runs/STAGE)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where earlier stages' runs are")
    parser.add_argument("--steps", type=int, help="training steps")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after this time; resume later")
    parser.add_argument("--batch", type=int, help="rows per process and step")
    parser.add_argument("--frames", type=int, default=6, help="frames per window in the diffusion stages")
    parser.add_argument("--identities", type=int, default=1500)
    parser.add_argument("--clips", type=int, default=1200, help="speech clips / talking clips")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--ema", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-resume", action="store_true")
    parser.add_argument(
        "--part", default="0/1", help="corpus stage: which share of the clips to make, as I/N"
    )
    parser.add_argument("--json", type=Path, help="write the last figures here")


def run(args: argparse.Namespace) -> int:
    """Run one stage; returns the exit code."""
    torch.set_num_threads(args.threads)
    chosen = preset(args.preset)
    join_world()
    if args.stage in ("corpus", "ship"):
        return (_make_corpus if args.stage == "corpus" else _ship)(args, chosen)
    figures = _train(args, chosen)
    if args.json:
        args.json.write_text(json.dumps({"stage": args.stage, **figures}, indent=2) + "\n")
    return 0


def _train(args: argparse.Namespace, chosen: Preset) -> dict[str, float]:
    stage = _stage(args, chosen)
    config = LoopConfig(
        out=args.out or args.runs / args.stage,
        steps=args.steps or STEPS[args.stage],
        lr=args.lr or LEARNING_RATES[args.stage],
        minutes=args.minutes,
        ema=args.ema,
        seed=args.seed,
        device=args.device,
        resume=not args.no_resume,
    )
    return Loop(stage, config).run()


def _stage(args: argparse.Namespace, chosen: Preset) -> Stage:
    from distill.pictures import PictureSet
    from distill.speech_set import SpeechSet

    batch = args.batch or BATCHES[args.stage]
    if args.stage in ("vae", "decoder"):
        from distill.stages.vae import VAEStage

        pictures = PictureSet(args.data, "train", args.identities)
        trained = _trained_vae(args, chosen) if args.stage == "decoder" else None
        return VAEStage(chosen, pictures, PictureSet(args.data, "val", 32), batch, args.device, trained)
    if args.stage == "probe":
        from distill.stages.probe import ProbeStage

        pictures = PictureSet(args.data, "train", args.identities)
        return ProbeStage(pictures, PictureSet(args.data, "val", 32), batch, args.device)
    if args.stage == "audio":
        from distill.stages.audio import AudioStage

        speech = SpeechSet(args.data, "train", args.clips)
        return AudioStage(chosen, speech, SpeechSet(args.data, "val", 48), batch, args.frames, args.device)
    return _diffusion_stage(args, chosen, batch)


def _diffusion_stage(args: argparse.Namespace, chosen: Preset, batch: int) -> Stage:
    from distill.stages.student import StudentStage, student_from
    from distill.stages.teacher import TeacherStage
    from models.avatar_model import AvatarModel

    if args.stage == "teacher":
        model = AvatarModel(chosen, "teacher")
        model.vae.load_state_dict(_trained_vae(args, chosen).state_dict())
        path = args.runs / "audio" / "model.safetensors"
        load_strict(model.audio, read_tensors(path)[0], path)
        channels_last(model).to(args.device)
        model.vae.requires_grad_(False)
        return TeacherStage(model, _clips(args, chosen, model.vae, "high"), batch, args.frames, args.device)
    teacher = load_model(args.runs / "teacher" / "model.safetensors", args.device)
    student = student_from(teacher).to(args.device)
    channels_last(student)
    channels_last(teacher)
    student.vae.requires_grad_(False)
    high = _clips(args, chosen, teacher.vae, "high")
    moderate = _clips(args, chosen, teacher.vae, "moderate", args.clips // 4)
    return StudentStage(student, teacher, high, moderate, batch, args.frames, args.device)


def _clips(
    args: argparse.Namespace, chosen: Preset, vae: VAE, quality: str, count: int | None = None
) -> ClipSet:
    from distill.speech_set import SpeechSet

    speech = SpeechSet(args.data, "train", args.clips if count is None else count, quality=quality)
    return ClipSet(args.data, chosen, vae.eval(), speech, "train", count or args.clips, quality=quality)


def _trained_vae(args: argparse.Namespace, chosen: Preset) -> VAE:
    """The autoencoder of the stage "vae"."""
    path = args.runs / "vae" / "model.safetensors"
    vae = VAE(chosen.vae)
    load_strict(vae, read_tensors(path)[0], path)
    return vae


def _make_corpus(args: argparse.Namespace, chosen: Preset) -> int:
    """Render and encode the talking clips ahead of training; several processes may each make a part."""
    part, parts = (int(v) for v in args.part.split("/"))
    vae = _trained_vae(args, chosen)
    channels_last(vae).to(args.device).eval()
    for quality, count in (("high", args.clips), ("moderate", args.clips // 4)):
        clips = _clips(args, chosen, vae, quality, count)
        for index in tqdm(
            range(part, count, parts), desc=f"clips {quality}", mininterval=10, file=sys.stderr
        ):
            clips[index]
            clips.forget()
    return 0


def _ship(args: argparse.Namespace, chosen: Preset) -> int:
    """Put the trained student, its refined decoder and the probe into ``weights/PRESET`` in bf16."""
    student_path = args.runs / "student" / "model.safetensors"
    student = load_model(student_path)
    # how windows follow each other may have been tuned since the weights were trained
    student.preset = dataclasses.replace(student.preset, stream=chosen.stream)
    notes = {"student": read_tensors(student_path)[1]["notes"]}
    refined = args.runs / "decoder" / "model.safetensors"
    if refined.is_file():
        tensors, config = read_tensors(refined)
        load_strict(student.vae, tensors, refined)
        notes["decoder"] = config["notes"]
    folder = args.out or Path("weights") / chosen.name
    save_model(
        folder / "student.safetensors", student, torch.bfloat16, file_bytes=SHIPPED_FILE_BYTES, **notes
    )
    probe, config = read_tensors(args.runs / "probe" / "model.safetensors")
    save_tensors(folder / "probe.safetensors", probe, config)
    return 0
