"""Command ``fada train``: one stage of training, resumable, with progress, curves, logs and sample sheets.

In: a stage, a preset, a data folder (a cache of the procedural corpus, or videos prepared by ``fada prepare``) and
a run folder. Out: see `distill.training.loop`. Alone or in several processes under torchrun.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from distill.methods.tokens import RATES
from distill.stage_maker import check_options, make_clips, make_stage, trained_vae
from distill.stages.speech import make_all_speech
from distill.training.loop import Loop, LoopConfig
from distill.training.parallel import WAYS, join_world, leave_world, own_device, world
from distill.training.precision import PRECISIONS, trains_in_bf16
from models.avatar_model import channels_last
from models.checkpoint import load_strict, read_tensors, save_tensors
from models.presets import WEIGHTS, Preset, preset
from models.weights import load_model, save_model

SUMMARY = "train one stage of the model, resumable"
STAGES = ("speech", "vae", "decoder", "probe", "audio", "corpus", "teacher", "student", "steps", "ship")
STEPS = {
    "vae": 3000,
    "audio": 3000,
    "probe": 2000,
    "decoder": 4000,
    "teacher": 6000,
    "student": 3000,
    "steps": 1500,
}
LEARNING_RATES = {
    "vae": 1e-3,
    "audio": 1e-3,
    "probe": 1e-3,
    "decoder": 7e-4,
    "teacher": 1.2e-3,
    "student": 4e-4,
    "steps": 2e-4,
}
SHIPPED_FILE_BYTES = 18 * 2**20
BATCHES = {"vae": 16, "audio": 16, "probe": 24, "decoder": 16, "teacher": 8, "student": 6, "steps": 6}


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
    parser.add_argument("--identities", type=int, default=1500, help="drawn identities (vae, decoder, probe)")
    parser.add_argument("--clips", type=int, default=1200, help="speech clips / talking clips of the corpus")
    parser.add_argument(
        "--speech",
        type=int,
        metavar="N",
        help="speech clips that the talking clips share (default: one each), for machines without speech engines",
    )
    parser.add_argument(
        "--high-only", action="store_true", help="corpus, student, steps: leave moderate clips out"
    )
    parser.add_argument(
        "--part", default="0/1", help="corpus stage: which share of the clips to make, as I/N"
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
        help="start the UNets (stage audio: the audio encoder) from those of this model",
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


def run(args: argparse.Namespace) -> int:
    """Run one stage; returns the exit code."""
    torch.set_num_threads(args.threads)
    chosen = preset(args.preset)
    check_options(args)
    if args.stage == "speech":
        return make_all_speech(args.data, args.speech or args.clips)
    if args.stage in ("corpus", "ship"):
        return (_make_corpus if args.stage == "corpus" else _ship)(args, chosen)
    join_world()
    args.device = own_device(args.device)
    torch.manual_seed(args.seed)
    figures = _train(args, chosen)
    if args.json and world()[0] == 0:
        args.json.write_text(json.dumps({"stage": args.stage, **figures}, indent=2) + "\n")
    leave_world()
    return 0


def _train(args: argparse.Namespace, chosen: Preset) -> dict[str, float]:
    config = LoopConfig(
        out=args.out or args.runs / args.stage,
        steps=args.steps or STEPS[args.stage],
        lr=args.lr or LEARNING_RATES[args.stage],
        minutes=args.minutes,
        ema=args.ema,
        checkpoint_s=args.checkpoint_s,
        seed=args.seed,
        device=args.device,
        bf16=trains_in_bf16(args.precision, args.device),
        resume=not args.no_resume,
        parallel=args.parallel,
        rates=RATES if args.stage == "student" else (),
    )
    return Loop(make_stage(args, chosen, args.batch or BATCHES[args.stage]), config).run()


def _make_corpus(args: argparse.Namespace, chosen: Preset) -> int:
    """Render and encode the talking clips ahead of training; several processes may each make a part."""
    part, parts = (int(v) for v in args.part.split("/"))
    vae = trained_vae(args, chosen)
    channels_last(vae).to(args.device).eval()
    for quality, count in (("high", args.clips), ("moderate", args.clips // 4)):
        if quality == "moderate" and args.high_only:
            continue
        clips = make_clips(args, chosen, vae, quality, count)
        for index in tqdm(
            range(part, len(clips), parts), desc=f"clips {quality}", mininterval=10, file=sys.stderr
        ):
            clips[index]
            clips.forget()
    return 0


def _ship(args: argparse.Namespace, chosen: Preset) -> int:
    """Put the trained student, its refined decoder and the probe into ``weights/PRESET`` in bf16."""
    runs = [args.runs / name / "model.safetensors" for name in ("student", "steps")]
    # whichever was trained last; load_model says what is missing where there is neither
    student_path = max(
        (path for path in runs if path.is_file()), key=lambda path: path.stat().st_mtime, default=runs[0]
    )
    print(f"shipping {student_path}")
    student = load_model(student_path)
    # how windows follow each other may have been tuned since the weights were trained
    student.preset = dataclasses.replace(student.preset, stream=chosen.stream)
    notes = {"student": read_tensors(student_path)[1]["notes"]}
    refined = args.runs / "decoder" / "model.safetensors"
    if refined.is_file():
        tensors, config = read_tensors(refined)
        load_strict(student.vae, tensors, refined)
        notes["decoder"] = config["notes"]
    folder = args.out or WEIGHTS / chosen.name
    save_model(
        folder / "student.safetensors", student, torch.bfloat16, file_bytes=SHIPPED_FILE_BYTES, **notes
    )
    probe, config = read_tensors(args.runs / "probe" / "model.safetensors")
    save_tensors(folder / "probe.safetensors", probe, config)
    return 0
