"""One form for every measurement: figures with the machine, versions, commit, date and load beside them.

In flow plain numbers; out flows bench/results/NAME.json. Imports nothing heavy, so that a report can be
written wherever its figures could be measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

_VERSIONS_OF = ("torch", "torchaudio", "triton", "onnxruntime", "numpy", "av", "aiortc")
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def summarise(values: Iterable[float]) -> dict[str, float | int]:
    """Percentiles of a sample, in the values' own unit.

    Args:
        values: any finite numbers.

    Returns:
        {"n", "p50", "p95", "p99", "min", "max"}; only {"n": 0} of nothing.
    """
    sample = np.asarray(list(values), dtype=np.float64)
    if sample.size == 0:
        return {"n": 0}
    p50, p95, p99 = np.percentile(sample, (50, 95, 99))
    figures = {"p50": p50, "p95": p95, "p99": p99, "min": sample.min(), "max": sample.max()}
    return {"n": int(sample.size), **{name: round(float(value), 4) for name, value in figures.items()}}


def describe_machine() -> dict[str, Any]:
    """CPU, its relevant features, memory and GPUs; no host name."""
    name, features = _cpu()
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_features": features,
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def describe_versions() -> dict[str, str | None]:
    """Versions of Python and of what the figures depend on; None where a package is missing."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _VERSIONS_OF:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def describe_commit() -> str | None:
    """The checkout's short commit, with "+changes" where files differ from it; None outside git."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def load_average() -> list[float] | None:
    """The 1, 5 and 15 minute load, where the system tells it."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def make_report(
    name: str, *, method: str, shapes: Mapping[str, Any], figures: Mapping[str, Any]
) -> dict[str, Any]:
    """Put figures beside everything a reader needs to judge them.

    Args:
        name: what was measured; also the file's name.
        method: a few sentences on how.
        shapes: sizes, dtypes and settings of the measured work.
        figures: the results, JSON values.
    """
    return {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": describe_commit(),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "load_average": load_average(),
        "method": method,
        "shapes": dict(shapes),
        "figures": dict(figures),
    }


def write_report(report: Mapping[str, Any], path: Path | None = None) -> Path:
    """Write a report as JSON, whole or not at all.

    Args:
        report: of `make_report`.
        path: where to; None takes bench/results/NAME.json.

    Returns:
        The path written.
    """
    path = RESULTS / f"{report['name']}.json" if path is None else path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def _git(*arguments: str) -> str:
    run = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
    )
    return run.stdout.strip()


def _cpu() -> tuple[str, list[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), []
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name") or platform.machine(), [name for name in _CPU_FEATURES if name in flags]


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _gpus() -> list[str]:
    try:
        run = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in run.stdout.splitlines() if line.strip()]
