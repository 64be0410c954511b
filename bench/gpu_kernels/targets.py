"""What the kernels were built to reach, and whether a run's figures reach it.

In flow the lines and ratios of one `fada bench kernels`; out flows, for each target, held, missed or not
measured. Ratios are speed-ups: a library call's time over the kernel's, paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

BEST = "best library"
"""Whichever other arm of the line was quickest."""
COPY = "copy bandwidth"
"""The line's share of the roofline, not a ratio."""


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel's line should be at least so many times as fast as an arm."""

    op: str
    shape: str
    line: str
    against: str
    at_least: float


TARGETS = (
    Target("self+reference", "64²", "chain", "sdpa cudnn", 1.15),
    Target("self+reference", "64²", "chain", "sdpa default", 1.5),
    Target("self+reference", "64²", "chain", BEST, 1.0),
    Target("self+reference", "32²", "chain", BEST, 1.2),
    Target("temporal", "64²", "chain", "sdpa default", 5.0),
    Target("temporal", "32²", "chain", "sdpa default", 5.0),
    Target("temporal", "64²", "chain", COPY, 0.75),
    Target("audio cross", "64²", "chain", BEST, 2.0),
    Target("audio cross", "32²", "chain", BEST, 2.0),
    Target("groupnorm+silu", "64²", "chain", "eager", 1.5),
    Target("groupnorm+silu", "32²", "chain", "eager", 1.5),
    Target("cfg control", "64²", "chain", "control layer + eager", 1.5),
)


def judge(
    target: Target, lines: Sequence[Mapping[str, Any]], ratios: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The target, what was reached (the median), and "held", "missed" or "not measured"."""
    reached = _reached(target, lines, ratios)
    verdict = "not measured" if reached is None else "held" if reached >= target.at_least else "missed"
    return asdict(target) | {"reached": reached, "verdict": verdict}


def _reached(
    target: Target, lines: Sequence[Mapping[str, Any]], ratios: Sequence[Mapping[str, Any]]
) -> float | None:
    here = (target.op, target.shape, target.line)
    if target.against == COPY:
        shares = [
            row["roofline"] for row in lines if _place(row) == here and row["arm"] == "own" and "ms" in row
        ]
        return float(shares[0]) if shares else None
    found = {row["against"]: float(row["p50"]) for row in ratios if _place(row) == here}
    if target.against == BEST:
        return min(found.values()) if found else None
    return found.get(target.against)


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["op"], row["shape"], row["line"]
