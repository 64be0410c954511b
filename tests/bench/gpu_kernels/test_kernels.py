"""`fada bench kernels` on a CPU: what it compares, refuses to time, and says of its targets."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.gpu_kernels import command as kernels
from bench.gpu_kernels.cases import CPU_LEVELS, CUDA_LEVELS, Case
from bench.gpu_kernels.ceilings import Ceilings
from bench.gpu_kernels.targets import BEST, COPY, TARGETS, Target, judge

CEILINGS = Ceilings(matmul_tflop_s=1.0, copy_gb_s=100.0)


def read_arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    kernels.add_arguments(parser)
    return parser.parse_args(given)


@pytest.fixture(scope="module")
def report() -> Any:
    return kernels.run(read_arguments("--device", "cpu", "--rounds", "1"))


def test_a_cpu_compares_pytorchs_own_ways_and_claims_nothing_for_the_kernels(report: Any) -> None:
    assert report["name"] == "kernels-cpu"  # bench/results/kernels.json is for a GPU's figures
    lines = report["figures"]["lines"]
    assert {row["op"] for row in lines} == {target.op for target in TARGETS}
    assert all("left_out" not in row for row in lines)
    assert all(row["ms"]["p99"] > 0 and row["timer"] == "wall clock" for row in lines)
    assert all(row["roofline"] > 0 for row in lines)
    assert "own" not in {row["arm"] for row in lines}
    assert report["figures"]["ratios"] == []
    assert {row["verdict"] for row in report["figures"]["targets"]} == {"not measured"}
    assert report["figures"]["ceilings"]["copy_gb_s"] > 0


def test_every_target_names_a_level_that_is_measured() -> None:
    assert {target.shape for target in TARGETS} <= {level.name for level in CUDA_LEVELS}
    assert CPU_LEVELS[0].channels == 192


def make_case(arms: dict[str, Callable[[], Tensor]]) -> Case:
    return Case("op", "shape", "kernel", 1e-6, 1e-6, lambda: torch.ones(4), lambda out: out, arms)


def refuse() -> Tensor:
    raise RuntimeError("no such head width\nand more")


def test_no_arm_is_timed_before_it_was_right() -> None:
    arms = {"wrong": lambda: torch.zeros(4), "nan": lambda: torch.full((4,), float("nan")), "refuses": refuse}
    case = make_case({**arms, "right": lambda: torch.ones(4)})
    rows, ratios = kernels.measure(case, torch.device("cpu"), 1e-3, 1, CEILINGS)
    reasons = {row["arm"]: row.get("left_out") for row in rows}
    assert reasons["wrong"] == "wrong by 1.0e+00 RMS"
    assert reasons["nan"] == "wrong by nan RMS"
    assert reasons["refuses"] == "no such head width"
    assert reasons["right"] is None
    assert ratios == []
    assert not any("ms" in row for row in rows if row["arm"] != "right")


def test_ratios_are_of_the_kernel_against_every_other_arm() -> None:
    case = make_case({"library": lambda: torch.ones(4), "own": lambda: torch.ones(4)})
    _, ratios = kernels.measure(case, torch.device("cpu"), 1e-3, 3, CEILINGS)
    assert [row["against"] for row in ratios] == ["library"]
    assert set(ratios[0]) == {"op", "shape", "line", "against", "p10", "p50", "p90"}


def test_targets_are_held_missed_or_not_measured() -> None:
    place = {"op": "temporal", "shape": "64²", "line": "chain"}
    lines = [place | {"arm": "own", "roofline": 0.8, "ms": {}}]
    ratios = [place | {"against": "a", "p50": 6.0}, place | {"against": "b", "p50": 4.0}]
    for against, at_least, reached, verdict in (
        ("a", 5.0, 6.0, "held"),
        (BEST, 5.0, 4.0, "missed"),  # the best library arm is the one least beaten
        (COPY, 0.75, 0.8, "held"),
        ("c", 1.0, None, "not measured"),
    ):
        found = judge(Target(**place, against=against, at_least=at_least), lines, ratios)
        assert (found["reached"], found["verdict"]) == (reached, verdict)


def test_a_roofline_is_the_slower_of_products_and_copies() -> None:
    assert CEILINGS.ideal_ms(tflop=1e-3, gigabytes=0.0) == pytest.approx(1.0)
    assert CEILINGS.ideal_ms(tflop=0.0, gigabytes=1.0) == pytest.approx(10.0)


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="expected a CUDA device, found none"):
        kernels.run(read_arguments("--device", "cuda"))
