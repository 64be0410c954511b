"""Whether this machine is fast enough for a live face, and for how many callers at a time.

In: a preset. Out: what a window of one, two, … callers costs on the engine that `fada serve` would load, beside the
time that it covers. Some seconds on the shipped preset; nothing else should be busy meanwhile.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.engine.protocol import Controls, Engine, StepRequest

SHARE: Final = 0.7
"""Of the time that a window covers, what drawing may take: on two cores three callers at 68% held under 1% of their
frames and four at 82% every fifth, since the same cores hear, encode and send."""
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class LiveSpeed:
    """Attributes:
    window_ms: time that a window covers.
    cost_ms: of a window of 1, 2, … callers, the median of some.
    """

    window_ms: float
    cost_ms: tuple[float, ...]

    @property
    def callers(self) -> int:
        """How many callers at a time are drawn in time; 0 if not even one is."""
        fitting = [count for count, cost in enumerate(self.cost_ms, 1) if cost <= SHARE * self.window_ms]
        return max(fitting, default=0)

    def sentence(self) -> str:
        """For a person."""
        cost, whole = self.cost_ms[max(self.callers, 1) - 1], self.window_ms
        told = f"drawing takes {cost:.0f} of the {whole:.0f} ms there are"
        if not self.callers:
            return f"too slow for a live face: {told}; frames will be held. `fada render` works all the same."
        more = " or more" if self.callers == len(self.cost_ms) else ""
        count = f"{self.callers}{more} callers" if self.callers > 1 or more else "one caller"
        return f"fast enough for {count} at a time: {told}"


def measure_live(engine: Engine, clock: Callable[[], float] = time.perf_counter) -> LiveSpeed:
    """Draw windows of noise for 1, 2, … callers, up to the engine's largest batch."""
    spec = engine.spec
    picture = np.full((spec.height, spec.width, 3), 128, dtype=np.uint8)
    sound = np.random.default_rng(0).normal(0, 0.1, spec.window_samples).astype(np.float32)
    costs = []
    for rows in range(1, spec.max_batch + 1):
        states: list[object] = [engine.open(picture, seed) for seed in range(rows)]
        spent = []
        for _ in range(ROUNDS + 1):  # the first one warms up
            began_s = clock()
            results = engine.step([StepRequest(state, sound, Controls()) for state in states])
            states = [result.state for result in results]
            spent.append(clock() - began_s)
        costs.append(1e3 * statistics.median(spent[1:]))
    return LiveSpeed(1e3 * spec.hop_s, tuple(costs))
