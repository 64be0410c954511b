"""Which tests run side by side: those that wait for clocks, those that compute, and those that must be alone.

In: a test's file and whether it is marked `timed`. Out: its one lane. `tests/run_lanes.py` starts a pytest for
each lane, `--lane NAME` selects one; without it pytest runs them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parent
CLOCK, NETWORKS, TRAINING, REST, TIMED = "clock", "networks", "training", "rest", "timed"
LANES: Final = (CLOCK, NETWORKS, TRAINING, REST, TIMED)

PLACES: Final = {
    "bench/call/test_method_check.py": CLOCK,
    "bench/call/test_relay.py": CLOCK,
    "browser": CLOCK,
    "distill": TRAINING,
    "kernels": NETWORKS,
    "models": NETWORKS,
    "stream": CLOCK,
    "stream/avatars": REST,
    "stream/engine/test_base.py": NETWORKS,
    "stream/engine/test_torch_engine.py": NETWORKS,
    "stream/offline": REST,
}
"""Folders and files below `tests/`; the longest name that fits decides, and `REST` has what is named nowhere.

In `CLOCK` are tests that mostly wait: real calls, browsers, servers. The others compute.
"""


def lane_of(path: Path, timed: bool) -> str:
    """The one lane of a test.

    Args:
        path: the test's file.
        timed: it is marked `timed`: it holds a measured rate or delay to a bound.
    """
    return TIMED if timed else _lane_of_file(path)


def may_hold(lane: str, path: Path) -> bool:
    """Whether a lane can find tests of its own in this file; what it cannot is not even imported.

    Timed tests live where tests wait for clocks; `tests/conftest.py` refuses them elsewhere.
    """
    return _lane_of_file(path) == (CLOCK if lane == TIMED else lane)


def _lane_of_file(path: Path) -> str:
    fitting = [name for name in PLACES if path.resolve().is_relative_to(TESTS / name)]
    return PLACES[max(fitting, key=len)] if fitting else REST
