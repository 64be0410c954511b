"""Triton exists for Linux alone; elsewhere its tests are not collected."""

from __future__ import annotations

import importlib.util

collect_ignore = (
    [] if importlib.util.find_spec("triton") else ["test_attention_triton.py", "test_attention_gpu.py"]
)
