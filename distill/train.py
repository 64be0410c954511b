"""Command ``fada train``: one stage of training, resumable, with progress, curves, logs and sample sheets.

In: a stage, a preset, a data folder (a cache of the procedural corpus, or videos prepared by ``fada prepare``) and
a run folder. Out: see `distill.training.loop`. Alone or in several processes under torchrun.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from distill.methods.tokens import RATES
from distill.stage_maker import make_clips, make_stage, trained_vae
from distill.stages.head_clips import make_head_clips
from distill.stages.heads import make_all_heads
from distill.stages.speech import make_all_speech
from distill.train_config import STAGES, ClipsConfig, PaceConfig, StartConfig, TrainConfig
from distill.training.loop import Loop, LoopConfig
from distill.training.parallel import WAYS, join_world, leave_world, own_device, world
from distill.training.precision import PRECISIONS, trains_in_bf16
from models.avatar_model import channels_last
from models.checkpoint import load_strict, read_tensors, save_tensors
from models.presets import WEIGHTS, Preset, preset
from models.weights import load_model, save_model

SUMMARY = "train one stage of the model, resumable"
STEPS = {
    "vae": 3000,
    "audio": 3000,
    "probe": 2000,
    "mouth": 1500,
    "decoder": 4000,
    "teacher": 6000,
    "student": 3000,
    "steps": 1500,
}
LEARNING_RATES = {
    "vae": 1e-3,
    "audio": 1e-3,
    "probe": 1e-3,
    "mouth": 2e-3,
    "decoder": 7e-4,
    "teacher": 1.2e-3,
    "student": 4e-4,
    "steps": 2e-4,
}
SHIPPED_FILE_BYTES = 18 * 2**20
BATCHES = {
    "vae": 16,
    "audio": 16,
    "probe": 24,
    "mouth": 64,
    "decoder": 16,
    "teacher": 8,
    "student": 6,
    "steps": 6,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--stage", required=True, choices=STAGES)
    parser.add_argument("--preset", default="small")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("runs/data"),
        help="cache of the corpus, or what `fada prepare` made",
    )
    parser.add_argument("--out", type=Path, help="run folder (default runs/STAGE)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where earlier stages' runs are")
    parser.add_argument("--json", type=Path, help="write the last figures here")
    _add_starts(parser)
    _add_pace(parser)
    parser.add_argument("--frames", type=int, default=6, help="frames per window in the diffusion stages")
    parser.add_argument("--identities", type=int, default=1500, help="people, drawn or rendered")
    parser.add_argument("--clips", type=int, default=1200, help="speech clips / talking clips of the corpus")
    parser.add_argument(
        "--speech",
        type=int,
        metavar="N",
        help="speech clips that the talking clips share (default: one each), for machines without speech engines",
    )
    parser.add_argument(
        "--people",
        type=int,
        metavar="N",
        help="rendered heads that speak in turn, in clips of high quality (default: one for each clip)",
    )
    parser.add_argument(
        "--heads",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of rendered heads among talking clips, or among a probe's pictures (default 0)",
    )
    parser.add_argument(
        "--high-only", action="store_true", help="corpus, student, steps: leave moderate clips out"
    )
    parser.add_argument(
        "--part",
        type=share,
        default=(0, 1),
        metavar="I/N",
        help="heads, head-clips, corpus: which share of them to make, as I/N",
    )


def _add_starts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where to start")
    group.add_argument(
        "--from-weights",
        type=Path,
        metavar="FILE",
        help="take autoencoder and audio encoder of this model, not of the runs vae and audio",
    )
    group.add_argument(
        "--audio",
        type=Path,
        metavar="FILE",
        help="teacher: take the audio encoder of this run of the stage audio, not that of --from-weights",
    )
    group.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help="start the UNets (stage audio: the audio encoder; stage probe: the probe) from those of this file",
    )
    group.add_argument(
        "--control",
        type=Path,
        metavar="FILE",
        help="student: take CFG tokens and control layers of this student, and the trunk of the teacher",
    )
    group.add_argument("--method", help="student: a recipe (default fast); steps: a method (consistency)")
    group.add_argument(
        "--grids",
        type=step_counts,
        metavar="N,…",
        help="student: step counts that it shall be good at (default 6)",
    )
    group.add_argument("--no-resume", action="store_true", help="begin anew even if the run can go on")


def step_counts(text: str) -> tuple[int, ...]:
    """Step counts of an option, "1,2,6" -> (1, 2, 6).

    Raises:
        ArgumentTypeError: not whole numbers of 1..50.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 50 for part in parts):
        raise argparse.ArgumentTypeError(f"expected step counts of 1 to 50 such as 1,2,6, got '{text}'")
    return tuple(int(part) for part in parts)


def _add_pace(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how long, how fast, on what")
    group.add_argument("--steps", type=int, help="training steps")
    group.add_argument("--minutes", type=float, default=0.0, help="stop after this time; resume later")
    group.add_argument("--batch", type=int, help="rows of a step over all processes")
    group.add_argument("--lr", type=float, help="peak learning rate")
    group.add_argument("--ema", type=float, default=0.995, help="decay of the averaged weights")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--checkpoint-s", type=float, default=120.0, help="seconds between checkpoints")
    group.add_argument("--threads", type=int, default=1)
    group.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the networks' arithmetic; auto is bf16 where the hardware multiplies it, else fp32",
    )
    group.add_argument(
        "--parallel",
        choices=WAYS,
        default="auto",
        help="how several processes share the work: auto is ddp on GPUs, average elsewhere; fsdp shares weights",
    )


