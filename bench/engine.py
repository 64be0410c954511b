"""`fada bench engine`: the ladder of runtimes on this machine, in one paired run.

In flow a preset and the rungs to climb; out flows a report: milliseconds per frame by runtime, stage and number
of evaluations, each rung's ratio to PyTorch's default (eager, fp32, NCHW), the time from a picture to its first
frames, and the sessions that meet their deadlines. A rung is timed only after it drew the same latents as that
default. Runs on the machine's own device, in one thread, without a server. Where no weights are at hand (a bare GPU
machine), random ones are measured: speed does not depend on their values, and the report says so.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench.engine_plot import plot_ladder
from bench.pairs import compare, time_rounds
from bench.report import make_report, summarise
from kernels.fp8.linear import multiplies_fp8
from kernels.native.build import NativeError
from models.build import AnyModel, build_model
from models.checkpoint import CheckpointError
from models.hop import HopControls, StreamState
from models.presets import PRESETS, HopChoice, preset, shipped
from models.runtimes.backends import cpu_has_bf16, load_networks, multiplies_pairs
from models.runtimes.calibration import resolve_backend, tolerance
from models.runtimes.options import BACKENDS
from models.runtimes.picture_size import served_side
from models.runtimes.static_hop import record_on
from models.streaming import Streamer
from models.weights import load_any_model

BASE = "torch-eager"
GRAPH = "+graph"
"""Behind a backend's name: its hops are recorded as CUDA graphs."""

_METHOD = (
    "One hop of every arm a round, arms in turn (A B C, B C A, ...). Milliseconds per frame are those of a "
    "hop over its frames and sessions; CPU time counts all threads. speedup is the median of the rounds' "
    "ratios to torch-eager (fp32, NCHW, what PyTorch gives by default) at the same number of evaluations. "
    "Decoding, blending and head warp are inside, video encoding is not. A rung is timed only if the latents of "
    "its first hop differ from torch-eager's by no more than its tolerance (difference, relative L2). "
    "first_frames_ms: from a picture to the frames of its first hop, one evaluation. sessions: batches whose P99 "
    "is within the hop."
)


@dataclass(frozen=True, slots=True)
class Rung:
    """One runtime that passed its check, or why it did not."""

    name: str
    streamer: Streamer | None
    difference: float | None
    problem: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS))
    parser.add_argument("--nfe", type=int, nargs="+", default=[1, 2, 4, 6], help="evaluations per window")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2], help="sessions per batch")
    parser.add_argument(
        "--backend",
        nargs="+",
        default=["ladder"],
        choices=(
            "ladder",
            "auto",
            *BACKENDS,
            *(name + GRAPH for name in BACKENDS if name.startswith("torch-")),
        ),
        help="rungs to climb; torch-compile, which compiles for minutes, only if named (default: ladder)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the ladder there (needs matplotlib)")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Check every rung, time those that passed, and report."""
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    model, origin = load_or_invent(args.preset)
    names = choose_rungs(args.backend, model, device)
    rungs = [climb(name, model, device) for name in tqdm(names, desc="checking", unit="rung", disable=None)]
    check_against_base(rungs)
    sound = [rung for rung in rungs if not rung.problem]
    rows, sessions = [], []
    for batch in args.batch:
        rows += time_rungs(sound, batch, args.nfe if batch == min(args.batch) else args.nfe[:1], args.rounds)
        sessions += [
            _deadline(row, model.preset.stream.hop_frames / model.preset.fps) for row in rows[-len(sound) :]
        ]
    report = make_report(
        "engine",
        method=_METHOD,
        shapes={
            "preset": args.preset,
            "weights": origin,
            "device": str(device),
            "threads": args.threads,
            "hop_frames": model.preset.stream.hop_frames,
            "overlap_frames": model.preset.stream.overlap_frames,
            "canvas_px": model.preset.canvas_px,
            "picture_px": served_side(model.preset),
            "rounds": args.rounds,
        },
        figures={
            "chosen": dict(zip(("backend", "why"), resolve_backend(model, device), strict=True)),
            "rungs": [
                {
                    "rung": r.name,
                    "difference": r.difference,
                    "tolerance": tolerance(r.name.removesuffix(GRAPH), device),
                    "problem": r.problem,
                }
                for r in rungs
            ],
            "arms": rows,
            "sessions": sessions,
            "first_frames_ms": {rung.name: first_frames(rung) for rung in sound},
        },
    )
    if args.plot is not None:
        plot_ladder(report, args.plot)
    return report


def choose_rungs(asked: Sequence[str], model: AnyModel, device: torch.device) -> list[str]:
    """The rungs' names, PyTorch's default first."""
    small = model.preset.layout == "fada"
    names = [BASE if small else "torch-fp32"]
    for name in asked:
        if name == "auto":
            names.append(resolve_backend(model, device)[0])
        elif name != "ladder":
            names.append(name)
        elif device.type == "cuda":
            names += ["torch-fp32", "torch-bf16", "torch-bf16" + GRAPH]
            names += ["torch-fp8" + GRAPH] if multiplies_fp8(device) else []
        else:
            names += ["torch-fp32", *(["torch-bf16"] if cpu_has_bf16() else [])]
            names += ["onnx", "native"] if small else []
            names += ["native-bf16"] if small and multiplies_pairs() else []
    return list(dict.fromkeys(names))


def climb(name: str, model: AnyModel, device: torch.device) -> Rung:
    """Load one rung, or say why it cannot be had here."""
    try:
        networks = load_networks(copy.deepcopy(model), device, name.removesuffix(GRAPH))
        streamer = Streamer(networks, device, picture_px=served_side(model.preset))
        if name.endswith(GRAPH):
            if device.type != "cuda":
                raise ValueError(f"CUDA graphs need a CUDA device, got {device}.")
            record_on(streamer)
        return Rung(name, streamer, None)
    except (NativeError, ValueError, ImportError, OSError, RuntimeError) as error:
        return Rung(name, None, None, (str(error).strip().splitlines() or [type(error).__name__])[0])


def check_against_base(rungs: list[Rung]) -> None:
    """Hold every rung's first latents to the first rung's; what differs too much keeps its difference alone."""
    truth: torch.Tensor | None = None
    for index, rung in enumerate(rungs):
        if rung.streamer is None:
            continue
        arm = HopArm(rung.streamer, 1, 1)
        arm.step()
        latents = arm.latents()
        truth = latents if truth is None else truth
        difference = float((latents - truth).norm() / truth.norm())
        limit = tolerance(rung.name.removesuffix(GRAPH), rung.streamer.device)
        bad = "" if difference <= limit else f"differs by {difference:.1e}, more than {limit:.0e}: not timed"
        rungs[index] = Rung(rung.name, rung.streamer, float(f"{difference:.2e}"), bad)


def time_rungs(rungs: Sequence[Rung], batch: int, nfes: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Every rung at every number of evaluations in one paired run; one row for each."""
    arms = {
        (rung.name, nfe): HopArm(rung.streamer, batch, nfe)
        for nfe in nfes
        for rung in rungs
        if rung.streamer is not None
    }
    work = {f"{name} nfe {nfe}": arm.step for (name, nfe), arm in arms.items()}
    with tqdm(total=rounds, desc=f"batch {batch}", unit="round", disable=None) as bar:
        next(iter(arms.values())).on_call = bar.update
        times = time_rounds(work, rounds=rounds)
    rows = []
    for nfe in nfes:
        ours = {key: value for key, value in times.items() if key.endswith(f" nfe {nfe}")}
        compared = compare(ours, base=next(iter(ours)))
        rows += [
            _row(name, arm, compared[f"{name} nfe {nfe}"])
            for (name, evaluations), arm in arms.items()
            if evaluations == nfe
        ]
    return rows


