"""Silence is counted while we were awake to hear, not by the clock."""

from __future__ import annotations

from stream.live.vigil import Vigil
from tests.fakes import FakeClock


def test_silence_is_noticed_in_its_time() -> None:
    clock = FakeClock()
    vigil = Vigil(clock, 3.0, 0.25)
    heard_s = clock.now()
    looks = 0
    while not vigil.silent(heard_s):
        clock.set(clock.now() + 0.25)
        looks += 1
    assert 3.0 < clock.now() - heard_s <= 3.5


def test_a_process_that_stood_still_does_not_take_it_for_the_others_silence() -> None:
    clock = FakeClock()
    vigil = Vigil(clock, 3.0, 0.25)
    heard_s = clock.now()
    for _ in range(20):
        assert not vigil.silent(heard_s)
        clock.set(clock.now() + 60.0)  # paused for a minute
        assert not vigil.silent(heard_s), "nobody was awake to hear"
        heard_s = clock.now()  # what had queued up is heard now


def test_who_falls_silent_while_we_stand_still_is_noticed_soon_after() -> None:
    clock = FakeClock()
    vigil = Vigil(clock, 3.0, 0.25)
    heard_s = clock.now()
    vigil.silent(heard_s)
    clock.set(clock.now() + 60.0)
    woken_s = clock.now()
    while not vigil.silent(heard_s):
        clock.set(clock.now() + 0.25)
    assert clock.now() - woken_s <= 3.5
