"""The table of tilings: what is timed, kept, read again and mistrusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kernels.launch import Launch, Tiling
from kernels.tuning import TilingTable, choose_tiling, tune_kernels

FIRST, SECOND = Tiling(16, 16, 4, 1), Tiling(32, 16, 4, 1)


def test_a_cpu_takes_the_rule_of_thumb_and_times_nothing() -> None:
    def plan(_: Tiling) -> Launch:
        raise AssertionError("planned")

    with tune_kernels():
        assert choose_tiling("any", (1, 2), [FIRST, SECOND], plan, torch.device("cpu")) == FIRST


def test_a_choice_is_kept_for_its_gpu_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "kernels.json"
    assert TilingTable("a gpu", path).keep("attention 1", SECOND) == SECOND
    TilingTable("another", path).keep("attention 1", FIRST)
    assert TilingTable("a gpu", path).find("attention 1", [FIRST, SECOND]) == SECOND
    assert TilingTable("another", path).find("attention 1", [FIRST, SECOND]) == FIRST
    assert TilingTable("a third", path).find("attention 1", [FIRST, SECOND]) is None
    assert [entry.name for entry in path.parent.iterdir()] == ["kernels.json"]


def test_an_entry_that_is_no_candidate_any_more_is_ignored(tmp_path: Path) -> None:
    table = TilingTable("a gpu", tmp_path / "kernels.json")
    table.keep("attention 1", SECOND)
    assert table.find("attention 1", [FIRST]) is None


def test_a_broken_file_is_said_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    path.write_text("{")
    with pytest.warns(UserWarning, match="unreadable"):
        table = TilingTable("a gpu", path)
    assert table.find("attention 1", [FIRST]) is None
    with pytest.warns(UserWarning, match="unreadable"):
        table.keep("attention 1", FIRST)
    assert json.loads(path.read_text()) == {"a gpu": {"attention 1": [16, 16, 4, 1]}}


def test_fewer_than_no_tilings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 0 tilings"), tune_kernels(-1):
        pass
