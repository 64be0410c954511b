"""The reserve: what windows had to spare, and how the clock follows it. Pure."""

from __future__ import annotations

import pytest

from stream.outbound.reserve import Reserve, ReserveConfig

CONFIG = ReserveConfig(history_windows=10, patience_windows=3)


def filled(earliness: list[float]) -> Reserve:
    """Windows of media time 0, each so much before 10 s, when it was due."""
    reserve = Reserve(CONFIG)
    for early_s in earliness:
        reserve.note(0.0, 10.0 - early_s)
    return reserve


def test_one_straggler_is_forgiven_once_there_are_others() -> None:
    assert filled([0.03, -0.05]).low_s(10.0) == pytest.approx(-0.05)
    assert filled([0.03, -0.05, 0.02, 0.04]).low_s(10.0) == pytest.approx(0.02)


def test_a_move_of_the_clock_moves_every_reserve() -> None:
    reserve = filled([0.03] * 5)
    assert reserve.low_s(10.0) == pytest.approx(0.03)
    assert reserve.low_s(10.2) == pytest.approx(0.23)
    assert reserve.recent_s(10.2) == pytest.approx([0.23] * 3)


@pytest.mark.parametrize(("quiet", "limit"), [(True, CONFIG.quiet_later_s), (False, CONFIG.speech_later_s)])
def test_too_little_is_made_up_a_little_a_slot(quiet: bool, limit: float) -> None:
    assert filled([-0.02] * 5).nudge_s(10.0, quiet) == limit
    short_s = CONFIG.dead_band_s + 0.0001
    assert filled([CONFIG.guard_s - short_s] * 5).nudge_s(10.0, quiet) == pytest.approx(min(limit, short_s))


@pytest.mark.parametrize(
    ("quiet", "limit"), [(True, CONFIG.quiet_earlier_s), (False, CONFIG.speech_earlier_s)]
)
def test_too_much_is_given_back_only_after_a_full_history(quiet: bool, limit: float) -> None:
    assert filled([0.05] * 9).nudge_s(10.0, quiet) == 0.0
    assert filled([0.05] * 10).nudge_s(10.0, quiet) == -limit


def test_small_errors_and_nothing_known_move_nothing() -> None:
    assert Reserve(CONFIG).nudge_s(10.0, quiet=True) == 0.0
    assert filled([CONFIG.guard_s + CONFIG.dead_band_s / 2] * 10).nudge_s(10.0, quiet=True) == 0.0


def test_patience_ends_when_all_of_the_last_were_late() -> None:
    assert not filled([-0.01, -0.01]).impatient(10.0)
    assert not filled([-0.01, 0.01, -0.01]).impatient(10.0)
    assert filled([0.05, -0.01, -0.01, -0.02]).impatient(10.0)


def test_only_sensible_limits_are_taken() -> None:
    for wrong in ({"history_windows": 0}, {"patience_windows": 0}, {"stragglers": 50}):
        with pytest.raises(ValueError, match="ReserveConfig"):
            ReserveConfig(**wrong)
