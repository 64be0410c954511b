"""What a timed test's machine was doing meanwhile, and a second chance where it was not its own.

In: something to measure. Out: the measurement, taken again where the machine's host withheld processors meanwhile.
What is asked of the measurement stays the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

Found = TypeVar("Found")

STAT: Final = Path("/proc/stat")
WITHHELD_AT_MOST: Final = 0.01
TRIES: Final = 4
CALM_S: Final = 5.0
WAIT_AT_MOST_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Ticks:
    """Processor time since the machine's start, in ticks; zeros where the system does not tell."""

    total: int = 0
    withheld: int = 0

    @staticmethod
    def now(stat: Path = STAT) -> Ticks:
        """Read the system's counts: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user."""
        try:
            counts = [int(count) for count in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return Ticks()
        return Ticks(sum(counts), counts[7]) if len(counts) == 8 else Ticks()

    def disturbed_since(self, before: Ticks) -> bool:
        """Whether the host withheld more than `WITHHELD_AT_MOST` of the processors' time since."""
        return self.withheld - before.withheld > WITHHELD_AT_MOST * (self.total - before.total)


def wait_for_calm(clock: Callable[[], Ticks] = Ticks.now, nap: Callable[[float], None] = time.sleep) -> None:
    """Until the host withheld next to nothing for `CALM_S`, at most `WAIT_AT_MOST_S`."""
    for _ in range(int(WAIT_AT_MOST_S / CALM_S)):
        before = clock()
        nap(CALM_S)
        if not clock().disturbed_since(before):
            return


def measured_undisturbed(
    take: Callable[[], Found],
    good: Callable[[Found], bool],
    clock: Callable[[], Ticks] = Ticks.now,
    nap: Callable[[float], None] = time.sleep,
) -> Found:
    """``take()``; again, `TRIES` times in all, while it is not ``good`` and the machine was disturbed meanwhile."""
    for _ in range(TRIES - 1):
        before = clock()
        found = take()
        if good(found) or not clock().disturbed_since(before):
            return found
        wait_for_calm(clock, nap)
    return take()
