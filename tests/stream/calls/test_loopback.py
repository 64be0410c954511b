"""The whole live path on loopback: real peers, real sockets, a fake engine.

Bounds are loose enough for a busy machine; what is exact (which frame goes with which sound) is checked
exactly by the pacer's tests.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from aiortc import RTCDataChannel, RTCSessionDescription

from stream.engine.protocol import StepRequest
from stream.outbound.tracks import VOICE_AHEAD_S
from tests.fakes import FakeEngine, mouth_of
from tests.machine_time import measured_anew
from tests.stream.rig import Caller, Received, Running, bursts, running_server, silence


@pytest.mark.timed
@measured_anew
async def test_a_call_brings_pictures_at_once_and_then_a_face_that_follows_the_voice(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller(bursts)
        answer = await caller.call(running, avatar="bo", seed=3)
        assert len(answer["session_id"]) == 16
        await caller.until(lambda: bool(caller.received.pictures))
        first = caller.received.pictures[0]
        assert first[0] - caller.answered_s < 1.5
        assert float(first[2][:16].mean()) == pytest.approx(100, abs=4)  # the second avatar's grey
        assert mouth_of(first[2]) == pytest.approx(100, abs=4)  # the reference picture, grey all over
        await caller.until(lambda: is_steady(caller.received), within_s=90)
        pictures = caller.received.pictures[-75:]
        open_share = float(np.mean([mouth_of(image) > 150 for _, _, image in pictures]))
        assert 0.3 < open_share < 0.5  # the voice is on 40 % of the time
        assert_follows(pictures, caller.received.voice)
        hello = caller.received.of_type("hello")[0]
        assert (hello["session_id"], hello["avatar"], hello["fps"]) == (answer["session_id"], "bo", 25)
        await caller.until(lambda: len(caller.received.of_type("stats")) >= 2)
        stats = caller.received.of_type("stats")[-1]
        assert stats["fps"] == pytest.approx(25, abs=2)
        assert 250 < stats["latency_ms"] < 1000
        assert stats["skew_p95_ms"] < 45
        assert stats["stages"]["engine"]["p50"] < 100
        assert caller.received.of_type("pong")
        await caller.hang_up()


def is_steady(received: Received) -> bool:
    """Whether the last four seconds were free of hiccups, by the server's own account."""
    recent = received.of_type("stats")[-5:]
    lost = {stats["held"] + stats["dropped"] for stats in recent}
    return len(recent) == 5 and len(lost) == 1 and all(stats["fps"] > 24 for stats in recent[1:])


def assert_follows(pictures: Sequence[tuple], voice: Sequence[tuple]) -> None:
    """Mouth and returned voice go up and down together, by their media times and what the voice is ahead."""
    times = np.array([media_s for _, media_s, _ in pictures])
    mouth = np.array([mouth_of(image) for _, _, image in pictures])
    moments = np.array([media_s for _, media_s, _ in voice])
    levels = np.array([float(np.abs(pcm.astype(float)).mean()) for _, _, pcm in voice])

    def correlation(lag_s: float) -> float:
        within_s = 0.02 - VOICE_AHEAD_S
        return float(np.corrcoef(mouth, np.interp(times + lag_s + within_s, moments, levels))[0, 1])

    lags = np.arange(-0.2, 0.21, 0.02)
    scores = [correlation(lag_s) for lag_s in lags]
    assert max(scores) > 0.9
    assert abs(lags[int(np.argmax(scores))]) <= 0.0401


