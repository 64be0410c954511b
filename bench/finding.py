"""What `fada doctor` finds: one thing looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "remark", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what, how it is, and in words."""

    topic: str
    verdict: Verdict
    text: str


def verdict_of(findings: Sequence[Finding]) -> str:
    """The last line: whether the server runs here, and whether anything could be better."""
    counts = Counter(finding.verdict for finding in findings)
    if counts["fault"]:
        return f"{counts['fault']} thing(s) to mend, marked !!."
    better = f"; {counts['remark']} thing(s) could be better, marked --" if counts["remark"] else ""
    return f"Everything the server needs is here{better}."
