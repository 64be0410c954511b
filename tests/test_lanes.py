"""Every test has its lane, no name in the table is stale, the closing lines and the exit code tell the truth."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.lanes import CLOCK, LANES, NETWORKS, PLACES, REST, TESTS, TIMED, lane_of, may_hold
from tests.run_lanes import ROUNDS, Lane, exit_code

ROOT = TESTS.parent
FILES = sorted(TESTS.rglob("test_*.py"))


def lane(name: str = CLOCK, code: int = 0) -> Lane:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE, text=True)
    process.communicate()
    return Lane(name, process, code=code)


def test_no_test_falls_between_two_lanes() -> None:
    assert Counter(name for names in ROUNDS for name in names) == Counter(LANES)
    assert len(FILES) > 100
    for path in FILES:
        for timed in (False, True):
            if timed and not may_hold(TIMED, path):
                continue  # refused by conftest
            holding = [name for name in LANES if may_hold(name, path) and lane_of(path, timed) == name]
            assert len(holding) == 1, (path, timed, holding)


@pytest.mark.parametrize("name", PLACES)
def test_the_table_names_what_exists(name: str) -> None:
    place = TESTS / name
    assert place.is_dir() or place.is_file()
    assert any(path.is_relative_to(place) for path in FILES)


def test_a_folder_that_nobody_named_has_its_lane_too() -> None:
    assert lane_of(TESTS / "new_room" / "test_new.py", timed=False) == REST
    assert lane_of(TESTS / "kernels" / "new" / "test_new.py", timed=False) == NETWORKS
    assert lane_of(TESTS / "stream" / "new" / "test_new.py", timed=False) == CLOCK


def test_every_folder_of_tests_is_in_the_table_for_people() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## What each run takes") :]
    for folder in sorted({path.relative_to(TESTS).parts[0] for path in FILES if path.parent != TESTS}):
        assert re.search(rf"^\| `{folder}`", table, re.MULTILINE), f"{folder} is missing in CONTRIBUTING.md"


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("====== 32 passed, 693 deselected in 8.22s ======", {"passed": 32}),
        ("=== 1 failed, 3 passed, 2 errors in 61.20s (0:01:01) ===", {"failed": 1, "passed": 3, "error": 2}),
        ("=== 1 passed, 1 error, 1 warning in 1.00s ===", {"passed": 1, "error": 1, "warning": 1}),
        ("=== 725 deselected in 9.46s ===", {}),
    ],
)
def test_a_closing_line_is_understood(line: str, counts: dict[str, int]) -> None:
    found = lane()
    found.note("======= slowest 10 durations =======")
    found.note("FAILED tests/test_x.py::test_y - assert 0")
    found.note(line)
    assert found.closing == line.strip("= ")
    assert dict(found.counts) == counts
    assert found.broken == ["FAILED tests/test_x.py::test_y - assert 0"]


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ((0, 0, 0), 0),
        ((0, 5, 5), 0),
        ((5, 5, 5), 5),
        ((0, 1, 0), 1),
        ((5, 1, 5), 1),
        ((0, 0, -9), 1),
        ((2, 0, 4), 1),
    ],
)
def test_one_lane_that_fails_fails_the_run(codes: tuple[int, ...], code: int) -> None:
    assert exit_code([lane(code=each) for each in codes], stopped=False) == code
    assert exit_code([lane(code=each) for each in codes], stopped=True) == 130


@pytest.mark.slow
def test_lanes_run_side_by_side_and_end_together() -> None:
    few = ["tests/kernels/test_tuning.py", "tests/stream/outbound/test_reserve.py"]
    run = subprocess.run(
        [ROOT / "scripts" / "test", *few], cwd="/", capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    ends = dict(
        re.findall(r"^(\w+) *\| (.*) in [\d.]+s.*; \d+ s of processor time$", run.stdout, re.MULTILINE)
    )
    assert {name for name, end in ends.items() if "passed" in end} == {CLOCK, NETWORKS}
    total = sum(int(count) for end in ends.values() for count in re.findall(r"(\d+) passed", end))
    assert f"tests: {total} passed, 0 failed" in run.stdout


@pytest.mark.slow
def test_ctrl_c_stops_every_lane() -> None:
    run = subprocess.Popen(
        [ROOT / "scripts" / "test", "tests/kernels/native", "tests/stream/outbound"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("networks | collected"):
            break
    lanes = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    children = [int(child) for child in lanes.read_text(encoding="ascii").split()] if lanes.is_file() else []
    run.send_signal(signal.SIGINT)
    rest, _ = run.communicate(timeout=120)
    assert run.returncode == 130, rest
    assert "timed    | " not in rest, "the next round began"
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
