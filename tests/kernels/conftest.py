"""Triton exists for Linux alone; elsewhere its tests are not collected. Where it interprets, it does so quickly."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_HAS_TRITON = importlib.util.find_spec("triton") is not None
_NEEDS_TRITON = ("*_triton.py", "*_gpu.py", "interpreter.py")

collect_ignore = (
    [] if _HAS_TRITON else [path.name for form in _NEEDS_TRITON for path in Path(__file__).parent.glob(form)]
)


def pytest_configure() -> None:
    if _HAS_TRITON and os.environ.get("TRITON_INTERPRET") == "1":
        from tests.kernels.interpreter import swap_language_once_a_launch

        swap_language_once_a_launch()
