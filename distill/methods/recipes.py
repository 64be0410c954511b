"""Which parts make which student: the rows of the ablation, as values.

In: a name. Out: a `Recipe`. "fast" is FADA whole; every other row leaves parts out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to distil a teacher into a student."""

    name: str
    summary: str
    mixed: bool  # moderate data and the adaptive mixer; else high quality and the teacher alone
    tokens: bool  # CFG tokens under random scales; else fixed scales
    branches: int  # 1, or 3 that are mixed at inference
    rollout: bool  # a quarter of the rows sees motion frames that the student made

    def __post_init__(self) -> None:
        if self.branches not in (1, 3) or (self.tokens and self.branches == 3):
            raise ValueError("Recipe: branches are 1 or 3, and tokens fold them into 1.")


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe("naive", "one branch copies the guided teacher at fixed scales", False, False, 1, False),
        Recipe("mixed", "naive + mixed-supervised loss", True, False, 1, False),
        Recipe("tokens", "mixed + CFG tokens", True, True, 1, False),
        Recipe("balanced", "mixed, three branches kept, roll-out", True, False, 3, True),
        Recipe("fast", "mixed + CFG tokens + roll-out: FADA-Fast", True, True, 1, True),
        Recipe("fast-no-mixed", "fast without the mixed-supervised loss", False, True, 1, True),
        Recipe("fast-no-tokens", "fast without CFG tokens: fixed scales", True, False, 1, True),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ValueError: no such recipe.
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown method '{name}'; expected one of {', '.join(RECIPES)}.")
    return RECIPES[name]
