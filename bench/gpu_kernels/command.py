"""`fada bench kernels`: the kernels against the best that libraries offer, in paired rounds.

In flow nothing but the device; out flows a report with the ceilings measured in the same run, every arm's time,
rate and share of its roofline, the kernels' ratios to the best library call, and the targets they were built
for, held or missed. An arm is timed only after its result agreed with the fp32 truth. On a CPU, where the
kernels do not run, the same command compares the PyTorch paths that do, at the small preset's shapes, and
the report goes to another file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from bench.gpu_kernels.cases import OWN, Case, cases
from bench.gpu_kernels.ceilings import Ceilings, measure_ceilings
from bench.gpu_kernels.gpu_timer import event_ms, prepare_timing
from bench.gpu_kernels.targets import TARGETS, judge
from bench.pairs import compare, time_rounds, wall_ms
from bench.report import make_report
from kernels.dispatch import has_triton
from kernels.tuning import tune_kernels

RMS_LIMIT = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 1e-2}
"""Largest RMS of the error over that of the truth with which an arm may be timed."""

_METHOD = (
    "Arms in turn (A B C, B C A, ...), all of a line in one process with one timer: CUDA graphs less their L2 "
    "flushes where the quickest arm is under 1 ms, else events around each call after a flush, the wall clock "
    "on a CPU. Useful FLOP and necessary bytes only. roofline is the time the slower of the measured matmul and "
    "copy ceilings would need over the arm's median. A ratio is the median of per-round ratios with its 10th and "
    "90th percentile. No arm is timed before its result agreed with fp32. 'kernel' lines get their inputs "
    "joined and rearranged beforehand, 'chain' lines do it inside."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--dtype", choices=tuple(RMS_LIMIT), help="default bfloat16 on CUDA, float32 on a CPU"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="chain lines in 5 rounds, no tilings timed unless asked for, no arms that torch.compile makes",
    )
    parser.add_argument(
        "--tilings", type=int, help="tilings to time for each kernel and shape (default 6; 0: rule of thumb)"
    )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Check, then time every case.

    Raises:
        ValueError: a CUDA device was asked for where there is none, or without Triton.
    """
    device = torch.device(args.device)
    on_cuda = device.type == "cuda"
    if on_cuda and not torch.cuda.is_available():
        raise ValueError("expected a CUDA device, found none; use --device cpu.")
    if on_cuda and not has_triton():
        raise ValueError("expected the package triton beside CUDA, it is not installed; use --device cpu.")
    name = args.dtype or ("bfloat16" if on_cuda else "float32")
    dtype = getattr(torch, name)
    rounds, tilings = (5, 0) if args.quick else (args.rounds, 6)
    tilings = tilings if args.tilings is None else args.tilings
    lines: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    with torch.inference_mode(), tune_kernels(tilings if on_cuda else 0):
        ceilings = measure_ceilings(device, dtype, event_ms if on_cuda else wall_ms)
        for case in tqdm(cases(device, dtype, compiled=not args.quick), unit="case", disable=None):
            if args.quick and case.line != "chain":
                continue
            rows, ratio = measure(case, device, RMS_LIMIT[name], rounds, ceilings)
            lines += rows
            ratios += ratio
    return make_report(
        "kernels" if on_cuda else "kernels-cpu",
        method=_METHOD,
        shapes={
            "device": str(device), "dtype": name, "rounds": rounds, "tilings": tilings,
            "threads": torch.get_num_threads(),
        },
        figures={
            "ceilings": ceilings.as_figures(),
            "lines": lines,
            "ratios": ratios,
            "targets": [judge(target, lines, ratios) for target in TARGETS],
        },
    )  # fmt: skip


def measure(
    case: Case, device: torch.device, rms_limit: float, rounds: int, ceilings: Ceilings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One case: its arms' rows, or why an arm was left out, and the kernel's ratio to each other arm."""
    at = {"op": case.op, "shape": case.shape, "line": case.line}
    rows, sound = _check_arms(case, at, rms_limit)
    if not sound:
        return rows, []
    timer_name, arms, timer = prepare_timing(device, sound)
    lost = sound.keys() - arms.keys()
    rows += [
        at | {"arm": name, "left_out": "it cannot be captured into a CUDA graph"} for name in sorted(lost)
    ]
    if not arms:
        return rows, []
    times = time_rounds(arms, rounds=rounds, timer=timer)
    for name, figures in compare(times).items():
        seconds = figures["ms"]["p50"] * 1e-3
        rates = {
            "tflop_per_s": round(case.tflop / seconds, 3),
            "gb_per_s": round(case.gigabytes / seconds, 1),
            "roofline": round(ceilings.ideal_ms(case.tflop, case.gigabytes) * 1e-3 / seconds, 3),
        }
        rows.append(at | {"arm": name, "timer": timer_name} | rates | {"ms": figures["ms"]})
    if OWN not in times:
        return rows, []
    others = {name: compare(times, base=name)[OWN]["speedup"] for name in times if name != OWN}
    return rows, [at | {"against": name} | ratio for name, ratio in others.items()]


def _check_arms(
    case: Case, at: Mapping[str, Any], rms_limit: float
) -> tuple[list[dict[str, Any]], dict[str, Callable[[], Tensor]]]:
    """Hold every arm to the truth; rows for those that fell, the rest by name."""
    truth = case.truth()
    size = truth.square().mean().sqrt()
    fallen: list[dict[str, Any]] = []
    sound: dict[str, Callable[[], Tensor]] = {}
    for name, arm in case.arms.items():
        try:
            error = float((case.part(arm()).float() - truth).square().mean().sqrt() / size)
        # What a library refuses shows as many kinds of error, a compiler's own among them.
        except Exception as refusal:
            reason = (str(refusal).splitlines() or [type(refusal).__name__])[0][:160]
            fallen.append({**at, "arm": name, "left_out": reason})
            continue
        if not error <= rms_limit:
            fallen.append({**at, "arm": name, "left_out": f"wrong by {error:.1e} RMS"})
        else:
            sound[name] = arm
    return fallen, sound
