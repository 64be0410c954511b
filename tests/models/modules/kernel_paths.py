"""Which kernels a network calls, and what comes of it, on a machine without CUDA.

`Pretended` tensors are CPU tensors that claim to be CUDA's, and so is all that is computed of them: the dispatch
chooses for them as it would there. `kernels_forced` has a network run its kernels in Triton's interpreter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.modules.blocks import choose_kernels


class Pretended(torch.Tensor):
    """A CPU tensor that says it lies on a CUDA card."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True


def pretend(x: Tensor) -> Tensor:
    return x.as_subclass(Pretended)


def count_launches(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Put the references in the kernels' place and count the calls that reach them.

    "norm with offset" counts the GroupNorms that add a time embedding inside their kernel.
    """
    from kernels import attention_triton, cross_triton, norm_triton, temporal_triton
    from kernels.cross import cross_reference
    from kernels.norm import group_norm_reference
    from kernels.reference import attention_sdpa
    from kernels.temporal import temporal_reference

    launches: Counter[str] = Counter()

    def put(module: Any, function: str, name: str, reference: Callable[..., Tensor]) -> None:
        def launch(*args: Any, out: Tensor | None = None, **options: Any) -> Tensor:
            launches[name] += 1
            launches[f"{name} with offset"] += options.get("offset") is not None
            return reference(*args, **options)

        monkeypatch.setattr(module, function, launch)

    put(attention_triton, "attention_triton", "attention", attention_sdpa)
    put(temporal_triton, "temporal_triton", "temporal", temporal_reference)
    put(cross_triton, "cross_triton", "cross", cross_reference)
    put(norm_triton, "group_norm_triton", "norm", group_norm_reference)
    return launches


@contextmanager
def kernels_forced(network: nn.Module) -> Iterator[None]:
    """Within: a network runs its kernels, in Triton's interpreter."""
    from tests.kernels.interpreter import swap_language_once_a_launch

    swap_language_once_a_launch()
    choose_kernels(network, "triton")
    try:
        yield
    finally:
        choose_kernels(network, "auto")
