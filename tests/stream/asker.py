"""A stranger who has read GET /openapi.json and asks everything in it, well and badly.

In: a server's address, a session's id and its watch id. Out: exit code 0 if every answer was as described; else
what was asked and answered. A process of its own, as a client is: what it draws at random stays its own.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES: Final = 15
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
schemathesis.serializer.alias("application/sdp", "text/plain")


def ask_everything(url: str, ids: dict[str, Any]) -> None:
    """Ask each operation of the description, well and badly, half of the time of a session that is there."""
    answers: Counter[int] = Counter()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode), there=st.booleans())
            def ask(case: Any, there: bool) -> None:
                known = {name: ids[name] for name in (case.path_parameters or {}) if name in ids}
                if known and there:
                    case.path_parameters = {**case.path_parameters, **known}
                answers[case.call_and_validate(checks=CHECKS).status_code] += 1

            with contextlib.suppress(Unsatisfiable):  # an operation without parameters cannot be asked badly
                ask()
    print("answers by status:", dict(answers))
    assert min(answers[status] for status in (200, 204, 400, 404, 422)) > 3, answers


if __name__ == "__main__":
    ask_everything(sys.argv[1], {"session_id": sys.argv[2], "watch_id": sys.argv[3]})
