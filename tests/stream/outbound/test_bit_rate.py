"""The rate falls at once under loss, rises slowly without, and learns when a rise was too much."""

from __future__ import annotations

import pytest

from stream.outbound.bit_rate import LOWEST_BPS, BitRateConfig, BitRateControl


def run(control: BitRateControl, lost: float, rtt_s: float | None, begin_s: int, end_s: int) -> list[int]:
    return [control.note(lost, rtt_s, float(now)) for now in range(begin_s, end_s)]


def test_a_good_network_keeps_the_highest_rate() -> None:
    control = BitRateControl(900_000)
    assert set(run(control, 0.0, 0.05, 0, 600)) == {900_000}
    assert set(run(control, 0.05, 0.05, 600, 900)) == {900_000}, "some loss is for retransmission to mend"


def test_loss_lowers_the_rate_at_once_and_step_by_step() -> None:
    control = BitRateControl(900_000)
    assert control.note(0.2, 0.05, 0.0) == 675_000
    assert control.note(0.2, 0.05, 1.0) == 675_000, "a report on the old rate says nothing about the new one"
    assert control.note(0.2, 0.05, 2.0) == 506_250
    assert control.note(0.9, 0.05, 4.0) < 0.56 * 506_250, "heavy loss takes several rungs"
    rates = run(control, 0.5, 0.05, 6, 60)
    assert rates[-1] == control.ladder[-1] >= LOWEST_BPS


def test_a_filling_queue_lowers_it_without_any_loss() -> None:
    control = BitRateControl(900_000)
    run(control, 0.0, 0.08, 0, 5)
    assert control.note(0.0, 0.30, 5.0) == 900_000
    assert control.note(0.0, 0.40, 6.0) < 900_000
    assert BitRateControl(900_000).note(0.0, None, 0.0) == 900_000


def test_it_comes_back_slowly_and_waits_longer_after_a_rise_that_failed() -> None:
    control = BitRateControl(900_000)
    control.note(0.3, 0.05, 0.0)
    rates = run(control, 0.0, 0.05, 1, 30)
    first = rates.index(900_000) + 1
    assert 6 <= first <= 9, "two seconds to settle, five of calm"
    control.note(0.3, 0.05, float(first + 2))
    second = first + 2 + run(control, 0.0, 0.05, first + 3, first + 60).index(900_000) + 1
    assert second - first - 2 >= 11, "twice as long as the first time"


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        BitRateControl(0)
    with pytest.raises(ValueError, match="low_loss < high_loss"):
        BitRateConfig(high_loss=0.01)
    assert BitRateControl(100_000).ladder == (100_000,)


def test_impossible_round_trip_times_teach_nothing() -> None:
    """A wall clock that is set back by two seconds gives one of -1.9 s."""
    control = BitRateControl(800_000)
    highest = control.bit_rate
    for second, rtt_s in enumerate([0.05, -1.9, float("nan"), float("inf"), -0.001] + 40 * [0.05]):
        assert control.note(0.0, rtt_s, float(second)) == highest


def test_the_least_round_trip_time_is_that_of_the_last_minute() -> None:
    control = BitRateControl(800_000)
    control.note(0.0, 0.02, 0.0)
    assert control.note(0.0, 0.30, 10.0) < control.ladder[0], "a queue fills"
    for second in range(20, 400, 1):  # the route has changed: it is 0.3 s from now on
        rate = control.note(0.0, 0.30, float(second))
    assert rate == control.ladder[0]
