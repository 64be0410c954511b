"""Paired timing: A, B, A, B, … in one process, so that what slows the machine slows both.

In flow two or more pieces of work; out flow their times and, for each against the first, the median of the
per-round ratios with its spread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.report import summarise

Timer = Callable[[Callable[[], object]], float]


def wall_ms(work: Callable[[], object]) -> float:
    """Wall-clock milliseconds of one call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def time_rounds(
    arms: Mapping[str, Callable[[], object]], *, rounds: int, timer: Timer = wall_ms, warm_up: int = 2
) -> dict[str, list[float]]:
    """Time every arm once a round, each round starting one arm later, so that no arm always follows another.

    Args:
        arms: work by name.
        rounds: measured rounds.
        timer: milliseconds of one call.
        warm_up: rounds run and thrown away first.

    Returns:
        (rounds,) milliseconds for each arm.

    Raises:
        ValueError: no arm or no round.
    """
    if not arms or rounds < 1:
        raise ValueError(f"expected at least one arm and one round, got {len(arms)} and {rounds}.")
    names = list(arms)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warm_up, rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            took_ms = timer(arms[name])
            if turn >= 0:
                times[name].append(took_ms)
    return times


def compare(times: Mapping[str, list[float]], base: str | None = None) -> dict[str, dict[str, Any]]:
    """Each arm's percentiles, and its speed relative to the base arm.

    Args:
        times: of `time_rounds`.
        base: the arm to compare with; None takes the first.

    Returns:
        For each arm {"ms": percentiles, "speedup": {"p50", "p10", "p90"}}: base time over the arm's, round by
        round; above 1 the arm is faster.
    """
    first = next(iter(times)) if base is None else base
    reference = np.asarray(times[first])
    results: dict[str, dict[str, Any]] = {}
    for name, arm in times.items():
        ratios = reference / np.asarray(arm)
        spread = dict(zip(("p10", "p50", "p90"), np.percentile(ratios, (10, 50, 90)), strict=True))
        results[name] = {
            "ms": summarise(arm),
            "speedup": {key: round(float(v), 3) for key, v in spread.items()},
        }
    return results
