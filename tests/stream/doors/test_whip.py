"""WHIP in and WHEP out against a running server: forms, codes and addresses as the papers have them, and media."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from stream.doors.whip import ice_links
from stream.rtc.ice import IceConfig, offer_addresses
from stream.rtc.offer.check import SENDER, check_sdp
from tests.fakes import FakeEngine
from tests.stream.calls.spectator import Spectator
from tests.stream.doors.program import program
from tests.stream.rig import Running, SpeakerTrack, bursts, running_server

SDP = {"content-type": "application/sdp"}
TOKEN = "a-stream-key-of-some-length"


class Sender:
    """Gives sound and takes nothing, as OBS does; of its video nothing is wanted."""

    def __init__(self, *, video: bool = True) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTransceiver(SpeakerTrack(bursts), direction="sendonly")
        if video:
            self.connection.addTransceiver("video", direction="sendonly")

    async def offer(self) -> str:
        offer_addresses(self.connection, ["127.0.0.1"])
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))


@pytest.mark.parametrize("video", ["vp8", "h264"])
async def test_a_sender_drives_a_face_and_a_viewer_sees_it_in_the_codec_asked_for(
    tmp_path: Path, video: str
) -> None:
    engine = FakeEngine()
    async with running_server(tmp_path, lambda: engine, grace_s=60) as running:
        sender, viewer = Sender(video=video == "vp8"), Spectator()
        headers = {**SDP, "authorization": f"Bearer {TOKEN}"}
        path = f"/whip?avatar=bo&video={video}"
        made = await running.http.post(path, content=await sender.offer(), headers=headers)
        assert (made.status_code, made.headers["content-type"]) == (201, "application/sdp")
        assert "a=recvonly" in made.text
        assert "a=sendonly" not in made.text
        resource = made.url.join(made.headers["location"])
        await sender.take(made.text)
        watch = made.headers["fada-watch"]
        viewing = await see(running, viewer, watch)
        assert (viewing.status_code, viewing.headers["content-type"]) == (201, "application/sdp")
        assert re.search(rf"a=rtpmap:\d+ {video}/90000", viewing.text, re.IGNORECASE)
        seat = viewing.url.join(viewing.headers["location"])
        assert seat.path.startswith(f"/whep/{watch}/")
        assert (await running.http.delete(seat)).status_code == 200
        assert (await running.http.delete(seat)).json()["error"] == "unknown_viewer"
        assert resource.path.startswith("/whip/")
        assert (await running.http.delete(resource)).status_code == 200
        async with asyncio.timeout(60):
            while len(running.server.lobby):
                await asyncio.sleep(0.02)
        assert (await running.http.delete(resource)).status_code == 404
        await viewer.leave()
        await sender.connection.close()
    assert not engine.held


async def see(running: Running, viewer: Spectator, watch: str) -> httpx.Response:
    """Ask by WHEP until the call can be seen; where it is answered, until something is seen."""
    offer = (await viewer.offer())["sdp"]
    async with asyncio.timeout(60):
        while True:
            answer = await running.http.post(f"/whep/{watch}", content=offer, headers=SDP)
            if answer.status_code != 404:
                break
            await asyncio.sleep(0.05)
        if answer.status_code == 201:
            viewer.answer = {"sdp": answer.text}
            await viewer.connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            while min(viewer.frames.values()) < 5:
                await asyncio.sleep(0.02)
    return answer


async def test_the_first_viewer_chooses_the_codec_where_the_caller_takes_none(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, program(running) as client:
        await client.until(lambda: bool(client.of("hello")))
        watch = client.of("hello")[0]["watch_id"]
        first, other, second = Spectator(without=["VP8"]), Spectator(without=["H264"]), Spectator()
        assert "H264/90000" in (await see(running, first, watch)).text
        refused = await see(running, other, watch)
        assert (refused.status_code, refused.json()["error"]) == (400, "no_common_codec")
        assert "H264/90000" in (await see(running, second, watch)).text
        for viewer in (first, other, second):
            await viewer.leave()


async def test_the_same_token_comes_back_to_the_same_call(tmp_path: Path) -> None:
    async with running_server(tmp_path, grace_s=60) as running:
        headers = {**SDP, "authorization": f"Bearer {TOKEN}"}
        answers = []
        senders = [Sender(), Sender()]
        for sender in senders:
            answers.append(await running.http.post("/whip", content=await sender.offer(), headers=headers))
            await sender.take(answers[-1].text)
        assert answers[0].headers["location"] == answers[1].headers["location"]
        assert len(running.server.lobby) == 1
        for sender in senders:
            await sender.connection.close()


CASES: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "/whip", {"content": "v=0", "headers": {"content-type": "application/json"}}, 415, "bad_type"),
    ("POST", "/whip", {"content": "", "headers": SDP}, 400, "bad_offer"),
    ("POST", "/whip", {"content": b"\xff\xfe", "headers": SDP}, 400, "bad_offer"),
    ("POST", "/whip", {"content": "v=0", "headers": SDP}, 400, "bad_offer"),
    ("POST", "/whip?video=av1", {"content": "v=0", "headers": SDP}, 422, "invalid_request"),
    ("POST", "/whip?avatar=nobody", {"content": "v=0", "headers": SDP}, 404, "unknown_avatar"),
    (
        "POST",
        "/whip",
        {"content": "v=0", "headers": {**SDP, "authorization": "Basic eA=="}},
        401,
        "bad_token",
    ),
    (
        "POST",
        "/whip",
        {"content": "v=0", "headers": {**SDP, "authorization": "Bearer short"}},
        401,
        "bad_token",
    ),
    ("POST", "/whip", {"content": "x" * 140_000, "headers": SDP}, 413, "too_large"),
    ("POST", "/whep/none", {"content": "v=0", "headers": SDP}, 404, "unknown_session"),
    ("DELETE", "/whip/none", {}, 404, "unknown_session"),
    ("PATCH", "/whip/none", {}, 405, "wrong_method"),
    ("PATCH", "/whep/none/none", {}, 405, "wrong_method"),
    ("GET", "/whip", {}, 405, "wrong_method"),
    ("PUT", "/whep/none", {}, 405, "wrong_method"),
]


async def test_what_cannot_be_is_refused_as_the_papers_say(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        for method, path, more, status, code in CASES:
            answer = await running.http.request(method, path, **more)
            assert (answer.status_code, answer.json()["error"]) == (status, code), (method, path)
        assert (await running.http.request("PATCH", "/whip/none")).headers["allow"] == "DELETE, OPTIONS"
        options = await running.http.options("/whip")
        assert (options.status_code, options.headers["accept-post"]) == (204, "application/sdp")
        assert running.server.scheduler.seats.taken == 0


def test_ice_servers_are_links() -> None:
    ice = IceConfig((), (("stun:stun.example:3478", None, None), ("turn:turn.example", "me", 'a"b')))
    assert ice_links(ice) == (
        '<stun:stun.example:3478>; rel="ice-server", <turn:turn.example>; rel="ice-server"; username="me"; '
        'credential="a\\"b"; credential-type="password"'
    )
    assert ice_links(IceConfig(())) == ""


TRANSPORT = (
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\na=rtcp-mux\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
)
HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
SOUND = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n"
    "a=rtpmap:111 opus/48000/2\r\n"
)
PICTURES = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\n"
    "a=rtpmap:96 H264/90000\r\n"
)


@pytest.mark.parametrize(
    "sdp",
    [
        HEAD + "a=group:BUNDLE 0 1\r\n" + SOUND + TRANSPORT + PICTURES + TRANSPORT,
        HEAD + "a=group:BUNDLE 0\r\n" + SOUND + TRANSPORT,
        HEAD + "a=group:BUNDLE 1 0\r\n" + PICTURES + TRANSPORT + SOUND + TRANSPORT,
    ],
    ids=["sound and pictures, as OBS", "sound alone, as GStreamer", "pictures first"],
)
def test_offers_that_only_send_are_read(sdp: str) -> None:
    assert "m=audio" in check_sdp(sdp, SENDER)
