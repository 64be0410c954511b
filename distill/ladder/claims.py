"""What the ladder shows, said of its own figures: each claim with its figure, its aim and whether it holds.

In: the collected ladder. Out: `Claim`s, and them as Markdown. Nothing is said here that the JSON does not hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

HELD_OUT: Final = "held-out"
TEACHER_ROW: Final = "teacher-75"
LOWER_IS_BETTER: Final = ("identity_distance", "frechet")
NAMES: Final = {
    "r_opening": "sync r",
    "identity_distance": "identity distance",
    "frechet": "Fréchet distance",
}
AIMED: Final = ("fast", "shipped-6", "steps-2", "shipped-2")
"""Rows with aims against the teacher."""
SPEED: Final = {6: 10.0, 2: 25.0}
SYNC: Final = {6: 0.97, 2: 0.95}
NEAR: Final = 1.10
PARTS: Final = (
    ("fast", "naive", "FADA-Fast against naive distillation"),
    ("fast", "fast-no-mixed", "the mixed-supervised loss, left out of Fast"),
    ("fast", "fast-no-tokens", "the CFG tokens, left out of Fast"),
    ("fast", "tokens", "roll-out, left out of Fast"),
    ("mixed", "naive", "the mixed-supervised loss, added to naive"),
)
"""(row, row without the part, what is compared)."""

Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement, its measured figure, and the verdict: "held", "missed", "better", "worse", "undecided"."""

    text: str
    figure: str
    verdict: str


def claims(ladder: dict[str, Any]) -> list[Claim]:
    """All claims that the measured rows allow."""
    rows: Rows = {row["name"]: row for row in ladder["rows"]}
    found = [claim for name in rows for claim in _against_teacher(rows, name)]
    for name, without, text in PARTS:
        if name in rows and without in rows:
            found += _compared(rows[name], rows[without], text)
    return found


def claims_table(ladder: dict[str, Any]) -> str:
    """The claims as a Markdown table; empty where no rows can be compared."""
    found = claims(ladder)
    if not found:
        return ""
    lines = ["| what | measured | verdict |", "|---|---|---|"]
    return "\n".join(lines + [f"| {c.text} | {c.figure} | {c.verdict} |" for c in found]) + "\n"


def _against_teacher(rows: Rows, name: str) -> list[Claim]:
    """A row of 6 or 2 evaluations against the whole teacher."""
    row, teacher = rows[name], rows.get(TEACHER_ROW)
    nfe = row["nfe"]
    if teacher is None or name not in AIMED or HELD_OUT not in row["suites"]:
        return []
    own, whole = row["suites"][HELD_OUT], teacher["suites"][HELD_OUT]
    if "r_opening" not in own or "r_opening" not in whole:
        return []
    share = own["r_opening"]["mean"] / whole["r_opening"]["mean"]
    found = [
        Claim(
            f"{row['title']}: sync r at least {SYNC[nfe]:.0%} of the teacher's",
            f"{own['r_opening']['mean']:.3f} / {whole['r_opening']['mean']:.3f} = {share:.1%}",
            _held(share >= SYNC[nfe]),
        )
    ]
    if nfe == 6:
        for key in LOWER_IS_BETTER:
            ratio = own[key]["mean"] / whole[key]["mean"]
            found.append(
                Claim(
                    f"{row['title']}: {NAMES[key]} within 10% of the teacher's",
                    f"{ratio:.2f} times",
                    _held(ratio <= NEAR),
                )
            )
    speeds = row["times_faster_by_threads"]
    told = ", ".join(f"{ratio:.1f} ({threads})" for threads, ratio in speeds.items())
    reached = [ratio >= SPEED[nfe] for ratio in speeds.values()]
    verdict = "held" if all(reached) else "held in part" if any(reached) else "missed"
    found.append(Claim(f"{row['title']}: at least {SPEED[nfe]:.0f} times faster", told, verdict))
    return found


def _held(yes: bool) -> str:
    return "held" if yes else "missed"


def _compared(row: dict[str, Any], without: dict[str, Any], text: str) -> list[Claim]:
    """One part's share on every suite: a difference counts if it is beyond the two rows' spread over seeds."""
    found = []
    for suite in row["suites"]:
        figures, verdicts = [], []
        for key, name in NAMES.items():
            a, b = row["suites"][suite].get(key), without["suites"][suite].get(key)
            if a is None or b is None:
                continue  # sync, where no clip of the suite had anything to say
            gain = a["mean"] - b["mean"]
            spread = math.hypot(a["spread"], b["spread"])
            percent = gain / abs(b["mean"]) if b["mean"] else 0.0
            figures.append(f"{name} {percent:+.1%} (spread {spread / abs(b['mean'] or 1.0):.1%})")
            verdicts.append(f"{name}: {_verdict(gain, spread, min(a['n'], b['n']), key)}")
        found.append(Claim(f"{text}, {suite}", "; ".join(figures), "; ".join(verdicts)))
    return found


def _verdict(gain: float, spread: float, seeds: int, key: str) -> str:
    if seeds < 2 or abs(gain) <= spread:
        return "undecided"
    return "better" if (gain < 0) == (key in LOWER_IS_BETTER) else "worse"
