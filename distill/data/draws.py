"""Random draws of a training step, row by row.

In: a seed, a step and the place of this process's rows in the global batch. Out: one generator for each row,
seeded by (seed, step, row) alone. So a batch is the same rows however many processes share it, and a resumed
run draws what the run before it would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Generators = Sequence[torch.Generator]
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class StepDraw:
    """The random draws of this process's rows of one step's global batch."""

    seed: int
    step: int
    first: int  # index of this process's first row in the global batch
    rows: int  # rows of this process
    total: int  # rows of the global batch, all processes together

    def __post_init__(self) -> None:
        if self.step < 0 or self.first < 0 or self.rows < 1 or self.first + self.rows > self.total:
            raise ValueError(
                f"StepDraw: need step >= 0 and 0 <= first < first + rows <= total, got step {self.step}, "
                f"first {self.first}, rows {self.rows}, total {self.total}."
            )

    def generators(self) -> list[torch.Generator]:
        """One generator per row, in its start state; each call makes fresh ones."""
        rows = range(self.first, self.first + self.rows)
        return [torch.Generator().manual_seed(mixed(self.seed, self.step, row)) for row in rows]


def mixed(*values: int) -> int:
    """A 63-bit hash of integers, the same on every machine.

    Source: the finaliser of splitmix64 (Steele, Lea, Flood 2014), one round for each value.
    """
    state = 0
    for value in values:
        state = (state + (value & _WORD) + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state >> 1


def rand(generators: Generators, *shape: int) -> Tensor:
    """Uniform draws in [0, 1), (rows, *shape)."""
    return torch.stack([torch.rand(shape, generator=g) for g in generators])


def randn(generators: Generators, *shape: int) -> Tensor:
    """Unit normal draws, (rows, *shape)."""
    return torch.stack([torch.randn(shape, generator=g) for g in generators])


def randint(generators: Generators, high: int) -> list[int]:
    """One integer in [0, high) per row."""
    return [int(torch.randint(high, (), generator=g)) for g in generators]
