"""The rate for any reports: always a rung, down at once, up one rung at a time, never while something is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream.outbound.bit_rate import LOWEST_BPS, STEP, BitRateConfig, BitRateControl

CONFIG = BitRateConfig()
HIGHEST = st.integers(1, 20_000_000)
REPORTS = st.lists(
    st.tuples(st.floats(0, 1), st.one_of(st.none(), st.floats(0, 5)), st.floats(0.05, 20)), max_size=60
)


@given(HIGHEST)
def test_the_ladder_falls_by_a_quarter_and_not_below_the_lowest(highest: int) -> None:
    ladder = BitRateControl(highest).ladder
    assert ladder[0] == highest
    assert all(below == int(above * STEP) for above, below in pairwise(ladder))
    assert ladder[-1] * STEP < LOWEST_BPS
    assert len(ladder) == 1 or ladder[-1] >= LOWEST_BPS - 1


@given(HIGHEST, REPORTS)
def test_every_step_is_one_that_the_report_allows(
    highest: int, reports: list[tuple[float, float | None, float]]
) -> None:
    control, now_s, fell_s = BitRateControl(highest), 0.0, float("-inf")
    rung = 0
    for lost, rtt_s, after_s in reports:
        now_s += after_s
        rate = control.note(lost, rtt_s, now_s)
        assert rate == control.bit_rate and rate in control.ladder
        moved, rung = control.ladder.index(rate) - rung, control.ladder.index(rate)
        if moved:
            assert now_s - fell_s >= CONFIG.settle_s, "deaf for a while after a drop"
        if moved < 0:
            assert moved == -1 and lost <= CONFIG.low_loss
        if moved > 0:
            assert lost > CONFIG.high_loss or rtt_s is not None
            fell_s = now_s


@given(HIGHEST, REPORTS, st.integers(0, 60))
def test_later_reports_never_change_earlier_decisions(
    highest: int, reports: list[tuple[float, float | None, float]], kept: int
) -> None:
    def rates(of: list[tuple[float, float | None, float]]) -> list[int]:
        control, now_s, found = BitRateControl(highest), 0.0, []
        for lost, rtt_s, after_s in of:
            now_s += after_s
            found.append(control.note(lost, rtt_s, now_s))
        return found

    assert rates(reports)[:kept] == rates(reports[:kept])


@given(HIGHEST, st.floats(0, 0.02), st.floats(0, 0.2))
def test_a_good_network_keeps_the_highest_rate(highest: int, lost: float, rtt_s: float) -> None:
    control = BitRateControl(highest)
    assert {control.note(lost, rtt_s, float(now)) for now in range(100)} == {highest}
