"""Figures of pictures as a table: rows for people, the same numbers for programs.

In: figures by row. Out: Markdown, and a summary over all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Rows = Sequence[tuple[str, Mapping[str, float]]]


def markdown(rows: Rows, first: str = "picture") -> str:
    """A table with a row each and the medians below."""
    if not rows:
        return ""
    keys = list(rows[0][1])
    lines = [f"| {first} | " + " | ".join(keys) + " |", "|" + "---|" * (len(keys) + 1)]
    lines += [_line(name, figures, keys) for name, figures in rows]
    if len(rows) > 1:
        lines.append(_line("**median**", medians(rows), keys))
    return "\n".join(lines)


def medians(rows: Rows) -> dict[str, float]:
    """The median of every figure."""
    return {key: round(float(np.median([figures[key] for _, figures in rows])), 4) for key in rows[0][1]}


def _line(name: str, figures: Mapping[str, float], keys: Sequence[str]) -> str:
    cells = " | ".join(f"{figures[key]:.3g}" for key in keys)
    return f"| {name.replace('|', '/')} | {cells} |"
