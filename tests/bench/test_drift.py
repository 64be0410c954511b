"""A quarter of an hour of a call in seconds: the server's own timeline and pacer on a clock of their own.

`fada bench drift` runs the same for 24 hours (bench/results/drift.json).
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.drift import DriftCase, describe, simulate


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_clocks_that_differ_and_a_standstill_leave_no_skew_no_delay_and_no_break(ppm: float) -> None:
    case = DriftCase(hours=0.25, ppm=ppm)
    figures = simulate(case)
    told = describe(case, figures)
    assert abs(told["skew_ms"]["p50"]) <= 15
    assert told["skew_abs_ms"]["p95"] <= 40
    assert told["delay_last_minute_ms"] == pytest.approx(told["delay_first_minute_ms"], abs=20)
    assert told["delay_worst_minute_ms"] < told["delay_first_minute_ms"] + 20
    assert told["longest_freeze_ms"] <= 500
    assert figures.concealed_samples < 48_000 * 0.1, "nothing was put in for the drift"


def test_without_a_standstill_drift_costs_no_slot() -> None:
    for ppm in (200.0, -200.0):
        figures = simulate(DriftCase(hours=0.1, ppm=ppm, standstill_s=0.0))
        assert figures.moves == 0, "samples were put in or left out"
        assert figures.held == 0
        assert figures.most_buffered_s < 0.25


def test_loss_jitter_and_reordering_leave_the_delay_and_are_concealed() -> None:
    case = DriftCase(hours=0.2, ppm=50.0, loss=0.05, jitter_s=0.03, reorder=0.02, standstill_s=0.0)
    figures = simulate(case)
    told = describe(case, figures)
    assert told["delay_last_minute_ms"] == pytest.approx(told["delay_first_minute_ms"], abs=20)
    assert told["longest_freeze_ms"] <= 500
    lost_s = case.hours * 3600 * (case.loss + case.reorder)
    assert told["concealed_s"] == pytest.approx(lost_s, rel=0.25)
    assert told["most_buffered_ms"] < 300
    assert abs(float(np.median(figures.skews_s))) < 0.015
