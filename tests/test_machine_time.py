"""A timed test is given a second chance where its machine was not its own, and there alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.machine_time import CALM_S, TRIES, WAIT_AT_MOST_S, Ticks, measured_undisturbed, wait_for_calm

QUIET = Ticks(total=1000, withheld=0)
BUSY_HOST = Ticks(total=1000, withheld=30)


def _clock(*passing: Ticks) -> Callable[[], Ticks]:
    """A clock whose ``passing`` goes by between every two looks, the last one for good."""

    def looks() -> Iterator[Ticks]:
        now = Ticks()
        for i in range(1000):
            yield now
            step = passing[min(i // 2, len(passing) - 1)] if i % 2 == 0 else Ticks()
            now = Ticks(now.total + step.total, now.withheld + step.withheld)

    found = looks()
    return lambda: next(found)


def _no_nap(_: float) -> None:
    return None


def test_what_a_disturbed_machine_spoilt_is_measured_again() -> None:
    found = iter([1, 1, 5])
    assert measured_undisturbed(lambda: next(found), lambda value: value > 3, _clock(BUSY_HOST), _no_nap) == 5


def test_a_quiet_machine_gives_no_second_chance() -> None:
    found = iter([1, 5])
    assert measured_undisturbed(lambda: next(found), lambda value: value > 3, _clock(QUIET), _no_nap) == 1


def test_a_system_that_does_not_tell_gives_none_either() -> None:
    found = iter([1, 5])
    assert measured_undisturbed(lambda: next(found), lambda value: value > 3, Ticks, _no_nap) == 1


def test_what_stays_bad_is_told_as_it_is() -> None:
    taken: list[int] = []
    assert measured_undisturbed(lambda: taken.append(1), lambda _: False, _clock(BUSY_HOST), _no_nap) is None
    assert len(taken) == TRIES


def test_the_next_try_waits_for_calm_but_not_for_ever() -> None:
    naps: list[float] = []
    wait_for_calm(_clock(BUSY_HOST, BUSY_HOST, QUIET), naps.append)
    assert naps == [CALM_S] * 3
    naps.clear()
    wait_for_calm(_clock(BUSY_HOST), naps.append)
    assert sum(naps) == WAIT_AT_MOST_S


def test_ticks_are_read_as_linux_writes_them(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  504745 202 44538 622436 1494 0 2274 5575 7 0\ncpu0 1 2 3\n", encoding="ascii")
    assert Ticks.now(stat) == Ticks(504745 + 202 + 44538 + 622436 + 1494 + 2274 + 5575, 5575)
    assert Ticks.now(tmp_path / "none") == Ticks()
