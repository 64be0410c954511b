"""One engine step that never raises. Runs on the engine thread.

In: requests of different sessions. Out: for each a result, or the error that only its own session shall hear
of.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stream.engine.protocol import Engine, EngineSpec, StepRequest, StepResult
from stream.errors import EngineError

logger = logging.getLogger(__name__)


def step_each(engine: Engine, requests: Sequence[StepRequest]) -> list[StepResult | EngineError]:
    """Draw a batch; when it fails, draw each of its windows alone, so that only the culprit pays."""
    if not requests:
        return []
    try:
        results = engine.step(requests)
        check_results(results, len(requests), engine.spec)
        return list(results)
    except Exception as error:
        logger.exception("the engine failed on a batch of %d", len(requests))
        if len(requests) > 1:
            return [step_each(engine, [request])[0] for request in requests]
        return [EngineError("engine_failed", f"The engine failed while drawing this session: {error}")]


def check_results(results: Sequence[StepResult], expected: int, spec: EngineSpec) -> None:
    """Hold an engine to its protocol.

    Raises:
        EngineError: another number of results, or frames of another shape or type.
    """
    if len(results) != expected:
        raise EngineError("engine_failed", f"expected {expected} results, got {len(results)}")
    shape = (spec.hop_frames, spec.height, spec.width, 3)
    for result in results:
        got = result.frames
        if got.shape != shape or got.dtype.name != "uint8":
            raise EngineError("engine_failed", f"expected frames {shape} uint8, got {got.shape} {got.dtype}")
