"""What all tests share: where GPU tests run, and how Triton runs where there is no GPU.

`-m gpu` alone selects the tests that need a CUDA device; any other run leaves them out and lets Triton
interpret its kernels on CPU tensors. The switch must be set before Triton is first imported, hence here.
"""

from __future__ import annotations

import os

import pytest


def _wants_gpu(config: pytest.Config) -> bool:
    return "gpu" in (config.option.markexpr or "").replace("not gpu", "")


def pytest_configure(config: pytest.Config) -> None:
    if not _wants_gpu(config):
        os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _wants_gpu(config):
        return
    needs_gpu = [item for item in items if item.get_closest_marker("gpu") is not None]
    if needs_gpu:
        items[:] = [item for item in items if item.get_closest_marker("gpu") is None]
        config.hook.pytest_deselected(items=needs_gpu)
