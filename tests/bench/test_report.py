"""Reports, paired timing and the table that a person reads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from bench import command as main
from bench.pairs import compare, time_rounds
from bench.report import make_report, summarise, write_report
from kernels.machine import describe_machine, describe_versions


def test_percentiles_of_a_known_sample() -> None:
    figures = summarise(range(101))
    assert figures == {"n": 101, "p50": 50, "p95": 95, "p99": 99, "min": 0, "max": 100}


def test_nothing_measured_is_said_and_not_made_up() -> None:
    assert summarise([]) == {"n": 0}


def test_a_report_carries_what_a_reader_needs(tmp_path: Path) -> None:
    report = make_report("trial", method="none", shapes={"batch": 1}, figures={"ms": 2.0})
    path = write_report(report, tmp_path / "deep" / "trial.json")
    read = json.loads(path.read_text())
    assert {"date", "commit", "machine", "versions", "load_average", "method", "shapes", "figures"} <= set(
        read
    )
    assert read["machine"]["cpu"]
    assert read["versions"]["numpy"]
    assert not list(path.parent.glob("*.part"))


def test_a_figure_that_is_no_number_is_refused(tmp_path: Path) -> None:
    report = make_report("trial", method="none", shapes={}, figures={"ms": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        write_report(report, tmp_path / "trial.json")
    assert not (tmp_path / "trial.json").exists()


def test_the_machine_is_described_without_its_name() -> None:
    assert set(describe_machine()) == {"cpu", "cores", "cpu_features", "memory_gb", "gpus", "system"}
    assert "python" in describe_versions()


def test_arms_take_turns_at_the_front() -> None:
    order: list[str] = []

    def arm(name: str) -> None:
        order.append(name)

    times = time_rounds({name: lambda name=name: arm(name) for name in "abc"}, rounds=3, warm_up=0)
    assert "".join(order) == "abcbcacab"
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_warm_up_is_run_and_not_counted() -> None:
    calls: list[int] = []
    times = time_rounds({"only": lambda: calls.append(1)}, rounds=2, warm_up=3)
    assert len(calls) == 5
    assert len(times["only"]) == 2


def test_speed_is_compared_round_by_round() -> None:
    compared = compare({"old": [10.0, 20.0, 40.0], "new": [5.0, 10.0, 20.0]})
    assert compared["new"]["speedup"] == {"p10": 2.0, "p50": 2.0, "p90": 2.0}
    assert compared["old"]["speedup"]["p50"] == 1.0
    assert compare({"old": [10.0], "new": [5.0]}, base="new")["old"]["speedup"]["p50"] == 0.5


@pytest.mark.parametrize(("arms", "rounds"), [({}, 3), ({"a": lambda: None}, 0)])
def test_nothing_to_time_is_refused(arms: dict[str, object], rounds: int) -> None:
    with pytest.raises(ValueError, match="at least one arm"):
        time_rounds(arms, rounds=rounds)  # type: ignore[arg-type]


def test_figures_are_readable() -> None:
    text = main.render_figures(
        {"fps": 25.0, "ms": {"p50": 1, "p95": 2}, "deep": {"inner": {"n": 0}}, "rows": [{"arm": "a", "x": 1}]}
    )
    assert text == "fps: 25.0\nms: p50 1  p95 2\ndeep:\n  inner: n 0\nrows:\n  arm a  x 1"


def test_every_bench_can_be_asked_for() -> None:
    parser = argparse.ArgumentParser()
    main.add_arguments(parser)
    for name in main.BENCHES:
        assert parser.parse_args([name]).bench == name
    with pytest.raises(SystemExit):
        parser.parse_args([])
