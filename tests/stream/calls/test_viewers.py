"""Viewers over real sockets: the caller's own packets for everybody, their places, and every way to leave."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiortc import RTCSessionDescription
from aiortc.sdp import SessionDescription

from stream.outbound.encoder import H264Encoder, Vp8Encoder
from stream.outbound.voice_encoder import OpusEncoder
from stream.rtc.playout_delay import URI
from tests.stream.calls.spectator import Spectator, Wiretap, common_part
from tests.stream.calls.test_loopback import footprint, say
from tests.stream.rig import Caller, Running, bursts, running_server


class TappedCaller(Caller):
    """A caller who keeps what arrives."""

    async def offer(self) -> dict[str, Any]:
        offer = await super().offer()
        self.tap = Wiretap(self.connection)
        return offer


def count_encodes(monkeypatch: pytest.MonkeyPatch, kind: type) -> Counter[int]:
    """How often each pts is encoded from now on."""
    counts: Counter[int] = Counter()
    encode = kind.encode  # type: ignore[attr-defined]

    def counted(self: object, data: object, pts: int, *more: object) -> object:
        counts[pts] += 1
        return encode(self, data, pts, *more)

    monkeypatch.setattr(kind, "encode", counted)
    return counts


async def live_session(running: Running, caller: Caller) -> str:
    answer = await caller.call(running)
    await caller.until(lambda: bool(caller.received.pictures))
    return str(answer["watch_id"])


async def metric(running: Running, name: str) -> float:
    lines = (await running.http.get("/metrics")).text.splitlines()
    return float(next((line.split()[-1] for line in lines if line.startswith(f"{name} ")), "nan"))


async def refused(running: Running, session: str, offer: object) -> tuple[int, str, str]:
    response = await running.http.post(f"/sessions/{session}/viewers", json=offer)
    answer = response.json()
    assert set(answer) == {"error", "message"}, answer
    return response.status_code, answer["error"], answer["message"]


@pytest.mark.parametrize(("codec", "without"), [(Vp8Encoder, "H264"), (H264Encoder, "VP8")])
async def test_caller_and_viewers_get_the_very_same_bytes_for_one_encode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: type, without: str
) -> None:
    pictures, voice = count_encodes(monkeypatch, codec), count_encodes(monkeypatch, OpusEncoder)
    async with running_server(tmp_path) as running:
        caller, viewers = TappedCaller(bursts), [Spectator(), Spectator(channel=True)]
        offer = caller.offer

        async def in_one_codec() -> dict[str, Any]:
            made = await offer()
            return {**made, "sdp": made["sdp"].replace(f" {without}/90000", " XYZ/90000")}

        caller.offer = in_one_codec  # type: ignore[method-assign]
        answer = await caller.call(running)
        await caller.until(lambda: bool(caller.received.pictures))
        for viewer in viewers:
            assert len((await viewer.watch(running, answer["watch_id"]))["viewer_id"]) == 16
        assert await metric(running, "fada_viewers") == 2
        await caller.until(lambda: all(min(viewer.frames.values()) > 40 for viewer in viewers))
        await caller.until(lambda: [s["viewers"] for s in caller.received.of_type("stats")][-1:] == [2])
        assert viewers[1].pongs
        for kind in ("video", "audio"):
            original = caller.tap.payloads(kind, answer["sdp"])
            for viewer in viewers:
                assert common_part(original, viewer.payloads(kind)) > 30
        assert set(pictures.values()) == {1} and set(voice.values()) == {1}
        for viewer in viewers:
            await viewer.leave()
        await caller.until(lambda: len(session_of(running)._broadcast.audience) == 0)
        count = len(caller.received.pictures)
        await caller.until(lambda: len(caller.received.pictures) > count + 10)
        await caller.hang_up()


def session_of(running: Running) -> Any:
    return next(iter(running.server.lobby._sessions))


async def test_a_watch_id_lets_nobody_turn_or_interrupt(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, viewers = Caller(), [Spectator(), Spectator()]
        answer = await caller.call(running)
        await caller.until(lambda: bool(caller.received.of_type("hello")))
        watch_id, session_id = answer["watch_id"], answer["session_id"]
        assert caller.received.of_type("hello")[0]["watch_id"] == watch_id != session_id
        for response in (
            await running.http.get(f"/sessions/{watch_id}/controls"),
            await running.http.patch(f"/sessions/{watch_id}/controls", json={"audio_scale": 0.5}),
            await running.http.post(f"/sessions/{watch_id}/clear"),
        ):
            assert (response.status_code, response.json()["error"]) == (404, "unknown_session")
        assert session_of(running).scales["audio_scale"] == 1.4
        for viewer, some_id in zip(viewers, (watch_id, session_id), strict=True):
            await viewer.watch(running, some_id)
            await viewer.leave()
        await caller.hang_up()


async def test_one_viewer_too_many_is_refused_until_one_leaves(tmp_path: Path) -> None:
    async with running_server(tmp_path, max_viewers=2) as running:
        caller, viewers = Caller(), [Spectator() for _ in range(4)]
        session = await live_session(running, caller)
        offers = [await viewer.offer() for viewer in viewers]
        path = f"/sessions/{session}/viewers"
        responses = await asyncio.gather(*(running.http.post(path, json=offer) for offer in offers))
        assert sorted(response.status_code for response in responses) == [200, 200, 503, 503]
        full = next(response for response in responses if response.status_code == 503)
        assert full.json()["error"] == "viewers_full" and "--max-viewers" in full.json()["message"]
        assert full.headers["retry-after"] == "2"
        admitted = next(r.json()["viewer_id"] for r in responses if r.status_code == 200)
        assert (await running.http.delete(f"{path}/{admitted}")).status_code == 204
        gone = await running.http.delete(f"{path}/{admitted}")
        assert (gone.status_code, gone.json()["error"]) == (404, "unknown_viewer")
        late = Spectator()
        await late.watch(running, session)
        await caller.until(lambda: late.frames["video"] > 3)
        await late.leave()
        for viewer in viewers:
            await viewer.leave()
        await caller.hang_up()


@pytest.mark.slow
async def test_offers_that_cannot_be_answered_leave_nothing_behind(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        session = await live_session(running, caller)
        viewers = {without: Spectator(without=[without]) for without in ("VP8", "opus", "nothing")}
        offers = {without: await viewer.offer() for without, viewer in viewers.items()}
        before = footprint()
        status, code, message = await refused(running, session, offers["VP8"])
        assert (status, code) == (400, "no_common_codec") and "VP8 video and opus audio" in message
        assert (await refused(running, session, offers["opus"]))[:2] == (400, "no_common_codec")
        good = offers["nothing"]
        assert (await refused(running, "0123456789abcdef", good))[:2] == (404, "unknown_session")
        speaking = {**good, "sdp": good["sdp"].replace("a=recvonly", "a=sendonly", 1)}
        assert (await refused(running, session, speaking))[:2] == (400, "no_audio")
        assert (await refused(running, session, {**good, "sdp": "garbage"}))[:2] == (400, "bad_offer")
        assert (await refused(running, session, {"type": "offer"}))[:2] == (422, "invalid_request")
        assert await metric(running, "fada_viewers") == 0
        await asyncio.sleep(0.1)
        assert footprint()["tasks"] <= before["tasks"]
        assert footprint()["fds"] <= before["fds"] + 1
        for viewer in viewers.values():
            await viewer.leave()
        await caller.hang_up()


async def test_the_end_of_the_session_is_the_end_of_its_viewers(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, viewers = Caller(), [Spectator(), Spectator(channel=True)]
        session = await live_session(running, caller)
        for viewer in viewers:
            await viewer.watch(running, session)
        await caller.until(lambda: all(viewer.frames["video"] > 3 for viewer in viewers))
        say(caller, {"type": "bye"})
        await caller.until(lambda: len(running.server.lobby) == 0)
        for viewer in viewers:
            await asyncio.wait_for(viewer.closed.wait(), 5)
        assert await metric(running, "fada_viewers") == 0
        assert await metric(running, 'fada_viewers_closed_total{reason="call_over"}') == 2
        assert viewers[1].told_it_is_over, "so that it need not ask again"
        late = Spectator()
        assert (await refused(running, session, await late.offer()))[:2] == (404, "unknown_session")
        for each in (*viewers, late):
            await each.leave()
        await caller.hang_up()


async def test_what_the_caller_asks_changes_nothing_for_the_viewers_connections(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, viewer = Caller(bursts), Spectator()
        session = await live_session(running, caller)
        await viewer.watch(running, session)
        await caller.until(lambda: viewer.frames["video"] > 10)
        say(caller, {"type": "clear"})
        say(caller, {"type": "avatar", "id": "bo"})
        await caller.until(lambda: any("avatar" in m for m in caller.received.of_type("notice")))
        count = dict(viewer.frames)
        await caller.until(lambda: all(viewer.frames[kind] > count[kind] + 20 for kind in count))
        assert viewer.connection.connectionState == "connected"
        await viewer.leave()
        await caller.hang_up()


async def test_a_silent_viewer_with_a_channel_is_noticed_within_seconds(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, viewer = Caller(), Spectator(channel=True)
        session = await live_session(running, caller)
        await viewer.watch(running, session)
        await caller.until(lambda: viewer.pongs > 1)
        await viewer.vanish()
        await caller.until(lambda: len(session_of(running)._broadcast.audience) == 0, within_s=10)
        assert await metric(running, 'fada_viewers_closed_total{reason="peer_gone"}') == 1
        await viewer.leave()
        await caller.hang_up()


async def test_viewers_get_the_playout_delay_if_they_offer_it(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, viewer = Caller(), Spectator()
        session = await live_session(running, caller)
        offer = await viewer.offer()
        sound, pictures = offer["sdp"].split("m=video")
        pictures = pictures.replace("a=recvonly\r\n", f"a=recvonly\r\na=extmap:9 {URI}\r\n", 1)
        offer["sdp"] = f"{sound}m=video{pictures}"
        answer = (await running.http.post(f"/sessions/{session}/viewers", json=offer)).json()
        sections = {media.kind: media for media in SessionDescription.parse(answer["sdp"]).media}
        assert [ext.id for ext in sections["video"].rtp.headerExtensions if ext.uri == URI] == [9]
        assert {media.direction for media in (sections["audio"], sections["video"])} == {"sendonly"}
        await viewer.leave()
        await caller.hang_up()


async def test_a_caller_who_does_not_listen_is_heard_by_viewers(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, viewer = Caller(bursts), Spectator()
        next(t for t in caller.connection.getTransceivers() if t.kind == "audio").direction = "sendonly"
        session = await live_session(running, caller)
        await viewer.watch(running, session)
        await caller.until(lambda: viewer.frames["audio"] > 50 and viewer.frames["video"] > 20)
        assert not caller.received.voice
        await viewer.leave()
        await caller.hang_up()


async def cycle(running: Running, caller: Caller, session: str, number: int) -> None:
    """Watch and leave: by closing, by bye, by DELETE, or before anything has come through."""
    viewer = Spectator(channel=number % 4 == 1)
    answer = await viewer.watch(running, session)
    if number % 4 != 3:
        await caller.until(lambda: viewer.frames["video"] > 1)
    if viewer.channel is not None:
        await caller.until(lambda: viewer.pongs > 0)
        viewer.channel.send('{"type": "bye"}')
    if number % 4 == 2:
        path = f"/sessions/{session}/viewers/{answer['viewer_id']}"
        assert (await running.http.delete(path)).status_code == 204
    await viewer.leave()
    await caller.until(lambda: len(session_of(running)._broadcast.audience) == 0)


@pytest.mark.slow
async def test_twelve_viewers_one_after_the_other_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stream.calls.viewer.CONNECT_WITHIN_S", 1.0
    )  # for those who leave before they are here
    async with running_server(tmp_path) as running:
        caller = Caller(bursts)
        session = await live_session(running, caller)
        for number in range(4):  # whatever is made once and kept is made here
            await cycle(running, caller, session, number)
        await asyncio.sleep(0.2)
        before = footprint()
        for number in range(12):
            await cycle(running, caller, session, number)
        await asyncio.sleep(0.2)
        after = footprint()
        assert after["threads"] <= before["threads"]
        assert after["tasks"] <= before["tasks"]
        assert after["fds"] <= before["fds"] + 1
        assert len(session_of(running)._broadcast.voice.fan_out) == 0
        assert len(session_of(running)._broadcast.pictures.fan_out) == 0
        await caller.hang_up()


async def test_a_session_that_ends_while_a_viewer_is_answered_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_server(tmp_path) as running:
        caller, viewer = Caller(), Spectator()
        session = await live_session(running, caller)
        audience = session_of(running)._broadcast.audience
        offer = await viewer.offer()
        answering = asyncio.Event()
        go_on = asyncio.Event()
        from stream.rtc.peer import Peer

        answer = Peer.answer_viewer

        async def slow(self: Peer, *args: Any) -> Any:
            answering.set()
            await go_on.wait()
            return await answer(self, *args)

        monkeypatch.setattr(Peer, "answer_viewer", slow)
        asking: asyncio.Task[httpx.Response] = asyncio.create_task(
            running.http.post(f"/sessions/{session}/viewers", json=offer)
        )
        await answering.wait()
        assert len(audience) == 1, "its place is taken before anything is built"
        await caller.hang_up()
        await caller.until(lambda: len(running.server.lobby) == 0)
        go_on.set()
        response = await asking
        assert (response.status_code, response.json()["error"]) == (404, "unknown_session")
        assert len(audience) == 0
        await viewer.leave()


async def test_a_viewer_whose_connection_fails_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.2)  # else it takes half a minute
    async with running_server(tmp_path) as running:
        caller, viewer = Caller(bursts), Spectator()
        session = await live_session(running, caller)
        await viewer.watch(running, session)
        await caller.until(lambda: viewer.frames["video"] > 3)
        await viewer.vanish()
        await caller.until(lambda: len(session_of(running)._broadcast.audience) == 0, within_s=20)
        closed = (await running.http.get("/metrics")).text
        assert 'fada_viewers_closed_total{reason="connection_failed"} 1.0' in closed or (
            'fada_viewers_closed_total{reason="peer_left"} 1.0' in closed
        )
        count = len(caller.received.pictures)
        await caller.until(lambda: len(caller.received.pictures) > count + 5)
        await viewer.leave()
        await caller.hang_up()


async def test_a_call_without_opus_can_be_watched_in_its_own_codec(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, viewer, without = Caller(bursts), Spectator(), Spectator(without=["PCMU"])
        offer = await caller.offer()
        for codec in ("opus/48000/2", "G722/8000", "PCMA/8000"):
            offer["sdp"] = offer["sdp"].replace(f" {codec}", " XYZ/90000")
        answer = (await running.http.post("/offer", json=offer)).json()
        assert "PCMU/8000" in answer["sdp"]
        await caller.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await caller.until(lambda: bool(caller.received.pictures))
        assert (await refused(running, answer["watch_id"], await without.offer()))[1] == "no_common_codec"
        await viewer.watch(running, answer["watch_id"])
        await caller.until(lambda: min(viewer.frames.values()) > 20)
        for each in (viewer, without):
            await each.leave()
        await caller.hang_up()
