"""Whether a machine is fast enough: the sentence, and the measurement on an engine of known cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.live_speed import LiveSpeed, measure_live
from stream.engine.protocol import StepRequest, StepResult
from tests.fakes import FakeEngine


@pytest.mark.parametrize(
    ("cost_ms", "callers", "told"),
    [
        ((90.0, 170.0), 0, "too slow for a live face: drawing takes 90 of the 80 ms"),
        ((60.0, 110.0), 0, "too slow"),
        ((31.7, 57.0), 1, "fast enough for one caller at a time: drawing takes 32 of the 80 ms"),
        ((20.0, 30.0, 60.0), 2, "fast enough for 2 callers at a time: drawing takes 30 of the 80 ms"),
        ((5.0, 8.0), 2, "fast enough for 2 or more callers"),
    ],
)
def test_callers_and_sentence(cost_ms: tuple[float, ...], callers: int, told: str) -> None:
    found = LiveSpeed(80.0, cost_ms)
    assert found.callers == callers
    assert told in found.sentence()


def test_every_batch_is_measured_and_the_first_window_left_out() -> None:
    now_s = 0.0

    class Costly(FakeEngine):
        def step(self, requests: Sequence[StepRequest]) -> list[StepResult]:
            nonlocal now_s
            first = not getattr(self, f"warm{len(requests)}", False)
            setattr(self, f"warm{len(requests)}", True)
            now_s += 5.0 if first else 0.010 * len(requests)
            return super().step(requests)

    engine = Costly()
    found = measure_live(engine, clock=lambda: now_s)
    assert found.window_ms == pytest.approx(1e3 * engine.spec.hop_s)
    assert found.cost_ms == pytest.approx([10.0 * rows for rows in range(1, engine.spec.max_batch + 1)])
