"""One form for every measurement: figures with the machine, versions, commit, date and load beside them.

In flow plain numbers; out flows bench/results/NAME.json. Imports nothing heavy, so that a report can be
written wherever its figures could be measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kernels.machine import ROOT, describe_commit, describe_machine, describe_versions, load_average

RESULTS = ROOT / "bench" / "results"


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
