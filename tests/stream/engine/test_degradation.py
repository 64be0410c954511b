"""Fewer evaluations when behind, more again when there is room."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stream.engine.degradation import EffortLadder
from stream.engine.protocol import Controls

HOP_S = 0.16


def draw(ladder: EffortLadder, start_s: float, seconds: float, cost: float, late: bool = False) -> float:
    """Windows every hop, each busy for `cost` of it at full effort, in proportion to the evaluations."""
    now_s = start_s
    full = ladder._rungs[0] or 1
    while now_s < start_s + seconds:
        now_s += HOP_S
        ladder.note_batch(now_s, cost * HOP_S * (ladder.nfe or 1) / full, late)
    return now_s


def test_a_light_load_changes_nothing() -> None:
    ladder = EffortLadder(4, HOP_S)
    draw(ladder, 0.0, 60.0, cost=0.6)
    assert ladder.nfe == 4
    assert ladder.limit(Controls(audio_scale=2.0)) == Controls(audio_scale=2.0)


def test_an_overload_goes_down_until_it_fits_and_stays() -> None:
    ladder = EffortLadder(4, HOP_S)
    now_s = draw(ladder, 0.0, 30.0, cost=1.6)
    assert ladder.nfe == 2  # 0.8 of the time; going back up to 3 would need 1.2
    seen = set()
    for _ in range(20):
        now_s = draw(ladder, now_s, 2.0, cost=1.6)
        seen.add(ladder.nfe)
    assert seen == {2}


def test_room_brings_the_evaluations_back() -> None:
    ladder = EffortLadder(4, HOP_S)
    now_s = draw(ladder, 0.0, 10.0, cost=1.6)
    draw(ladder, now_s, 30.0, cost=0.4)
    assert ladder.nfe == 4


def test_a_climb_that_fails_is_tried_again_less_and_less_often() -> None:
    ladder = EffortLadder(2, HOP_S)
    now_s, moments, before = 0.0, [], ladder.nfe
    while now_s < 300:
        now_s += HOP_S
        cost = 1.1 if ladder.nfe == 2 else 0.45  # looks as if 2 would fit, and does not
        ladder.note_batch(now_s, cost * HOP_S, False)
        if before == 1 and ladder.nfe == 2:
            moments.append(now_s)
        before = ladder.nfe
    rests = [after - first for first, after in pairwise(moments)]
    assert len(moments) <= 8
    assert all(after > first - 1 for first, after in pairwise(rests))
    assert rests[-1] > 60


def test_late_windows_count_when_the_engine_is_busy() -> None:
    ladder = EffortLadder(6, HOP_S)
    draw(ladder, 0.0, 3.0, cost=0.8, late=True)
    assert ladder.nfe == 3


def test_lateness_of_an_idle_engine_has_another_cause() -> None:
    ladder = EffortLadder(6, HOP_S)
    draw(ladder, 0.0, 60.0, cost=0.2, late=True)
    assert ladder.nfe == 6


def test_dropped_windows_count_as_late() -> None:
    ladder = EffortLadder(2, HOP_S)
    now_s = draw(ladder, 0.0, 3.0, cost=0.8)
    assert ladder.nfe == 2
    ladder.note_drop(now_s)
    ladder.note_drop(now_s)
    assert ladder.nfe == 1


def test_a_session_that_asked_for_less_keeps_less() -> None:
    ladder = EffortLadder(4, HOP_S)
    draw(ladder, 0.0, 2.0, cost=1.6)
    assert ladder.limit(Controls(nfe=1)).nfe == 1
    assert ladder.limit(Controls()).nfe == ladder.nfe


@pytest.mark.parametrize(
    ("nfe", "rungs"), [(None, [None]), (1, [1]), (2, [2, 1]), (3, [3, 2, 1]), (6, [6, 3, 2, 1])]
)
def test_rungs(nfe: int | None, rungs: list[int | None]) -> None:
    assert EffortLadder(nfe, HOP_S)._rungs == rungs


def test_the_busy_share_is_that_of_the_last_seconds() -> None:
    ladder = EffortLadder(None, HOP_S)
    now_s = draw(ladder, 0.0, 10.0, cost=0.5)
    assert ladder.busy_share(now_s) == pytest.approx(0.5, abs=0.05)
    assert ladder.busy_share(now_s + 10) == 0.0
