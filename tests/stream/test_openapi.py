"""GET /openapi.json is served and true: against the running server, the protocol's page and the source."""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from stream.answers import ERRORS
from tests.stream.rig import Caller, running_server

ROOT: Final = Path(__file__).resolve().parents[2]
ON_THE_CHANNEL: Final = {"bad_controls", "busy", "bad_message"}
"""Codes that only notices of the data channel carry."""


async def test_every_route_is_described_with_its_errors_and_bodies(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        described = (await running.http.get("/openapi.json")).json()
        routes = {
            (method.upper(), route.path)
            for route in running.app.routes
            for method in getattr(route, "methods", None) or ()
            if getattr(route, "include_in_schema", False)
        }
    operations = {(m.upper(), path): op for path, ms in described["paths"].items() for m, op in ms.items()}
    assert set(operations) == {route for route in routes if route[0] != "HEAD"}
    offer = operations["POST", "/offer"]
    assert set(offer["responses"]) == {"200", "400", "404", "413", "415", "422", "500", "503"}
    assert "`server_full`" in offer["responses"]["503"]["description"]
    assert {"sdp", "resume", "seed"} <= set(
        offer["requestBody"]["content"]["application/json"]["schema"]["properties"]
    )
    for place, operation in operations.items():
        assert "HTTPValidationError" not in str(operation), place
        assert any(status.startswith("2") for status in operation["responses"]), place


def test_the_protocols_page_has_the_same_errors() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = page.partition("### Errors")[2].partition("##")[0]
    said = {
        code: status
        for statuses, codes in re.findall(r"^\| ([\d, ]+) \| ([^|]+) \|", table, re.MULTILINE)
        for code, status in zip(
            re.findall(r"`(\w+)`", codes), (statuses.split(", ") * 9)[: codes.count("`")], strict=False
        )
    }
    assert said == {code: str(status) for code, (status, _) in ERRORS.items()}


def test_every_code_that_is_raised_is_in_the_table() -> None:
    raised = set()
    for path in (ROOT / "stream").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("SignalingError", "AdmissionError"):
                raised |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    assert raised - ON_THE_CHANNEL <= set(ERRORS)


@pytest.mark.slow
async def test_whatever_is_asked_is_answered_as_described(tmp_path: Path) -> None:
    async with running_server(tmp_path, own_avatars=tmp_path / "own") as running:
        caller = Caller()
        ids = await caller.call(running)
        await caller.until(lambda: len(caller.received.pictures) > 2)
        asking = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.stream.asker",
            running.url,
            ids["session_id"],
            ids["watch_id"],
            cwd=ROOT,
        )
        assert await asyncio.wait_for(asking.wait(), 120) == 0, "see what it printed"
        assert (await running.http.get("/readyz")).status_code == 200
        seen = len(caller.received.pictures)
        await caller.until(lambda: len(caller.received.pictures) > seen + 25, 10)
        await caller.hang_up()
