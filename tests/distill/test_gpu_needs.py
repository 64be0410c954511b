"""What `scripts/gpu` and training need is what its docstring says: no av, no aiortc."""

from __future__ import annotations

import subprocess
import sys

from kernels.machine import ROOT

_CHECK = """
import sys
for name in ("av", "aiortc", "websockets", "onnxruntime"):
    sys.modules[name] = None  # as if it were not installed
import bench.engine, bench.gpu, bench.gpu_kernels.command
import distill.ladder.command, distill.ladder.training, distill.train
import distill.corpus.drawn.clips, distill.prepare.dataset, distill.stage_maker
"""


def test_training_and_the_benchmarks_of_a_bare_gpu_machine_import_without_media_packages() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _CHECK], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
