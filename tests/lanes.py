"""Which tests run side by side: those that wait for clocks, those that compute, and those that must be alone.

In: a test's file and whether it is marked `timed`. Out: its one lane. `tests/run_lanes.py` starts a pytest for
each lane, `--lane NAME` selects one; without it pytest runs them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parent
CLOCK, COMPUTE, TIMED = "clock", "compute", "timed"
LANES: Final = (CLOCK, COMPUTE, TIMED)

WAITS_FOR_CLOCKS: Final = (
    "bench/call/test_method_check.py",
    "bench/call/test_relay.py",
    "browser",
    "stream",
)
"""Folders and files below `tests/` whose tests mostly wait: real calls, browsers, servers."""
COMPUTES: Final = (
    "stream/avatars",
    "stream/engine/test_base.py",
    "stream/engine/test_torch_engine.py",
    "stream/offline",
)
"""Exceptions inside those; whatever is named nowhere computes too."""


def waits_for_clocks(path: Path) -> bool:
    """Whether a file's tests mostly wait; the longest name that fits decides."""
    place = path.resolve()
    if not place.is_relative_to(TESTS):
        return False
    known = {**dict.fromkeys(COMPUTES, False), **dict.fromkeys(WAITS_FOR_CLOCKS, True)}
    fitting = [name for name in known if place.is_relative_to(TESTS / name)]
    return known[max(fitting, key=len)] if fitting else False


def lane_of(path: Path, timed: bool) -> str:
    """The one lane of a test.

    Args:
        path: the test's file.
        timed: it is marked `timed`: it holds a measured rate or delay to a bound.
    """
    if timed:
        return TIMED
    return CLOCK if waits_for_clocks(path) else COMPUTE


def may_hold(lane: str, path: Path) -> bool:
    """Whether a lane can find tests of its own in this file; what it cannot is not even imported.

    Timed tests live where tests wait for clocks; `tests/conftest.py` refuses them elsewhere.
    """
    return waits_for_clocks(path) is (lane != COMPUTE)
