"""The reserve for any arrivals: bounded steps of the right sign, wherever zero is, and it comes to rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.outbound.reserve import Reserve, ReserveConfig

CONFIG = ReserveConfig(history_windows=10, patience_windows=3)
EARLINESS = st.lists(st.floats(-2, 2), min_size=1, max_size=25)
QUIET = st.booleans()


def filled(earliness: list[float], zero_s: float = 0.0) -> Reserve:
    reserve = Reserve(CONFIG)
    for index, early_s in enumerate(earliness):
        reserve.note(index * 0.08, zero_s + index * 0.08 - early_s)
    return reserve


@given(EARLINESS, QUIET)
def test_a_step_is_bounded_and_goes_to_where_time_is_short(earliness: list[float], quiet: bool) -> None:
    reserve = filled(earliness)
    step_s = reserve.nudge_s(0.0, quiet)
    later = CONFIG.quiet_later_s if quiet else CONFIG.speech_later_s
    earlier = CONFIG.quiet_earlier_s if quiet else CONFIG.speech_earlier_s
    assert -earlier <= step_s <= later
    if step_s > 0:
        assert reserve.low_s(0.0) < CONFIG.guard_s
    if step_s < 0:
        assert reserve.low_s(0.0) > CONFIG.guard_s and reserve.settled


@given(EARLINESS, st.floats(-1e4, 1e4))
def test_where_the_clocks_zero_is_makes_no_difference(earliness: list[float], zero_s: float) -> None:
    here, there = filled(earliness), filled(earliness, zero_s)
    assert there.low_s(zero_s) == pytest.approx(here.low_s(0.0), abs=1e-6)
    assert there.recent_s(zero_s) == pytest.approx(here.recent_s(0.0), abs=1e-6)


@given(EARLINESS)
def test_at_most_the_stragglers_had_less(earliness: list[float]) -> None:
    reserve = filled(earliness)
    seen = earliness[-CONFIG.history_windows :]
    less = sum(early_s < reserve.low_s(0.0) - 1e-9 for early_s in seen)
    assert less <= CONFIG.stragglers
    assert any(early_s == pytest.approx(reserve.low_s(0.0), abs=1e-9) for early_s in seen)


@given(st.floats(-0.5, 0.5), QUIET)
def test_on_a_steady_machine_it_comes_to_rest_and_stays(early_s: float, quiet: bool) -> None:
    anchor_s, steps = 0.0, []
    reserve = filled([early_s] * CONFIG.history_windows)
    for _ in range(6000):
        steps.append(reserve.nudge_s(anchor_s, quiet))
        anchor_s += steps[-1]
    assert steps[-1] == 0.0
    assert abs(reserve.low_s(anchor_s) - CONFIG.guard_s) <= CONFIG.dead_band_s + 1e-9
    assert len({step > 0 for step in steps if step}) <= 1, "it never overshoots"
