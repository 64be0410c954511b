"""What all tests share: their lanes, where GPU tests run, and how Triton runs where there is no GPU.

`--lane NAME` selects the tests of one lane (`tests/lanes.py`). `-m gpu` alone selects the tests that need a CUDA
device; any other run leaves them out and lets Triton interpret its kernels on CPU tensors. The switch must be
set before Triton is first imported, hence here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.lanes import LANES, TIMED, lane_of, may_hold

settings.register_profile("quick", derandomize=True, deadline=None, max_examples=60, database=None)
settings.register_profile("long", deadline=None, max_examples=3000, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
"""Properties are tried on the same examples every time; HYPOTHESIS_PROFILE=long looks for new ones."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lane", choices=LANES, help="only the tests of this lane; see tests/lanes.py")


def _wants_gpu(config: pytest.Config) -> bool:
    return "gpu" in (config.option.markexpr or "").replace("not gpu", "")


def pytest_configure(config: pytest.Config) -> None:
    if not _wants_gpu(config):
        os.environ["TRITON_INTERPRET"] = "1"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the other lanes' files alone: importing them takes seconds."""
    lane = config.getoption("lane")
    if lane and collection_path.name.startswith("test_") and not may_hold(lane, collection_path):
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _is_timed(item) and not may_hold(TIMED, item.path):
            raise pytest.UsageError(
                f"expected timed tests in folders that wait for clocks (tests/lanes.py), got {item.nodeid}."
            )
    if not _wants_gpu(config):
        _keep(config, items, lambda item: item.get_closest_marker("gpu") is None)
    lane = config.getoption("lane")
    if lane:
        _keep(config, items, lambda item: lane_of(item.path, _is_timed(item)) == lane)


def _is_timed(item: pytest.Item) -> bool:
    return item.get_closest_marker("timed") is not None


def _keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    left_out = [item for item in items if not wanted(item)]
    if left_out:
        items[:] = [item for item in items if wanted(item)]
        config.hook.pytest_deselected(items=left_out)