@pytest.mark.timed
@measured_anew
async def test_in_silence_the_face_goes_on_and_without_packets_too(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller(silence)
        await caller.call(running)
        await caller.until(lambda: any(s["drawing"] for s in caller.received.of_type("stats")))
        caller.microphone._sound = None  # type: ignore[assignment]  # from now on not a single packet
        windows = running.server.metrics.windows
        await asyncio.sleep(0.5)
        before = windows._value.get()
        pictures = len(caller.received.pictures)
        await caller.until(lambda: windows._value.get() > before + 5)
        assert len(caller.received.pictures) > pictures + 10
        await caller.hang_up()


async def test_one_seat_too_many_is_refused_and_the_running_session_goes_on(tmp_path: Path) -> None:
    async with running_server(tmp_path, max_sessions=1) as running:
        first, second = Caller(), Caller()
        await first.call(running)
        refused = await running.http.post("/offer", json=await second.offer())
        assert refused.status_code == 503
        assert refused.json()["error"] == "server_full"
        assert "--max-sessions" in refused.json()["message"]
        count = len(first.received.pictures)
        await first.until(lambda: len(first.received.pictures) > count + 10)
        await first.hang_up()
        await first.until(lambda: len(running.server.lobby) == 0)
        await second.connection.close()
        third = Caller()
        await third.call(running)  # the seat is free again
        await third.until(lambda: bool(third.received.pictures))
        await third.hang_up()


async def test_simultaneous_offers_cannot_take_more_seats_than_there_are(tmp_path: Path) -> None:
    async with running_server(tmp_path, max_sessions=2) as running:
        callers = [Caller() for _ in range(5)]
        offers = [await caller.offer() for caller in callers]
        responses = await asyncio.gather(*(running.http.post("/offer", json=offer) for offer in offers))
        assert sorted(response.status_code for response in responses) == [200, 200, 503, 503, 503]
        for caller in callers:
            await caller.hang_up()


async def test_a_peer_that_vanishes_is_noticed_within_seconds(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        await caller.call(running)
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        await caller.vanish()
        await caller.until(lambda: len(running.server.lobby) == 0)
        assert (
            'fada_sessions_closed_total{reason="peer_gone"} 1.0' in (await running.http.get("/metrics")).text
        )
        await caller.hang_up()


async def test_goodbye_ends_the_session_at_once(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        await caller.call(running)
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        say(caller, {"type": "bye"})
        await caller.until(lambda: len(running.server.lobby) == 0)
        await caller.hang_up()


def say(caller: Caller, message: object) -> None:
    assert isinstance(caller.channel, RTCDataChannel)
    caller.channel.send(message if isinstance(message, str) else json.dumps(message))


async def test_controls_and_avatars_can_change_during_the_call(tmp_path: Path) -> None:
    seen: list[float | None] = []

    def watch(requests: Sequence[StepRequest]) -> None:
        seen.extend(request.controls.audio_scale for request in requests)

    async with running_server(tmp_path, lambda: FakeEngine(fail=watch)) as running:
        caller = Caller()
        await caller.call(running, audio_scale=1.5)
        await caller.until(lambda: 1.5 in seen)
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        for hostile in ("", "{", "[1]", '{"type": 7}', "x" * 10_000, '{"type": "avatar", "id": {"a": 1}}'):
            say(caller, hostile)
        say(caller, {"type": "controls", "audio_scale": 99})
        say(caller, {"type": "controls", "audio_scale": 2.5})
        await caller.until(lambda: 2.5 in seen and len(caller.received.of_type("notice")) >= 2)
        notices = caller.received.of_type("notice")
        assert [notice.get("error") for notice in notices] == ["unknown_avatar", "bad_controls"]
        assert notices[1]["message"] == "Expected audio_scale between 0 and 2.5, got 99."
        say(caller, {"type": "avatar", "id": "bo"})
        await caller.until(lambda: abs(float(caller.received.pictures[-1][2][:16].mean()) - 100) < 5)
        await caller.hang_up()


async def test_scales_turn_over_both_ways_and_every_answer_tells_what_is_in_force(tmp_path: Path) -> None:
    seen: list[tuple[float | None, float | None]] = []

    def watch(requests: Sequence[StepRequest]) -> None:
        seen.extend((request.controls.audio_scale, request.controls.reference_scale) for request in requests)

    engine = FakeEngine(fail=watch)
    async with running_server(tmp_path, lambda: engine) as running:
        caller = Caller()
        answer = await caller.call(running, reference_scale=0.5)
        address = f"/sessions/{answer['session_id']}/controls"
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        hello = caller.received.of_type("hello")[0]
        assert (hello["audio_scale"], hello["reference_scale"]) == (1.4, 0.5)
        say(caller, {"type": "controls", "audio_scale": 1.8})
        await caller.until(lambda: (1.8, 0.5) in seen)
        response = await running.http.patch(address, json={"reference_scale": 1.5})
        assert (response.status_code, response.json()) == (
            200,
            {"audio_scale": 1.8, "reference_scale": 1.5, "listening": False},
        )
        await caller.until(lambda: (1.8, 1.5) in seen)
        for wrong in ({"reference_scale": 2.1}, {"reference_scale": "2"}, {"audio_scale": 10**400}):
            response = await running.http.patch(address, json={"audio_scale": 0.1, **wrong})
            assert (response.status_code, response.json()["error"]) == (422, "invalid_request")
        response = await running.http.patch(
            address, content=b"[", headers={"content-type": "application/json"}
        )
        assert (response.status_code, response.json()["error"]) == (400, "bad_json")
        assert (await running.http.get(address)).json() == {
            "audio_scale": 1.8,
            "reference_scale": 1.5,
            "listening": False,
        }
        assert (await running.http.patch(address, json={"audio_scale": None})).json()["audio_scale"] == 1.4
        told = [message | {"type": ""} for message in caller.received.of_type("controls")]
        assert told[:2] == [
            {"type": "", "audio_scale": 1.8, "reference_scale": 0.5, "listening": False, "by": "page"},
            {"type": "", "audio_scale": 1.8, "reference_scale": 1.5, "listening": False, "by": "http"},
        ]
        await caller.until(
            lambda: caller.received.of_type("stats")[-1:] != [] and in_stats(caller) == (1.4, 1.5)
        )
        assert engine.opened == 1  # no restart: the stream of the start went on
        await caller.hang_up()


def in_stats(caller: Caller) -> tuple[float, float]:
    last = caller.received.of_type("stats")[-1]
    return last["audio_scale"], last["reference_scale"]


async def test_an_engine_failure_ends_its_session_with_a_sentence_and_the_server_goes_on(
    tmp_path: Path,
) -> None:
    broken = True

    def fail(requests: Sequence[StepRequest]) -> None:
        if broken:
            raise RuntimeError("out of tricks")

    async with running_server(tmp_path, lambda: FakeEngine(fail=fail)) as running:
        caller = Caller()
        await caller.call(running)
        await caller.until(lambda: bool(caller.received.of_type("error")))
        error = caller.received.of_type("error")[0]
        assert error["error"] == "engine_failed"
        assert "out of tricks" in error["message"]
        await caller.until(lambda: len(running.server.lobby) == 0)
        await caller.hang_up()
        broken = False
        again = Caller()
        await again.call(running)
        await again.until(lambda: any(stats["drawing"] for stats in again.received.of_type("stats")))
        await again.hang_up()


async def test_an_overloaded_engine_costs_steps_and_pictures_but_never_the_voice(tmp_path: Path) -> None:
    async with running_server(tmp_path, lambda: FakeEngine(cost_s=0.5)) as running:  # a hop is 0.16 s
        caller = Caller(bursts)
        await caller.call(running)
        await caller.until(lambda: any(stats["nfe"] < 4 for stats in caller.received.of_type("stats")))
        count = len(caller.received.voice)
        start_s = caller.received.voice[-1][1]
        await caller.until(lambda: len(caller.received.voice) >= count + 100)
        moments = np.array([media_s for _, media_s, _ in caller.received.voice[count:]])
        np.testing.assert_allclose(np.diff(moments), 0.01, atol=1e-6)
        assert moments[0] - start_s == pytest.approx(0.01, abs=1e-6)
        await caller.hang_up()


async def test_an_offer_without_a_codec_in_common_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        offer = await caller.offer()
        for codec in ("VP8", "H264"):
            offer["sdp"] = offer["sdp"].replace(f" {codec}/90000", " XYZ/90000")
        response = await running.http.post("/offer", json=offer)
        assert response.status_code == 400
        assert response.json()["error"] == "no_common_codec"
        assert running.server.scheduler.seats.taken == 0
        assert len(running.server.lobby) == 0
        await caller.hang_up()


async def test_h264_only_callers_are_served_too(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        offer = await caller.offer()
        offer["sdp"] = offer["sdp"].replace(" VP8/90000", " XYZ/90000")
        answer = (await running.http.post("/offer", json=offer)).json()
        assert "H264/90000" in answer["sdp"]
        await caller.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await caller.until(lambda: len(caller.received.pictures) > 5)
        await caller.hang_up()


async def test_a_caller_without_a_data_channel_is_served(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller(channel=False)
        await caller.call(running)
        await caller.until(lambda: len(caller.received.pictures) > 5)
        await caller.hang_up()
        await caller.until(lambda: len(running.server.lobby) == 0)


async def test_stopping_the_server_ends_its_sessions(tmp_path: Path) -> None:
    caller = Caller()
    async with running_server(tmp_path) as running:
        await caller.call(running)
        await caller.until(lambda: bool(caller.received.pictures))
    await asyncio.wait_for(caller.closed.wait(), 5)
    await caller.hang_up()
    assert not [thread.name for thread in threading.enumerate() if thread.name == "fada-engine"]


def footprint() -> dict[str, int]:
    """What a process holds: file descriptors, threads, tasks of this loop."""
    gc.collect()
    idle = ("asyncio_",)  # the default executor's threads: bounded, shared, kept by design
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": sum(not thread.name.startswith(idle) for thread in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
    }


async def cycle(running: Running, number: int) -> None:
    """Connect and leave: politely, without a word, or before anything has come through."""
    caller = Caller(bursts)
    await caller.call(running)
    if number % 3 != 2:
        await caller.until(lambda: bool(caller.received.pictures))
    if number % 3 == 1:
        say_bye = caller.channel
        assert say_bye is not None
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        say(caller, {"type": "bye"})
    await caller.hang_up()
    await caller.until(lambda: len(running.server.lobby) == 0)


@pytest.mark.slow
async def test_twenty_cycles_leave_no_task_thread_or_descriptor_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stream.calls.callers.CONNECT_WITHIN_S", 1.0
    )  # for those who leave before they are here
    async with running_server(tmp_path) as running:
        for number in range(2):  # whatever is made once and kept is made here
            await cycle(running, number)
        await asyncio.sleep(0.2)
        before = footprint()
        for number in range(20):
            await cycle(running, number)
        await asyncio.sleep(0.2)
        after = footprint()
        assert after["threads"] <= before["threads"]
        assert after["tasks"] <= before["tasks"]
        assert after["fds"] <= before["fds"] + 1  # a keep-alive connection may have been reopened
        assert running.server.scheduler.seats.taken == 0
        assert running.server.scheduler._streams == []


@pytest.mark.timed
@measured_anew
async def test_clear_silences_and_rests_at_once_and_later_speech_counts_again(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller(bursts)
        await caller.call(running)
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        session = caller.received.of_type("hello")[0]["session_id"]

        def loud() -> bool:
            return bool(caller.received.voice) and abs(caller.received.voice[-1][2].astype(int)).max() > 5000

        for count, ask in enumerate(("page", "http"), 1):
            await caller.until(loud)
            if ask == "page":
                say(caller, {"type": "clear"})
            else:
                assert (await running.http.post(f"/sessions/{session}/clear")).status_code == 204
            asked_s = time.monotonic()
            await caller.until(lambda wanted=count: len(caller.received.of_type("cleared")) == wanted)
            await caller.until(lambda: not loud() and mouth_of(caller.received.pictures[-1][2]) < 90)
            assert time.monotonic() - asked_s < 0.4
            await asyncio.sleep(0.7)  # into the next burst
        await caller.until(loud)
        await caller.until(lambda: mouth_of(caller.received.pictures[-1][2]) > 150)
        assert [message["by"] for message in caller.received.of_type("cleared")] == ["page", "http"]
        assert (await running.http.post("/sessions/0123456789abcdef/clear")).status_code == 404
        await caller.hang_up()