def first_frames(rung: Rung, repeats: int = 5) -> dict[str, Any]:
    """From a picture to its first frames: a stream opened and one hop of one evaluation, warm."""
    assert rung.streamer is not None
    took_ms = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        HopArm(rung.streamer, 1, 1).step()
        took_ms.append((time.perf_counter() - began_s) * 1e3)
    return summarise(took_ms)


class HopArm:
    """One configuration, run hop after hop on streams of its own."""

    def __init__(self, streamer: Streamer, batch: int, nfe: int) -> None:
        self.streamer, self.batch, self.nfe = streamer, batch, nfe
        self.stages_ms: dict[str, list[float]] = {}
        self.cpu_ms: list[float] = []
        self.on_call: Any = None
        stream = streamer.preset.stream
        self.frames = stream.hop_frames * batch
        samples = streamer.preset.window_samples
        random = np.random.default_rng(0)
        self._audio = random.normal(0, 0.1, (batch, samples)).astype(np.float32)
        side = streamer.placement.width
        picture = random.integers(0, 255, (side, side, 3), dtype=np.uint8)
        self._states: Sequence[StreamState] = [streamer.open(picture, seed) for seed in range(batch)]
        self._controls = HopControls(stream.audio_scale, stream.reference_scale, nfe)

    def step(self) -> None:
        """One hop of all streams."""
        started_s = time.process_time()
        self._states, _, stages_ms = self.streamer.hop(self._states, self._audio, self._controls)
        self.cpu_ms.append((time.process_time() - started_s) * 1e3)
        for stage, took_ms in stages_ms.items():
            self.stages_ms.setdefault(stage, []).append(took_ms)
        if self.on_call is not None:
            self.on_call()

    def latents(self) -> torch.Tensor:
        """The last latents of all streams, fp32 on the host."""
        return torch.cat([state.motion for state in self._states]).float().cpu()


def load_or_invent(name: str) -> tuple[AnyModel, str]:
    """The shipped student of a preset, or one with random weights; and which of the two it is."""
    path = shipped(name)
    if path.exists():
        try:
            model = load_any_model(path)
            model.preset = HopChoice().applied(model.preset)
            return model, "shipped"
        except CheckpointError as error:
            tqdm.write(f"random weights instead of {path}: {error}")
    torch.manual_seed(0)
    return build_model(HopChoice().applied(preset(name)), "student").eval(), "random"


def _deadline(row: Mapping[str, Any], hop_s: float) -> dict[str, Any]:
    """Whether this many sessions are drawn in time, 99 windows out of 100."""
    p99_ms = row["hop_ms"]["p99"]
    return {
        "arm": row["arm"],
        "nfe": row["nfe"],
        "sessions": row["batch"],
        "hop_p99_ms": p99_ms,
        "hop_budget_ms": round(hop_s * 1e3, 1),
        "in_time": p99_ms <= hop_s * 1e3,
    }


def _row(name: str, arm: HopArm, compared: Mapping[str, Any]) -> dict[str, Any]:
    hop_ms = compared["ms"]
    per_frame = {key: round(float(hop_ms[key]) / arm.frames, 3) for key in ("p50", "p95", "p99")}
    stages = {
        stage: round(float(summarise(times)["p50"]) / arm.frames, 3) for stage, times in arm.stages_ms.items()
    }
    return {
        "arm": name,
        "batch": arm.batch,
        "nfe": arm.nfe,
        "ms_per_frame": per_frame,
        "cpu_ms_per_frame_p50": round(float(summarise(arm.cpu_ms)["p50"]) / arm.frames, 3),
        "stage_ms_per_frame_p50": stages,
        "hop_ms": hop_ms,
        "speedup": compared["speedup"],
    }
