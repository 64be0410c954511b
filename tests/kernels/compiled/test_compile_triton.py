"""Every kernel compiles to Hopper machine code that spills nothing, fits, and uses tensor cores and wide loads.

No GPU is needed: Triton's wheel brings `ptxas`. A process of its own compiles, since the interpreter replaces
the compiler in this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.compiled.compile_limits import HOPPER_SHARED

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", params=["bf16", "fp16", "fp32"])
def compiled(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compiled.compile_cuda", "--dtype", str(request.param)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_the_machine_code_is_what_the_kernels_were_written_for(compiled: list[dict[str, Any]]) -> None:
    kernels = {row["launch"].split()[0] for row in compiled}
    expected = {"attention", "temporal", "cross", "_moments_kernel", "_fold_kernel", "_apply_kernel"}
    assert expected | {"_whole_kernel", "_round_kernel", "fp8_conv"} == kernels
    for row in compiled:
        # Exact fp32 products are unrolled multiply-adds; fp32 is there to be right, not to be quick.
        assert row["spilt"] == 0 or row["dtype"] == "fp32", row
        assert row["shared"] <= HOPPER_SHARED, row
        if row["launch"] == "_fold_kernel 64 320":
            continue  # 10 numbers a program
        assert row["wide_loads"] > 0, row
        multiplies = row["launch"].split()[0] in ("attention", "temporal", "cross")
        eight_bits = row["launch"].startswith("fp8_conv")  # whatever dtype it writes
        assert (row["tensor_cores"] > 0) is (eight_bits or (multiplies and row["dtype"] != "fp32")), row


def test_no_features_are_read_two_bytes_at_a_time(compiled: list[dict[str, Any]]) -> None:
    """A head stride of 40 once hid the alignment: 219 registers and no asynchronous copies instead of 125."""
    for row in compiled:
        if row["launch"].split()[0] in ("attention", "temporal", "_moments_kernel", "_apply_kernel"):
            assert row["narrow_loads"] == 0 or row["launch"] == "attention 1024 80", (
                row
            )  # that one has a mask
