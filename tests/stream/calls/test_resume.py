"""A call outlives its connection: reload, lost network, a second tab, a full server, a server started again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stream.calls.secret import new_secret, watch_id_of
from stream.calls.session import Session
from tests.fakes import FakeEngine
from tests.stream.calls.spectator import Spectator
from tests.stream.calls.test_loopback import say
from tests.stream.rig import Caller, Running, bursts, running_server

GRACE_S = 60.0


def session_of(running: Running) -> Session:
    (session,) = running.server.lobby._sessions
    return session


async def until_drawn(caller: Caller) -> None:
    await caller.until(lambda: any(stats["drawing"] for stats in caller.received.of_type("stats")))


async def until_away(caller: Caller, running: Running) -> None:
    await caller.until(lambda: session_of(running).state.value == "away")


async def test_a_reload_comes_back_to_the_same_call_and_viewers_see_no_break(tmp_path: Path) -> None:
    seen: list[float | None] = []
    engine = FakeEngine(fail=lambda requests: seen.extend(each.controls.audio_scale for each in requests))
    async with running_server(tmp_path, lambda: engine, grace_s=GRACE_S) as running:
        first, viewer = Caller(bursts), Spectator()
        answer = await first.call(running, avatar="bo", audio_scale=0.5, seed=4)
        await until_drawn(first)
        await viewer.watch(running, answer["watch_id"])
        await first.until(lambda: viewer.frames["video"] > 5)
        await first.hang_up()  # as a page that is reloaded: closed, without `bye`
        await until_away(first, running)
        count = dict(viewer.frames)
        late = Spectator()
        await late.watch(running, answer["watch_id"])  # who comes now waits with the others
        await first.until(lambda: all(viewer.frames[kind] > count[kind] + 10 for kind in count))
        await first.until(lambda: late.frames["video"] > 5)
        seen.clear()
        second = Caller(bursts)
        again = await second.call(running, resume=answer["resume"])
        for name in ("session_id", "watch_id", "resume"):
            assert again[name] == answer[name]
        await second.until(lambda: bool(second.received.of_type("hello")))
        hello = second.received.of_type("hello")[0]
        assert (hello["avatar"], hello["audio_scale"]) == ("bo", 0.5)
        await second.until(lambda: len(second.received.pictures) > 20 and len(seen) > 3)
        assert set(seen) == {0.5}
        assert engine.opened == 1, "the stream went on"
        count = dict(viewer.frames)
        await second.until(lambda: all(viewer.frames[kind] > count[kind] + 20 for kind in count))
        assert not viewer.closed.is_set()
        for each in (viewer, late):
            await each.leave()
        say(second, {"type": "bye"})
        await second.until(lambda: len(running.server.lobby) == 0)
        await second.hang_up()
    assert not engine.held, "every state was given back"


async def test_a_caller_who_vanished_is_waited_for_and_its_wishes_count_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with running_server(tmp_path, grace_s=GRACE_S) as running:
        first = Caller(bursts)
        answer = await first.call(running, audio_scale=0.5)
        await until_drawn(first)
        await first.vanish()
        await until_away(first, running)
        before = running.server.metrics.windows._value.get()
        await asyncio.sleep(0.5)
        assert running.server.metrics.windows._value.get() <= before + 1, "nothing is drawn for nobody"
        second = Caller(bursts)
        await second.call(running, resume=answer["resume"], avatar="bo", reference_scale=1.5)
        await second.until(lambda: any(message.get("avatar") == "bo" for message in second.received.messages))
        assert session_of(running).scales == {
            "audio_scale": 0.5,
            "reference_scale": 1.5,
            "listening": False,
        }
        wrong = Caller()
        refused = await running.http.post(
            "/offer", json={**await wrong.offer(), "resume": answer["resume"], "audio_scale": 99}
        )
        assert refused.status_code == 422
        count = len(second.received.pictures)
        await second.until(lambda: len(second.received.pictures) > count + 10)
        for each in (first, second, wrong):
            await each.hang_up()


async def test_the_newer_connection_wins_and_the_older_hears_why(tmp_path: Path) -> None:
    async with running_server(tmp_path, max_sessions=1, grace_s=GRACE_S) as running:
        older, newer = Caller(bursts), Caller(bursts)
        answer = await older.call(running)
        await older.until(lambda: bool(older.received.of_type("hello")))
        await newer.call(running, resume=answer["resume"])  # the only seat is its own
        await newer.until(lambda: bool(newer.received.pictures))
        await older.until(lambda: bool(older.received.of_type("error")))
        assert older.received.of_type("error")[0]["error"] == "replaced"
        await asyncio.wait_for(older.closed.wait(), 10)
        count = len(newer.received.pictures)
        await newer.until(lambda: len(newer.received.pictures) > count + 20)
        for each in (older, newer):
            await each.hang_up()


async def test_a_call_that_is_away_gives_its_seat_to_a_newcomer_and_comes_back_under_its_watch_id(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()
    async with running_server(tmp_path, lambda: engine, max_sessions=1, grace_s=GRACE_S) as running:
        first, newcomer, again = Caller(), Caller(), Caller()
        answer = await first.call(running)
        await until_drawn(first)
        await first.hang_up()
        await until_away(first, running)
        assert running.server.scheduler.seats.taken == 1
        other = await newcomer.call(running)
        assert other["watch_id"] != answer["watch_id"]
        await newcomer.until(lambda: len(running.server.lobby) == 1)
        metrics = (await running.http.get("/metrics")).text
        assert 'fada_sessions_closed_total{reason="seat_needed"} 1.0' in metrics
        assert "fada_seats_taken 1.0" in metrics
        full = await running.http.post("/offer", json={**await again.offer(), "resume": answer["resume"]})
        assert full.status_code == 503, "the newcomer is live, and keeps its seat"
        await newcomer.until(lambda: bool(newcomer.received.of_type("hello")))
        say(newcomer, {"type": "bye"})
        await newcomer.until(lambda: len(running.server.lobby) == 0)
        third = Caller()
        back = await third.call(running, resume=answer["resume"])
        assert back["watch_id"] == answer["watch_id"]
        assert back["session_id"] != answer["session_id"]
        for each in (newcomer, again, third):
            await each.hang_up()


async def test_a_secret_that_the_server_has_forgotten_keeps_its_watch_id(tmp_path: Path) -> None:
    secret = new_secret()
    async with running_server(tmp_path, grace_s=GRACE_S) as running:
        caller, viewer = Caller(bursts), Spectator()
        watch_id = watch_id_of(secret)
        early = await running.http.post(f"/sessions/{watch_id}/viewers", json=await viewer.offer())
        assert (early.status_code, early.json()["error"]) == (404, "unknown_session")
        answer = await caller.call(running, resume=secret)
        assert (answer["resume"], answer["watch_id"]) == (secret, watch_id)
        watching = Spectator()
        await watching.watch(running, watch_id)
        await caller.until(lambda: watching.frames["video"] > 5)
        for each in (viewer, watching):
            await each.leave()
        await caller.hang_up()


async def test_two_offers_with_one_new_secret_make_one_call(tmp_path: Path) -> None:
    secret = new_secret()
    async with running_server(tmp_path, max_sessions=2, grace_s=GRACE_S) as running:
        callers = [Caller(), Caller()]
        offers = [{**await caller.offer(), "resume": secret} for caller in callers]
        answers = await asyncio.gather(*(running.http.post("/offer", json=offer) for offer in offers))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert len({answer.json()["session_id"] for answer in answers}) == 1
        assert running.server.scheduler.seats.taken == 1
        for caller in callers:
            await caller.hang_up()


async def test_an_offer_that_fails_leaves_the_call_it_named_alone(tmp_path: Path) -> None:
    async with running_server(tmp_path, grace_s=GRACE_S) as running:
        caller = Caller(bursts)
        answer = await caller.call(running)
        await until_drawn(caller)
        bad = {"sdp": "v=0\r\n", "type": "offer", "resume": answer["resume"]}
        assert (await running.http.post("/offer", json=bad)).status_code == 400
        count = len(caller.received.pictures)
        await caller.until(lambda: len(caller.received.pictures) > count + 10)
        assert session_of(running).state.value == "live"
        await caller.hang_up()


async def test_the_minute_passes(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with running_server(tmp_path, lambda: engine, grace_s=0.5) as running:
        caller, viewer = Caller(), Spectator()
        answer = await caller.call(running)
        await until_drawn(caller)
        await viewer.watch(running, answer["watch_id"])
        await caller.until(lambda: viewer.frames["video"] > 2)
        await caller.hang_up()
        await caller.until(lambda: len(running.server.lobby) == 0)
        await asyncio.wait_for(viewer.closed.wait(), 10)
        assert 'reason="peer_left"} 1.0' in (await running.http.get("/metrics")).text
        assert running.server.scheduler.seats.taken == 0
        await viewer.leave()


async def test_a_microphone_that_ends_does_not_end_the_call(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller(bursts)
        await caller.call(running)
        await until_drawn(caller)
        windows = running.server.metrics.windows
        caller.microphone.stop()  # aiortc says so (RTCP BYE), and sends no more
        await asyncio.sleep(4.0)
        before, pictures = windows._value.get(), len(caller.received.pictures)
        await caller.until(lambda: windows._value.get() > before + 5)
        assert len(caller.received.pictures) > pictures
        assert session_of(running).state.value == "live"
        await caller.hang_up()


async def test_a_change_to_a_damaged_picture_is_a_notice_without_a_path_and_the_call_goes_on(
    tmp_path: Path,
) -> None:
    async with running_server(tmp_path, grace_s=GRACE_S) as running:
        caller, late = Caller(bursts), Caller()
        await caller.call(running, avatar="ada")
        await until_drawn(caller)
        (tmp_path / "avatars" / "bo.png").write_bytes(b"damaged since the start")
        say(caller, {"type": "avatar", "id": "bo"})
        await caller.until(lambda: bool(caller.received.of_type("notice")))
        notice = caller.received.of_type("notice")[0]
        assert (notice["error"], str(tmp_path) in notice["message"]) == ("bad_avatar", False)
        count = len(caller.received.pictures)
        await caller.until(lambda: len(caller.received.pictures) > count + 10)
        assert session_of(running).state.value == "live"
        refused = await running.http.post("/offer", json={**await late.offer(), "avatar": "bo"})
        assert (refused.status_code, refused.json()["error"]) == (500, "bad_avatar")
        assert str(tmp_path) not in refused.text
        assert running.server.scheduler.seats.taken == 1
        for each in (caller, late):
            await each.hang_up()
