"""A program in a real call: its sound ahead of time, its positions, interruptions by whomever, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.clock import MonotonicClock
from stream.live.wish import Wish
from stream.programs.caller import ProgramCaller
from stream.programs.sound import SoundForm
from tests.fakes import FakeEngine
from tests.stream.calls.test_other_callers import until
from tests.stream.programs.program_stage import ramp
from tests.stream.rig import running_server


async def test_a_program_speaks_is_interrupted_over_http_and_leaves_nothing(tmp_path: Path) -> None:
    engine = FakeEngine()
    told: list[tuple[str, Mapping[str, Any]]] = []

    def of(kind: str) -> list[Mapping[str, Any]]:
        return [fields for each, fields in told if each == kind]

    async with running_server(tmp_path, lambda: engine) as running:
        caller = ProgramCaller(MonotonicClock(), SoundForm(24_000), lambda *event: told.append(event))
        session = await running.server.lobby.admit(Wish(), caller)
        caller.offer(ramp(12_000))
        caller.end()
        await until(lambda: bool(of("drained")))
        assert of("drained") == [{"segment": 0, "samples": 12_000, "ms": 500.0}]
        assert of("hello")[0]["session_id"] == session.id
        caller.offer(ramp(240_000))
        await until(lambda: len(of("played")) > 6)
        assert (await running.http.post(f"/sessions/{session.id}/clear")).status_code == 204
        (cleared,) = of("cleared")
        assert (cleared["segment"], cleared["by"]) == (1, "http")
        assert 0 <= cleared["samples"] - of("played")[-1]["samples"] <= 24_000
        caller.say("bye", {})
        await until(lambda: len(running.server.lobby) == 0)
        assert await caller.gone() == "closed"
    assert not engine.held
