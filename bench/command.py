"""`fada bench WHAT`: measures this machine and writes bench/results/WHAT.json.

In flow the choice of what to measure; out flow a short table and a report (`bench.report`). Each measurement
is a module that defines `add_arguments(parser)` and `run(args) -> report or reports`, imported only when asked
for.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from bench.report import write_report

SUMMARY = "Measure this machine: kernels, engine, or the whole way from microphone to frame."

BENCHES = {
    "e2e": ("bench.call.e2e", "microphone to frame, A/V skew and fps, through a real server and client"),
    "idle": ("bench.idle", "the mouth in noise without speech, and where speech begins and ends"),
    "kernels": ("bench.gpu_kernels.command", "attention kernels against PyTorch, in paired runs"),
    "drift": ("bench.drift", "hours of a call on a simulated clock: skew, delay, drift, a standstill"),
    "hops": ("bench.hops", "delay against lip-sync and flicker, by hop, overlap, look-ahead and evaluations"),
    "engine": ("bench.engine", "milliseconds per frame by stage and number of evaluations"),
}


class BenchModule(Protocol):
    """What every measurement defines."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments; each measurement brings its own."""
    choices = parser.add_subparsers(dest="bench", required=True, metavar="WHAT")
    for name, (module, summary) in BENCHES.items():
        chosen = choices.add_parser(name, help=summary, description=summary)
        chosen.add_argument(
            "--json", type=Path, metavar="FILE", help=f"where to write (default bench/results/{name}.json)"
        )
        cast(BenchModule, importlib.import_module(module)).add_arguments(chosen)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    module = cast(BenchModule, importlib.import_module(BENCHES[args.bench][0]))
    made = module.run(args)
    reports = [made] if isinstance(made, Mapping) else list(made)
    for report in reports:
        path = args.json
        if path is not None and len(reports) > 1:  # one file each: NAME-REPORT.json
            path = path.with_stem(f"{path.stem}-{report['name']}")
        print(f"{report['name']}\n{render_figures(report['figures'], '  ')}")
        print(f"written to {write_report(report, path)}")
    return 0


def render_figures(figures: Mapping[str, Any], indent: str = "") -> str:
    """Figures as indented lines; a set of percentiles on one line."""
    lines: list[str] = []
    for name, value in figures.items():
        if isinstance(value, Mapping) and not any(
            isinstance(inner, Mapping | list) for inner in value.values()
        ):
            lines.append(f"{indent}{name}: " + "  ".join(f"{key} {inner}" for key, inner in value.items()))
        elif isinstance(value, Mapping):
            lines.append(f"{indent}{name}:\n{render_figures(value, indent + '  ')}")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            rows = ("  ".join(f"{key} {_short(inner)}" for key, inner in row.items()) for row in value)
            lines.append(f"{indent}{name}:\n" + "\n".join(f"{indent}  {row}" for row in rows))
        else:
            lines.append(f"{indent}{name}: {_short(value)}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