def read_config(args: argparse.Namespace) -> TrainConfig:
    """The command line as one checked value; what was not given is the stage's own.

    Raises:
        ValueError: a choice that the stage would ignore.
    """
    stage = args.stage
    return TrainConfig(
        stage=stage,
        preset=args.preset,
        pace=PaceConfig(
            steps=args.steps or STEPS.get(stage, 0),
            batch=args.batch or BATCHES.get(stage, 0),
            lr=args.lr or LEARNING_RATES.get(stage, 0.0),
            device=args.device,
            frames=args.frames,
            minutes=args.minutes,
            ema=args.ema,
            seed=args.seed,
            checkpoint_s=args.checkpoint_s,
            threads=args.threads,
            precision=args.precision,
            parallel=args.parallel,
            resume=not args.no_resume,
        ),
        clips=ClipsConfig(
            args.data,
            args.clips,
            args.speech,
            args.high_only,
            args.identities,
            args.people,
            args.heads,
        ),
        start=StartConfig(args.from_weights, args.audio, args.init, args.control, args.method, args.grids),
        runs=args.runs,
        out=args.out,
        part=args.part,
    )


def share(text: str) -> tuple[int, int]:
    """A share of an option, "0/4" -> (0, 4).

    Raises:
        ArgumentTypeError: not two whole numbers.
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a share such as 0/4, got '{text}'")
    return int(index), int(count)


def run(args: argparse.Namespace) -> int:
    """Run one stage; returns the exit code."""
    config = read_config(args)
    torch.set_num_threads(config.pace.threads)
    chosen = preset(config.preset)
    if config.stage == "speech":
        return make_all_speech(config.clips.data, config.clips.speech or config.clips.clips)
    if config.stage == "heads":
        clips, device = config.clips, own_device(config.pace.device)
        return make_all_heads(clips.data, clips.identities, config.part, device)
    if config.stage == "head-clips":
        clips, device = config.clips, own_device(config.pace.device)
        part, minutes = config.part, config.pace.minutes
        return make_head_clips(clips.data, clips.clips, clips.people, clips.speech, part, minutes, device)
    if config.stage == "corpus":
        return _make_corpus(config, chosen)
    if config.stage == "ship":
        return _ship(config, chosen)
    figures = train(config)
    if args.json and world()[0] == 0:
        args.json.write_text(json.dumps({"stage": config.stage, **figures}, indent=2) + "\n")
    leave_world()
    return 0


def train(config: TrainConfig) -> dict[str, float]:
    """Train a stage to its end or as far as its minutes allow; returns the last figures.

    In several processes all of them call this; who calls leaves the world afterwards.
    """
    join_world()
    pace = replace(config.pace, device=own_device(config.pace.device))
    torch.manual_seed(pace.seed)
    loop = LoopConfig(
        out=config.folder,
        steps=pace.steps,
        lr=pace.lr,
        minutes=pace.minutes,
        ema=pace.ema,
        checkpoint_s=pace.checkpoint_s,
        seed=pace.seed,
        device=pace.device,
        bf16=trains_in_bf16(pace.precision, pace.device),
        resume=pace.resume,
        parallel=pace.parallel,
        rates=RATES if config.stage == "student" else (),
    )
    return Loop(make_stage(replace(config, pace=pace)), loop).run()


def _make_corpus(config: TrainConfig, chosen: Preset) -> int:
    """Render and encode the talking clips ahead of training; several processes may each make a part."""
    (part, parts), clips = config.part, config.clips
    vae = trained_vae(config, chosen)
    channels_last(vae).to(config.pace.device).eval()
    for quality, count in (("high", clips.clips), ("moderate", clips.clips // 4)):
        if quality == "moderate" and clips.high_only:
            continue
        made = make_clips(clips, chosen, vae, quality, count)
        for index in tqdm(
            range(part, len(made), parts), desc=f"clips {quality}", mininterval=10, file=sys.stderr
        ):
            made[index]
            made.forget()
    return 0


def _ship(config: TrainConfig, chosen: Preset) -> int:
    """Put the trained student, its refined decoder and the probe into ``weights/PRESET`` in bf16."""
    runs = [config.runs / name / "model.safetensors" for name in ("student", "steps")]
    # whichever was trained last; load_model says what is missing where there is neither
    student_path = max(
        (path for path in runs if path.is_file()), key=lambda path: path.stat().st_mtime, default=runs[0]
    )
    print(f"shipping {student_path}")
    student = load_model(student_path)
    # how windows follow each other may have been tuned since the weights were trained
    student.preset = replace(student.preset, stream=chosen.stream)
    notes = {"student": read_tensors(student_path)[1]["notes"]}
    refined = config.runs / "decoder" / "model.safetensors"
    if refined.is_file():
        tensors, made = read_tensors(refined)
        load_strict(student.vae, tensors, refined)
        notes["decoder"] = made["notes"]
    folder = config.out or WEIGHTS / chosen.name
    save_model(
        folder / "student.safetensors", student, torch.bfloat16, file_bytes=SHIPPED_FILE_BYTES, **notes
    )
    probe, made = read_tensors(config.runs / "probe" / "model.safetensors")
    save_tensors(folder / "probe.safetensors", probe, made)
    return 0
