"""One kernel launch as a value: what runs, over how many programs, with which arguments and constants.

In flow a kernel and its arguments; out flows a launch that can be run, timed by the tuner, or compiled for a
GPU that is not there. Keeping the plan apart from the act is what lets tests hold grids, addresses and
generated code to account on a machine without CUDA. Any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Tiling:
    """How one launch cuts its work: rows and columns per step, and the hardware's share."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class Launch:
    """A planned launch over a 1-D grid, since the other two axes end at 65,535."""

    kernel: Any  # a @triton.jit function
    programs: int
    arguments: tuple[Any, ...]  # run-time arguments in the kernel's order
    constants: Mapping[str, Any]  # its tl.constexpr arguments
    num_warps: int
    num_stages: int

    def run(self) -> None:
        """Launch on the first argument's device; nothing where there is nothing to do."""
        if self.programs == 0:
            return
        device = self.arguments[0].device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            self.kernel[(self.programs,)](
                *self.arguments,
                **self.constants,
                num_warps=self.num_warps,
                num_stages=self.num_stages,
                enable_fp_fusion=True,  # Triton 3.10 no longer fuses multiply and add unless asked to
            )


def precision_of(dtype: torch.dtype) -> str:
    """How `tl.dot` multiplies: fp32 exactly (no TF32), half precisions on tensor cores as they are."""
    return "ieee" if dtype == torch.float32 else "tf32"


def widens(tensor: torch.Tensor) -> bool:
    """Whether products must be widened by hand: the interpreter would multiply bf16 as raw bits."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu"


def split_width(width: int) -> tuple[int, int]:
    """Split a head width into two power-of-two blocks, the second possibly 0.

    Widths of this family (40, 80, 160) are no powers of two, and padding them to 64, 128 and 256 wastes up to
    60% of the work. 80 = 64 + 16 and 160 = 128 + 32 waste nothing; 40 = 32 + 16 masks half of the last block,
    since tensor cores multiply no fewer than 16 columns.

    Args:
        width: D, 1..256.

    Returns:
        (first, second), each 0 or a power of two ≥ 16, together ≥ width.
    """
    first = max(16, 1 << (width.bit_length() - 1))
    rest = width - first
    return first, 0 if rest <= 0 else max(16, 1 << (rest - 1).bit_length())
