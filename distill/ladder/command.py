"""Command ``fada distill``: train every row of the ladder, measure all alike, print the table.

In: a teacher (made first where there is none), the corpus. Out: students, figures, one JSON, one Markdown table.
Resumable: what is done is not done again. ``--table`` alone prints the table that the repository holds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from distill.evaluation.suites import EVAL_SECONDS
from distill.ladder.config import LadderConfig, RowMeasuring, RowTraining, TeacherTraining
from distill.ladder.jobs import Plan, all_jobs, run_jobs, training_jobs, write_json
from distill.ladder.rows import ROWS, STEP_METHODS, TEACHER, Row, chosen_rows
from distill.ladder.table import collect, into_document, markdown, plot, short_table
from distill.train_config import ClipsConfig
from kernels.machine import ROOT, describe_commit, describe_machine, describe_versions
from models.presets import shipped

SUMMARY = "train and measure the ladder from teacher to one evaluation; print the table"
SUITES = ("held-out", "open-set", "degraded")
RESULTS = ROOT / "docs" / "results" / "ladder.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"))
    parser.add_argument("--teacher", type=Path, default=Path("runs/teacher/model.safetensors"))
    parser.add_argument("--teacher-steps", type=int, default=2000, help="if the teacher must be trained")
    parser.add_argument(
        "--weights",
        type=Path,
        help="autoencoder and audio encoder of a new teacher (default: the shipped ones)",
    )
    parser.add_argument("--shipped", type=Path, help="student of the last rows (default: the shipped one)")
    parser.add_argument("--probe", type=Path, help="measuring probe (default: the shipped one)")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--data", type=Path, default=Path("runs/data"), help="cache of the corpus")
    parser.add_argument("--rows", default="all", help="comma-separated rows, or all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--once",
        default="balanced,fast-no-tokens,dmd,adversarial",
        help="comma-separated models with one seed, to save time",
    )
    parser.add_argument("--steps", type=int, default=150, help="training steps of every student")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--lr", type=float, default=1.5e-4)
    parser.add_argument("--clips", type=int, default=1500, help="training clips of high quality")
    parser.add_argument(
        "--speech", type=int, metavar="N", help="speech clips that they share (default: one each)"
    )
    parser.add_argument(
        "--heads", type=float, default=0.0, metavar="SHARE", help="share of rendered heads among clips"
    )
    parser.add_argument(
        "--people", type=int, metavar="N", help="rendered heads of high quality (default: one for each clip)"
    )
    parser.add_argument("--eval-clips", type=int, default=6, help="clips of each suite")
    parser.add_argument("--eval-seconds", type=float, default=EVAL_SECONDS)
    parser.add_argument("--drift-seconds", type=float, default=30.0)
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="threads of one worker")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--document", type=Path, help="put the table into this Markdown file")
    parser.add_argument("--plot", type=Path, help="write plots here (PNG)")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument(
        "--table", action="store_true", help="print the table of docs/results/ladder.json; train nothing"
    )
    parser.add_argument("--train-only", action="store_true", help="leave the measuring for later")
    parser.add_argument("--job", help=argparse.SUPPRESS)


def read_config(args: argparse.Namespace) -> LadderConfig:
    """The command line as one checked value.

    Raises:
        ValueError: an unknown row or suite, or a number that makes no sense.
    """
    suites = tuple(name.strip() for name in args.suites.split(","))
    strange = [name for name in suites if name not in SUITES]
    if strange:
        raise ValueError(f"Unknown suites {strange}; expected some of {', '.join(SUITES)}.")
    usual = shipped(args.preset)
    rows, once = chosen_rows(args.rows), tuple(args.once.split(","))
    return LadderConfig(
        plan=Plan(args.out, args.teacher, rows, args.seeds, suites, args.shipped or usual, once),
        training=RowTraining(
            args.preset,
            ClipsConfig(args.data, args.clips, args.speech, people=args.people, heads=args.heads),
            args.steps,
            args.batch,
            args.frames,
            args.lr,
            args.device,
        ),
        teacher=TeacherTraining(args.weights or usual, args.teacher_steps),
        measuring=RowMeasuring(
            args.data,
            args.probe or shipped(args.preset, "probe"),
            args.eval_clips,
            args.eval_seconds,
            args.drift_seconds,
            args.device,
            args.threads,
        ),
    )


def run(args: argparse.Namespace) -> int:
    """Make the ladder, or one of its jobs; returns the exit code."""
    if args.table:
        return _print_table(args)
    config = read_config(args)
    plan = config.plan
    if args.job:
        return _run_job(config, args.job)
    jobs = training_jobs(plan) if args.train_only else all_jobs(plan)
    failed = run_jobs(jobs, job_command(args), args.workers, args.threads)
    if failed:
        raise RuntimeError(f"These jobs failed: {', '.join(failed)}. Their logs are in {args.out}.")
    if not args.train_only:
        _publish(args, collect(plan, _about(args)), plan.rows)
    return 0


def _print_table(args: argparse.Namespace) -> int:
    if not RESULTS.is_file():
        raise ValueError(f"There is no {RESULTS} yet; run `fada distill` to make it.")
    _publish(args, json.loads(RESULTS.read_text()), ROWS)
    return 0


def _publish(args: argparse.Namespace, ladder: dict[str, Any], rows: tuple[Row, ...]) -> None:
    print(short_table(ladder, rows))
    if args.json:
        write_json(args.json, ladder)
    if args.document:
        into_document(args.document, markdown(ladder))
    if args.plot:
        plot(args.plot, ladder)


def job_command(args: argparse.Namespace) -> list[str]:
    """This command line again, for a job."""
    kept = (
        "out",
        "teacher",
        "teacher_steps",
        "weights",
        "shipped",
        "probe",
        "preset",
        "data",
        "rows",
        "seeds",
        "once",
        "steps",
        "batch",
        "frames",
        "lr",
        "clips",
        "speech",
        "heads",
        "people",
        "eval_clips",
        "eval_seconds",
        "drift_seconds",
        "suites",
        "workers",
        "device",
    )
    pairs = ((f"--{name.replace('_', '-')}", getattr(args, name)) for name in kept)
    return [
        str(ROOT / "fada.py"),
        "distill",
        *(str(part) for pair in pairs if pair[1] is not None for part in pair),
    ]


def _about(args: argparse.Namespace) -> dict[str, Any]:
    trained = ("steps", "batch", "frames", "lr", "seeds", "clips", "heads", "people")
    keys = (*trained, "eval_clips", "eval_seconds", "drift_seconds")
    about = {key: getattr(args, key) for key in keys}
    about |= {"clips": args.eval_clips, "training_clips": args.clips, "seconds": args.eval_seconds}
    machine = describe_machine()
    hardware = ", ".join([f"{machine['cores']} cores of {machine['cpu']}", *machine["gpus"]])
    return {**about, "commit": describe_commit(), "hardware": hardware, "versions": describe_versions()}


def _run_job(config: LadderConfig, job: str) -> int:
    torch.set_num_threads(config.measuring.threads)
    plan = config.plan
    kind, *rest = job.split(":")
    if kind == TEACHER:
        from distill.ladder.training import train_teacher

        train_teacher(config)
    elif kind == "train":
        from distill.ladder.training import train_row

        train_row(config.training, plan, rest[0], int(rest[1]), step_stage=rest[0] in STEP_METHODS)
    elif kind == "measure":
        from distill.ladder.measuring import measure_row

        row = next(row for row in plan.rows if row.name == rest[0])
        measure_row(config.measuring, plan, row, int(rest[1]))
    elif kind == "time":
        from distill.ladder.measuring import time_rows

        time_rows(config.measuring, plan)
    else:
        raise ValueError(f"Unknown job '{job}'.")
    return 0
