"""The rows of the table: which model, how many branches and steps, and what it must be compared with.

In: nothing. Out: `ROWS`, values alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from distill.methods.recipes import RECIPES

TEACHER: Final = "teacher"
SHIPPED: Final = "shipped"
STEP_METHODS: Final = ("consistency", "dmd", "adversarial")
PARENT: Final = "fast"
"""The method whose student the step stages start from."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    model: str  # "teacher", "shipped", a recipe or a step method
    branches: int
    steps: int
    extra: bool = False  # shown in the second table: parts left out, step methods tried

    def __post_init__(self) -> None:
        if self.model not in (TEACHER, SHIPPED, *RECIPES, *STEP_METHODS):
            raise ValueError(f"Row {self.name}: unknown model '{self.model}'.")
        if self.branches not in (1, 3) or self.steps < 1:
            raise ValueError(f"Row {self.name}: branches are 1 or 3 and steps at least 1.")

    @property
    def nfe(self) -> int:
        """Network evaluations of one window."""
        return self.branches * self.steps


ROWS: Final = (
    Row("teacher-75", "Teacher, 25 steps × 3 branches", TEACHER, 3, 25),
    Row("teacher-18", "Teacher cut to 6 × 3", TEACHER, 3, 6),
    Row("teacher-6", "Teacher cut to 2 × 3", TEACHER, 3, 2),
    Row("naive", "Naive distillation, 6 × 1", "naive", 1, 6),
    Row("mixed", "+ mixed-supervised loss, 6 × 1", "mixed", 1, 6),
    Row("tokens", "+ CFG tokens, 6 × 1", "tokens", 1, 6),
    Row("balanced", "FADA-Balanced, 6 × 3", "balanced", 3, 6),
    Row("fast", "FADA-Fast (+ roll-out), 6 × 1", "fast", 1, 6),
    Row("steps-4", "+ consistency, 4 × 1", "consistency", 1, 4),
    Row("steps-2", "+ consistency, 2 × 1", "consistency", 1, 2),
    Row("steps-1", "+ consistency, 1 × 1", "consistency", 1, 1),
    Row("shipped-6", "Shipped student (trained longer), 6 × 1", SHIPPED, 1, 6),
    Row("shipped-4", "Shipped student, 4 × 1", SHIPPED, 1, 4),
    Row("shipped-2", "Shipped student, 2 × 1", SHIPPED, 1, 2),
    Row("shipped-1", "Shipped student, 1 × 1", SHIPPED, 1, 1),
    Row("fast-no-mixed", "Fast without the mixed-supervised loss", "fast-no-mixed", 1, 6, extra=True),
    Row("fast-no-tokens", "Fast without CFG tokens", "fast-no-tokens", 1, 6, extra=True),
    Row("fast-2", "Fast at 2 steps, no step stage", "fast", 1, 2, extra=True),
    Row("dmd-2", "DMD in place of consistency, 2 × 1", "dmd", 1, 2, extra=True),
    Row("adversarial-2", "Adversarial in place of consistency, 2 × 1", "adversarial", 1, 2, extra=True),
)


def chosen_rows(names: str) -> tuple[Row, ...]:
    """Rows of a comma-separated list, or all of them for "all".

    Raises:
        ValueError: an unknown row.
    """
    if names == "all":
        return ROWS
    known = {row.name: row for row in ROWS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    strange = [name for name in wanted if name not in known]
    if strange or not wanted:
        raise ValueError(f"Unknown rows {strange}; expected some of {', '.join(known)}.")
    return tuple(known[name] for name in wanted)
