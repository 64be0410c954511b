"""The HTTP side: answers, errors as JSON sentences, limits. No media here."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from stream.engine.protocol import Engine
from stream.errors import EngineError
from tests.fakes import FakeEngine
from tests.stream.rig import Caller, Running, running_server
from tests.stream.rtc.offer.test_offers import GOOD, HEAD, VIDEO


async def post(running: Running, body: object = None, **more: object) -> tuple[int, dict[str, str]]:
    response = await running.http.post("/offer", **({"json": body} if body is not None else more))  # type: ignore[arg-type]
    answer = response.json()
    assert set(answer) == {"error", "message"}, answer
    assert "\n" not in answer["message"]
    return response.status_code, answer


async def test_the_open_doors(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        assert (await running.http.get("/healthz")).json() == {"status": "up"}
        assert (await running.http.get("/readyz")).json() == {
            "status": "ready",
            "sessions": 0,
            "max_sessions": 2,
        }
        assert (await running.http.get("/controls")).json() == {
            "audio_scale": {"low": 0.0, "high": 2.5, "default": 1.4},
            "reference_scale": {"low": 0.5, "high": 1.5, "default": 1.0},
        }
        avatars = (await running.http.get("/avatars")).json()
        assert [avatar["id"] for avatar in avatars] == ["ada", "bo"]
        picture = await running.http.get(f"/{avatars[0]['thumbnail']}")
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
        metrics = await running.http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "fada_seats_taken 0.0" in metrics.text
        assert "python_gc" not in metrics.text  # a registry of its own
        page = await running.http.get("/")
        assert page.status_code == 200
        assert "data-testid" in page.text
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-cache"
        assert "access-control-allow-origin" not in page.headers


async def test_strangers_offers_get_a_sentence_and_a_code(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        assert (await post(running, {"sdp": "garbage", "type": "offer"}))[0] == 400
        assert (await post(running, {"sdp": HEAD + VIDEO, "type": "offer"}))[1]["error"] == "no_audio"
        status, answer = await post(running, {"sdp": GOOD, "type": "answer"})
        assert (status, answer["error"]) == (400, "bad_offer")
        status, answer = await post(running, {"type": "offer"})
        assert (status, answer["error"]) == (422, "invalid_request")
        status, answer = await post(running, {"sdp": GOOD, "type": "offer", "avatar": "nobody"})
        assert (status, answer["error"]) == (404, "unknown_avatar")
        status, answer = await post(running, content=b"{", headers={"content-type": "application/json"})
        assert (status, answer["error"]) == (400, "bad_json")
        status, answer = await post(running, content=b"{}", headers={"content-type": "text/plain"})
        assert (status, answer["error"]) == (415, "bad_type")
        status, answer = await post(running, {"sdp": GOOD, "type": "offer", "audio_scale": 2.6})
        assert (status, answer["error"]) == (422, "invalid_request")
        assert answer["message"] == "Expected audio_scale between 0 and 2.5, got 2.6."
        assert running.server.scheduler.seats.taken == 0
        assert len(running.server.lobby) == 0
        text = (await running.http.get("/metrics")).text
        assert 'fada_offers_total{outcome="bad_offer"} 2.0' in text


async def test_an_offer_is_read_only_where_there_is_a_place(tmp_path: Path) -> None:
    async with running_server(tmp_path, max_sessions=1, max_viewers=0) as running:
        caller = Caller()
        watch_id = (await caller.call(running))["watch_id"]
        status, answer = await post(running, {"sdp": "not even read", "type": "offer"})
        assert (status, answer["error"]) == (503, "server_full")
        response = await running.http.post(
            f"/sessions/{watch_id}/viewers", json={"sdp": "not even read", "type": "offer"}
        )
        assert (response.status_code, response.json()["error"]) == (503, "viewers_full")
        await caller.hang_up()


async def test_huge_bodies_are_cut_off_declared_or_not(tmp_path: Path) -> None:
    async def flood(blocks: int) -> AsyncIterator[bytes]:
        for _ in range(blocks):
            yield b"x" * 65_536

    async with running_server(tmp_path) as running:
        headers = {"content-type": "application/json"}
        status, answer = await post(running, content=b"x" * 200_000, headers=headers)
        assert (status, answer["error"]) == (413, "too_large")
        status, answer = await post(running, content=flood(30), headers=headers)
        assert (status, answer["error"]) == (413, "too_large")
        with contextlib.suppress(httpx.TransportError):  # one that does not stop is cut off
            assert (await post(running, content=flood(2000), headers=headers))[0] == 413
        assert (await running.http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/offer", 405, "wrong_method"),
        ("PUT", "/offer", 405, "wrong_method"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/avatars/nothing.png", 404, "not_found"),
        ("GET", "/avatars/..%2f..%2fpyproject.toml", 404, "not_found"),
        ("GET", "/%2e%2e/pyproject.toml", 404, "not_found"),
        ("DELETE", "/healthz", 405, "wrong_method"),
        ("GET", "/sessions/0123456789abcdef/controls", 404, "unknown_session"),
        ("PATCH", "/sessions/0123456789abcdef/controls", 415, "bad_type"),
        ("POST", "/sessions/0123456789abcdef/controls", 405, "wrong_method"),
        ("POST", "/sessions/0123456789abcdef/viewers", 415, "bad_type"),
        ("PUT", "/sessions/0123456789abcdef/viewers", 405, "wrong_method"),
        ("DELETE", "/sessions/0123456789abcdef/viewers/0123456789abcdef", 404, "unknown_session"),
    ],
)
async def test_wrong_doors(method: str, path: str, status: int, code: str, tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        response = await running.http.request(method, path)
        assert (response.status_code, response.json()["error"]) == (status, code)


async def test_of_the_avatars_folder_the_catalogues_pictures_alone_are_served(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        folder = tmp_path / "avatars"
        (folder / "below").mkdir()
        for name in (".hidden", "notes.txt", "other.png", "below/ada.png"):
            (folder / name).write_bytes((folder / "ada.png").read_bytes())
        for avatar in (await running.http.get("/avatars")).json():
            for address in (avatar["image"], avatar["thumbnail"]):
                served = await running.http.get(f"/{address}")
                assert served.status_code == 200 and served.content == (tmp_path / address).read_bytes()
                again = await running.http.get(
                    f"/{address}", headers={"if-none-match": served.headers["etag"]}
                )
                assert again.status_code == 304
        for name in (
            ".hidden",
            "notes.txt",
            "other.png",
            "below/ada.png",
            "below",
            "index.json",
            "",
            "ada%00.png",
        ):
            answer = await running.http.get(f"/avatars/{name}")
            assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), name


async def test_while_loading_the_process_is_up_and_not_ready(tmp_path: Path) -> None:
    gate = threading.Event()

    def slow() -> Engine:
        gate.wait(10)
        return FakeEngine()

    async with running_server(tmp_path, slow, ready=False) as running:
        assert (await running.http.get("/healthz")).status_code == 200
        response = await running.http.get("/readyz")
        assert (response.status_code, response.json()["error"]) == (503, "not_ready")
        assert response.headers["retry-after"] == "2"
        assert (await running.http.get("/controls")).json()["error"] == "not_ready"
        status, answer = await post(running, {"sdp": GOOD, "type": "offer"})
        assert (status, answer["error"]) == (503, "not_ready")
        status, answer = await post(running, {"sdp": "not even read", "type": "offer"})
        assert (status, answer["error"]) == (503, "not_ready")
        gate.set()
        await asyncio.wait_for(running.server.loaded.wait(), 5)
        assert (await running.http.get("/readyz")).status_code == 200


async def test_an_engine_that_does_not_load_says_why(tmp_path: Path) -> None:
    def broken() -> Engine:
        raise EngineError("engine_not_loaded", "The weights small.safetensors are truncated.")

    async with running_server(tmp_path, broken) as running:
        response = await running.http.get("/readyz")
        assert response.status_code == 503
        assert "truncated" in response.json()["message"]
        assert (await running.http.get("/healthz")).status_code == 200
