"""One engine step that never raises. Runs on the engine thread.

In: requests of different sessions. Out: for each a result, or the error that only its own session shall hear
of.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stream.engine.protocol import Engine, StepRequest, StepResult, check_results
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
