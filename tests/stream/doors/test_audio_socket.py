"""WS /v1/audio against a running server: everything a program may say, well and badly, and what it then hears."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import WebSocket

from stream.doors.audio_socket import MAX_UNSENT_EVENTS, Program
from stream.doors.messages import read_query
from tests.fakes import SMALL_SPEC, FakeClock, FakeEngine, mouth_of
from tests.stream.calls.spectator import Spectator
from tests.stream.doors.program import base64_of, program
from tests.stream.programs.program_stage import ramp
from tests.stream.rig import running_server


async def test_a_program_speaks_and_hears_where_it_is_and_its_call_ends_with_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_server(tmp_path, lambda: engine) as running:
        async with program(running, "rate=24000&avatar=bo") as client:
            await client.socket.send(ramp(12_000).tobytes())
            await client.say({"type": "end"})
            await client.until(lambda: bool(client.of("drained")))
            (hello,) = client.of("hello")
            assert client.events[0] is hello
            assert (hello["avatar"], hello["rate"], hello["max_backlog_ms"]) == ("bo", 24_000, 300_000)
            kinds = [event["type"] for event in client.events if event["type"] != "stats"]
            assert (kinds[:2], kinds[-1], set(kinds[2:-1])) == (["hello", "started"], "drained", {"played"})
            drained = {"type": "drained", "segment": 0, "samples": 12_000, "ms": 500.0}
            assert client.of("drained") == [drained]
            await client.say({"type": "clear"})
            await client.until(lambda: bool(client.of("cleared")))
            assert client.of("cleared")[0]["segment"] is None
            viewer = Spectator()
            await viewer.watch(running, hello["watch_id"])
            await client.until(lambda: min(viewer.frames.values()) > 2)
            await viewer.leave()
        await client.until(lambda: len(running.server.lobby) == 0)
        assert running.server.scheduler.seats.taken == 0
    assert not engine.held


@pytest.mark.parametrize("names", ["response.output_audio", "response.audio"])
async def test_what_openai_says_is_taken_as_it_is_and_an_interruption_can_be_handed_back(
    tmp_path: Path, names: str
) -> None:
    async with running_server(tmp_path) as running, program(running) as client:
        delta: dict[str, Any] = {"type": f"{names}.delta", "content_index": 0}
        await client.say({**delta, "item_id": "a", "delta": base64_of(ramp(4_800))})
        await client.say({"type": f"{names}.done", "item_id": "a"})
        for _ in range(10):
            await client.say({**delta, "item_id": "b", "delta": base64_of(ramp(24_000))})
        await client.say({"type": f"{names}_transcript.delta", "delta": "not ours"})
        await client.until(lambda: any(event["segment"] == 1 for event in client.of("played")))
        assert (client.of("drained")[0]["item_id"], client.of("drained")[0]["samples"]) == ("a", 4_800)
        await client.say({"type": "input_audio_buffer.speech_started"})
        await client.until(lambda: bool(client.of("controls")))
        (cleared,) = client.of("cleared")
        (truncate,) = client.of("conversation.item.truncate")
        assert (cleared["item_id"], cleared["by"]) == ("b", "page")
        assert truncate["item_id"] == "b"
        assert truncate["audio_end_ms"] == int(cleared["ms"]) > 0
        assert client.of("controls")[-1]["listening"] is True
        await client.say({"type": "input_audio_buffer.speech_stopped"})
        await client.say({"type": "input_audio_buffer.append", "audio": base64_of(ramp(2_400))})
        await client.say({"type": "input_audio_buffer.commit"})
        await client.until(lambda: len(client.of("drained")) == 2)
        assert client.of("drained")[1]["segment"] == 2
        assert client.of("controls")[-1]["listening"] is False
        assert not client.of("error")


async def test_a_hundred_interruptions_over_the_socket_leave_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, program(running) as client:
        await client.socket.send(ramp(2_400).tobytes())
        await client.until(lambda: bool(client.of("started")))
        tasks = len(asyncio.all_tasks())
        for index in range(100):
            await client.socket.send(ramp(24_000).tobytes())
            await client.say({"type": "clear"})
            await client.until(lambda index=index: len(client.of("cleared")) > index)
        assert [event["segment"] for event in client.of("cleared")] == list(range(100))
        assert len(asyncio.all_tasks()) <= tasks + 1, "but for a picture that is just awaited"
        await client.socket.send(ramp(2_400).tobytes())
        await client.say({"type": "end"})
        await client.until(lambda: bool(client.of("drained")))
        assert client.of("drained") == [{"type": "drained", "segment": 100, "samples": 2_400, "ms": 100.0}]


async def test_who_reads_no_events_is_let_go() -> None:
    unread = Program(cast(WebSocket, None), FakeClock(), read_query({}), SMALL_SPEC, "secret")
    for _ in range(MAX_UNSENT_EVENTS):
        unread._tell("stats", {})
    assert not unread.caller._gone.is_set()
    unread._tell("stats", {})
    assert await unread.caller.gone() == "not_reading"


BAD: list[tuple[str | bytes, str]] = [
    ("no json", "bad_message"),
    ("[1]", "bad_message"),
    ('{"kind": "end"}', "bad_message"),
    ('{"type": "controls", "audio_scale": "loud"}', "bad_controls"),
    ('{"type": "listening", "listening": 7}', "bad_message"),
    ('{"type": "avatar"}', "unknown_avatar"),
    ('{"type": "input_audio_buffer.append", "audio": "*"}', "bad_sound"),
    ('{"type": "response.output_audio.delta"}', "bad_message"),
    (b"odd", "bad_sound"),
    (b"\0" * (1024 * 1024 + 2), "too_large"),
]


async def test_bad_messages_are_told_in_one_sentence_each_and_lose_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, program(running) as client:
        said = ramp(len(BAD) * 480)
        for index, (message, _) in enumerate(BAD):
            await client.socket.send(said[index * 480 : index * 480 + 480].tobytes())
            await client.socket.send(message)
        await client.say({"type": "who knows", "from": "a later protocol"})
        await client.say({"type": "listening"})
        await client.say({"type": "controls", "audio_scale": 2})
        await client.say({"type": "end"})
        await client.until(lambda: bool(client.of("drained")))
        assert [event["error"] for event in client.of("error")] == [code for _, code in BAD]
        assert all(event["message"].endswith(".") for event in client.of("error"))
        assert client.of("drained")[0]["samples"] == len(said)
        assert client.of("controls")[-1]["audio_scale"] == 2.0
        await client.say({"type": "bye"})
        await client.until(client.closed.is_set)
        assert client.socket.close_code == 1000


async def refusal_of(running: Any, query: str, **more: Any) -> tuple[str, int | None]:
    async with program(running, query, **more) as client:
        await client.until(client.closed.is_set)
    (error,) = client.events
    return error["error"], client.socket.close_code


async def test_who_is_not_let_in_hears_why(tmp_path: Path) -> None:
    async with running_server(tmp_path, max_sessions=1) as running:
        for query in (
            "rate=7000",
            "rate=fast",
            "format=mp3",
            "Rate=8000",
            "video=yes",
            "seed=-1",
            "resume=short",
        ):
            assert await refusal_of(running, query) == ("invalid_request", 1008), query
        assert await refusal_of(running, "avatar=nobody") == ("unknown_avatar", 1008)
        assert await refusal_of(running, "audio_scale=99") == ("invalid_request", 1008)
        assert await refusal_of(running, "", origin="https://elsewhere.example") == ("other_origin", 1008)
        async with program(running, "", origin=running.url) as first:
            await first.until(lambda: bool(first.of("hello")))
            assert await refusal_of(running, "") == ("server_full", 1013)
        assert len(running.server.lobby) <= 1


async def test_a_lost_connection_comes_back_to_its_call(tmp_path: Path) -> None:
    async with running_server(tmp_path, grace_s=60) as running:
        async with program(running) as lost:
            await lost.until(lambda: bool(lost.of("hello")))
            hello = lost.of("hello")[0]
            lost.socket.transport.abort()
        async with program(running, f"resume={hello['resume']}") as back:
            await back.until(lambda: bool(back.of("hello")))
            assert back.of("hello")[0]["session_id"] == hello["session_id"]
            await back.socket.send(ramp(2_400).tobytes())
            await back.say({"type": "end"})
            await back.until(lambda: bool(back.of("drained")))


async def test_the_film_on_the_socket_is_decoded_as_it_comes(tmp_path: Path) -> None:
    import io

    import av

    async with running_server(tmp_path) as running, program(running, "video=mp4") as client:
        await client.socket.send(ramp(48_000).tobytes())
        await client.say({"type": "end"})
        await client.until(lambda: bool(client.of("drained")) and len(client.film) > 40)
    assert client.film[0][4:8] == b"ftyp"
    assert all(piece[4:8] == b"moof" for piece in client.film[1:])
    with av.open(io.BytesIO(b"".join(client.film))) as film:
        assert [stream.codec_context.name for stream in film.streams] == ["h264", "opus"]
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert frames[0].shape == (64, 64, 3)
    assert max(mouth_of(frame) for frame in frames) > 150


async def test_the_description_tells_all_messages_and_is_true_to_what_is_read(tmp_path: Path) -> None:
    from typing import get_args

    from stream.doors.events import EVENTS
    from stream.doors.messages import Message

    async with running_server(tmp_path, ready=False) as running:
        told = (await running.http.get("/asyncapi.json")).json()
    assert told["asyncapi"] == "3.0.0"
    said = {ref["$ref"].rpartition("/")[2] for ref in told["operations"]["say"]["messages"]}
    assert said == {model.__name__ for model in get_args(Message)} | {"Sound"}
    heard = {ref["$ref"].rpartition("/")[2] for ref in told["operations"]["hear"]["messages"]}
    assert heard == {f"{model.__name__}Event" for model in EVENTS.values()} | {"Film"}
    assert set(told["channels"]["audio"]["messages"]) == said | heard == set(told["components"]["messages"])
    page = (Path(__file__).resolve().parents[3] / "docs" / "programs.md").read_text(encoding="utf-8")
    for text in json.dumps(told["components"]["messages"]).split('"const": "')[1:]:
        assert f"`{text.partition(chr(34))[0]}`" in page or text.startswith(
            ("controls", "avatar", "bye", "listening")
        )
