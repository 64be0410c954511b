"""`scripts/gpu DIR`: everything worth doing with a few minutes of a CUDA machine, in one command.

In flow a folder, with the state of an earlier run if there was one; out flow, into the same folder, a report,
a log, benchmark figures and the state to go on from, in at most `MOST_FILES` files of `FILE_BYTES`. Needs
torch, Triton, numpy, tqdm, safetensors, pillow, matplotlib and pytest, no network, no av, no aiortc. A step
that fails is noted and the next goes on; the exit code tells whether any did. The ladder (`--ladder DIR`) stays in
a folder of its own, since its students are many files; what it has finished there is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.parts import find_parts, join_state, split_state
from bench.report import make_report, write_report
from kernels.machine import ROOT

FILE_BYTES = 16_000_000
MOST_FILES = 8
MARGIN_S = 25.0
"""Kept for packing the state and for a step that ends late."""
DRY_STEP_S = 150.0  # a dry run proves that the steps fit together, however slow the machine
LOG_BYTES = 4_000_000
_SMALLEST_LADDER = (
    "--device", "cpu", "--workers", "1", "--rows", "naive", "--seeds", "1", "--suites", "held-out",
    "--teacher-steps", "2", "--steps", "2", "--batch", "2", "--clips", "4", "--speech", "2",
    "--eval-clips", "1", "--eval-seconds", "8", "--drift-seconds", "0",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One command and the seconds it may take."""

    name: str
    command: list[str]
    limit_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step went."""

    name: str
    result: str  # passed, failed, timed out, left out; unfinished: the next run goes on from there
    seconds: float
    command: list[str] = field(default_factory=list)
    detail: str = ""


def read_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command's arguments; what follows `--` goes to `fada train` as it is."""
    split = list(argv).index("--") if "--" in argv else len(argv)
    args = _build_parser().parse_args(list(argv[:split]))
    args.train_arguments = list(argv[split + 1 :])
    for name in ("folder", "data", "runs", "ladder", "teacher"):  # the steps run elsewhere
        if getattr(args, name) is not None:
            setattr(args, name, getattr(args, name).resolve())
    return args


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu",
        description="Tests, benchmarks and a training slice on a CUDA machine.",
        epilog="What follows -- goes to `fada train` as it is.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="results and checkpoint go here and come from here"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="time for everything (default 9)")
    parser.add_argument("--stage", default="vae", help="what to train; see `fada train --help`")
    parser.add_argument("--data", type=Path, help="corpus cache (default: a temporary folder)")
    parser.add_argument("--runs", type=Path, help="runs of earlier stages, where the stage needs them")
    parser.add_argument(
        "--only", nargs="+", choices=("tests", "kernels", "engine", "train", "ladder"), help="only these"
    )
    parser.add_argument(
        "--ladder",
        type=Path,
        metavar="DIR",
        help="also go on with `fada distill --out DIR`, in half of the time",
    )
    parser.add_argument("--teacher", type=Path, help="the ladder's (default: trained first, into its folder)")
    parser.add_argument(
        "--ladder-arguments",
        default="",
        metavar="TEXT",
        help="more arguments for `fada distill`, as one word",
    )
    parser.add_argument("--dry-run", action="store_true", help="the same on a CPU, as small as it goes")
    parser.add_argument(
        "train_arguments", nargs="*", metavar="-- ARG", help="more arguments for `fada train`"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps; 1 if one failed, 2 for wrong use."""
    args = read_arguments(sys.argv[1:] if argv is None else argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    strangers = [path.name for path in args.folder.iterdir() if not _is_ours(path.name, args.stage)]
    if strangers:
        found = ", ".join(sorted(strangers)[:5])
        print(f"expected {args.folder} empty or of stage {args.stage}, found {found}.", file=sys.stderr)
        return 2
    end_s = time.monotonic() + args.minutes * 60
    with tempfile.TemporaryDirectory(prefix="fada-gpu-") as place:
        work = Path(place)
        log = args.folder / "log.txt"
        log.write_text("", encoding="utf-8")
        outcomes = [run_step(step, log) for step in plan_checks(args, work) if _wanted(args, step.name)]
        if _wanted(args, "train"):
            left_s = end_s - time.monotonic() - MARGIN_S
            outcomes.append(train_slice(args, work, left_s / 2 if _wants_ladder(args) else left_s, log))
        if _wants_ladder(args):
            outcomes.append(climb_ladder(args, work, end_s - time.monotonic() - MARGIN_S, log))
        _cut(log)
        write_report(_report(args, work, outcomes), args.folder / "report.json")
    for outcome in outcomes:
        print(f"{outcome.result:<10} {outcome.name:<8} {outcome.seconds:6.1f} s  {outcome.detail}")
    return 0 if all(outcome.result in ("passed", "unfinished") for outcome in outcomes) else 1


def plan_checks(args: argparse.Namespace, work: Path) -> list[Step]:
    """Tests and benchmarks with their share of the time: at most a quarter, an eighth, an eighth."""
    python, whole_s = sys.executable, max(args.minutes * 60, 8 * DRY_STEP_S if args.dry_run else 0.0)
    fada = [python, str(ROOT / "fada.py")]
    pytest = [python, "-m", "pytest", "-q", "-c", str(ROOT / "tests" / "gpu.ini"), "--rootdir", str(ROOT)]
    if find_spec("xdist"):  # 491 of 493 tests had passed after 110 s on 8 of an H100 machine's cores
        pytest += ["-n", str(min(16, os.cpu_count() or 1))]
    tests = [str(ROOT / "tests" / room) for room in ("kernels", "models")]
    dry = args.dry_run
    return [
        Step("tests", [*pytest, "-m", "gpu", *(["--collect-only"] if dry else []), *tests], whole_s / 4),
        Step(
            "kernels",
            [*fada, "bench", "kernels", "--json", str(work / "kernels.json")]
            + (["--device", "cpu", "--rounds", "1"] if dry else ["--quick"]),
            whole_s / 8,
        ),
        Step(
            "engine",
            [*fada, "bench", "engine", "--json", str(work / "engine.json")]
            + (["--device", "cpu", "--rounds", "1", "--threads", "1", "--nfe", "1", "--batch", "1",
                "--backend", "torch-fp32"] if dry else
               ["--batch", "1", "4", "16"]),
            whole_s / 8,
        ),
    ]  # fmt: skip


def train_slice(args: argparse.Namespace, work: Path, left_s: float, log: Path) -> Outcome:
    """Go on training from the folder's state for the time that is left, and put the new state there."""
    if left_s < 20 and not args.dry_run:
        return Outcome("train", "left out", 0.0, detail=f"{max(0.0, left_s):.0f} s were left")
    run_folder = work / args.stage
    resumed = join_state(args.folder, f"{args.stage}.state", run_folder / "state.pt")
    command = [
        sys.executable,
        str(ROOT / "fada.py"),
        "train",
        *("--stage", args.stage),
        *("--out", str(run_folder)),
        *("--data", str(args.data or work / "data")),
        *("--minutes", f"{max(left_s - 15, 5) / 60:.3f}"),
        *(("--runs", str(args.runs)) if args.runs else ()),
        *(("--device", "cpu", "--steps", "2", "--batch", "2", "--identities", "4") if args.dry_run else ()),
        *args.train_arguments,
    ]
    limit_s = max(left_s, DRY_STEP_S) if args.dry_run else left_s
    outcome = run_step(Step("train", command, limit_s), log)
    notes = [
        "resumed" if resumed else "from the start",
        *keep_checkpoint(run_folder, args.folder, args.stage),
    ]
    return Outcome(
        "train", outcome.result, outcome.seconds, command, "; ".join(filter(None, [*notes, outcome.detail]))
    )


def climb_ladder(args: argparse.Namespace, work: Path, left_s: float, log: Path) -> Outcome:
    """Go on with the ladder for the time that is left; what no time was left for is done by the next run."""
    if left_s < 20 and not args.dry_run:
        return Outcome("ladder", "left out", 0.0, detail=f"{max(0.0, left_s):.0f} s were left")
    command = [
        sys.executable,
        str(ROOT / "fada.py"),
        "distill",
        *("--out", str(args.ladder)),
        *("--teacher", str(args.teacher or args.ladder / "teacher" / "model.safetensors")),
        *("--data", str(args.data or work / "data")),
        *("--json", str(work / "ladder.json")),
        *(_SMALLEST_LADDER if args.dry_run else ()),
        *shlex.split(args.ladder_arguments),
    ]
    limit_s = max(left_s, 2 * DRY_STEP_S) if args.dry_run else left_s
    outcome = run_step(Step("ladder", command, limit_s), log)
    trained = len(list(args.ladder.glob("*/done.json")))
    measured = len(list(args.ladder.glob("figures/*-s*.json")))
    result = "unfinished" if outcome.result == "timed out" else outcome.result
    notes = [f"{trained} students trained, {measured} rows measured", outcome.detail]
    return Outcome("ladder", result, outcome.seconds, command, "; ".join(filter(None, notes)))


def keep_checkpoint(run_folder: Path, folder: Path, stage: str) -> list[str]:
    """Copy what a run left into the folder, as far as it fits; returns remarks on what was given up."""
    notes: list[str] = []
    for name in ("model.safetensors", "sheet.png"):
        source = run_folder / name
        if source.is_file() and source.stat().st_size <= FILE_BYTES:
            shutil.copyfile(source, folder / f"{stage}.{name}")
        elif source.is_file():
            notes.append(f"{name} of {source.stat().st_size / 1e6:.0f} MB is too large to keep")
    if not (run_folder / "state.pt").is_file():
        return [*notes, "no state was left"]
    name = f"{stage}.state"
    others = {"report.json", "log.txt"} | {path.name for path in folder.iterdir()}
    others -= {path.name for path in find_parts(folder, name)}
    try:
        most = MOST_FILES - len(others)
        notes.append(split_state(run_folder / "state.pt", folder, name, part_bytes=FILE_BYTES, most=most))
    except ValueError as error:
        notes.append(str(error))
    return notes


def run_step(step: Step, log: Path) -> Outcome:
    """Run one command in a process group of its own, its output into the log; end the group at the limit."""
    print(f"{step.name}: {' '.join(step.command)}", flush=True)
    started_s = time.monotonic()
    with log.open("ab") as output:
        output.write(f"\n=== {step.name} (at most {step.limit_s:.0f} s)\n".encode())
        output.flush()
        child = subprocess.Popen(
            step.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = child.wait(step.limit_s)
        except subprocess.TimeoutExpired:
            code = None
            _end_group(child)
    seconds = round(time.monotonic() - started_s, 1)
    if code == 0:
        return Outcome(step.name, "passed", seconds, step.command)
    result = "timed out" if code is None else "failed"
    return Outcome(step.name, result, seconds, step.command, _last_line(log))


def _end_group(child: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
            return


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else ""


def _cut(log: Path) -> None:
    """Keep the end of a log that grew too long."""
    content = log.read_bytes()
    if len(content) > LOG_BYTES:
        log.write_bytes(content[-LOG_BYTES:])


def _report(args: argparse.Namespace, work: Path, outcomes: list[Outcome]) -> dict[str, Any]:
    figures: dict[str, Any] = {"steps": [asdict(outcome) for outcome in outcomes]}
    for name in ("kernels", "engine", "ladder"):
        with contextlib.suppress(OSError, ValueError):
            figures[name] = json.loads((work / f"{name}.json").read_text(encoding="utf-8"))
    shapes = {"minutes": args.minutes, "stage": args.stage, "dry_run": args.dry_run}
    return make_report("gpu", method="See bench/gpu.py.", shapes=shapes, figures=figures)


def _wants_ladder(args: argparse.Namespace) -> bool:
    return args.ladder is not None and _wanted(args, "ladder")


def _wanted(args: argparse.Namespace, name: str) -> bool:
    return args.only is None or name in args.only


def _is_ours(name: str, stage: str) -> bool:
    return name in ("report.json", "log.txt") or name.startswith(f"{stage}.")


if __name__ == "__main__":
    sys.exit(main())
