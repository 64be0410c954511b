"""Parity with EchoMimic: full-size networks, filled by rule, against what its own code gave (docs/base.md).

Needs 6.5 GB of memory. The whole set takes many minutes (`TRITON_INTERPRET=1 fada doctor --parity
tests/data/echomimic`); here runs what touches every part in less: the smallest case, on plain PyTorch and through
the Triton kernels in the interpreter, the odd-sized one, and the accelerated loop.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.parity.networks import LIMIT
from bench.parity.report import examine_parity
from tests.kernels.interpreter import swap_language_once_a_launch

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "echomimic"


@pytest.mark.slow
def test_the_parts_around_the_unets(tmp_path: Path) -> None:
    assert examine_parity(FIXTURES, "alpha", ["extras"], tmp_path / "parity.json") == 0


@pytest.mark.slow
def test_both_unets_and_a_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "parity.json"
    swap_language_once_a_launch()
    code = examine_parity(FIXTURES, "alpha", ["A", "C", "acc", "kernels"], figures)
    report = json.loads(figures.read_text(encoding="utf-8"))
    assert code == 0, capsys.readouterr().out
    names = [check["name"] for check in report["checks"]]
    assert sum("bank" in name for name in names) == 3 * 16
    assert {"A: denoiser", "A: denoiser through the kernels", "C: denoiser"} <= set(names)
    assert any(name.startswith("loop acc: latents") for name in names), names
    assert max(check["error"] for check in report["checks"]) <= LIMIT == 2e-5
    assert {"B", "D", "normal", "extras"} <= set(report["not_run"])
