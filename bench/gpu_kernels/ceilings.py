"""What this machine could do at best, measured beside what a kernel does: products and copies.

In flow a device and a dtype; out flow its matmul TFLOP/s and copy GB/s. A kernel's roofline fraction is the
time the slower of the two would need for the kernel's own work over the time it took.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from bench.pairs import Timer


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Measured limits of a device."""

    matmul_tflop_s: float
    copy_gb_s: float  # read and written bytes together

    def ideal_ms(self, tflop: float, gigabytes: float) -> float:
        """Least time for work of so many useful FLOP (in 1e12) and bytes (in 1e9) that must move."""
        return max(tflop / self.matmul_tflop_s, gigabytes / self.copy_gb_s) * 1e3

    def as_figures(self) -> dict[str, float]:
        """For a report."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure_ceilings(device: torch.device, dtype: torch.dtype, timer: Timer, rounds: int = 5) -> Ceilings:
    """Multiply and copy at sizes beyond every cache; the best of a few rounds is the ceiling."""
    side, count = (8192, 2**29) if device.type == "cuda" else (1024, 2**25)
    a = torch.randn(side, side, device=device, dtype=dtype)
    source = torch.zeros(count, device=device, dtype=dtype)
    target = torch.empty_like(source)
    matmul_ms = _best_ms(lambda: torch.mm(a, a), timer, rounds)
    copy_ms = _best_ms(lambda: target.copy_(source), timer, rounds)
    moved = 2 * count * dtype.itemsize
    return Ceilings(2 * side**3 / 1e12 / (matmul_ms * 1e-3), moved / 1e9 / (copy_ms * 1e-3))


def _best_ms(work: object, timer: Timer, rounds: int) -> float:
    assert callable(work)
    return float(np.min([timer(work) for _ in range(rounds + 1)][1:]))
