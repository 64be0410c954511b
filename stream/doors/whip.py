"""WHIP in, WHEP out: an offer as `application/sdp`, answered with 201 and the address of what came of it.

In: a sender's offer (OBS, GStreamer): its sound drives a face, and it takes nothing. Or a viewer's (GStreamer,
MediaMTX, a browser): it sees a call as every other viewer does. Out: the answer, `Location`, and the ICE servers as
`Link`. A sender's bearer token is its call's secret: the same token gives the same address to watch, and comes back
to a call whose connection was lost. There is no trickling and no ICE restart: `PATCH` gets 405, as both papers say.

Source: RFC 9725 (WHIP); draft-ietf-wish-whep-03.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from stream.answers import OF_OFFERS, OF_SEATS, body_of, told
from stream.calls.lobby import Lobby
from stream.calls.secret import is_secret, new_secret
from stream.clock import Clock
from stream.engine.protocol import EngineSpec
from stream.errors import SignalingError
from stream.live.wish import Wish
from stream.media import Codecs
from stream.outbound.encoder import H264, VP8
from stream.outbound.voice_encoder import OPUS
from stream.rtc.caller import WhipCaller
from stream.rtc.ice import IceConfig
from stream.rtc.offer.bodies import read_sdp

SDP: Final = "application/sdp"
VIDEO: Final = {"vp8": VP8, "h264": H264}
UNKNOWN: Final = ("unknown_session", "unknown_viewer")
OF_SDP: Final = ("too_large", "bad_type")


@dataclass(frozen=True, slots=True)
class SdpDoor:
    """What the doors need of their server: see `stream.doors.audio_socket.AudioDoor`, and the ICE servers."""

    lobby: Lobby
    clock: Clock
    ready_spec: Callable[[], EngineSpec]
    refresh: Callable[[], Awaitable[None]]
    ice: IceConfig


def add_whip(app: FastAPI, door: SdpDoor) -> None:
    """Open the way in for senders."""

    @app.post(
        "/whip", **_told_of_sdp(*OF_SEATS, "unknown_avatar", "bad_avatar", "bad_token", "invalid_request")
    )
    async def send(request: Request, avatar: str | None = None, video: str = "vp8") -> Response:
        sdp = read_sdp(await body_of(request, SDP))
        secret = _bearer(request) or new_secret()
        if video not in VIDEO:
            raise SignalingError(
                "invalid_request",
                f"Expected video to be vp8 or h264, got {video[:16]!r}: what viewers shall get.",
                422,
            )
        rate_hz = door.ready_spec().sample_rate_hz
        await door.refresh()
        codecs = Codecs(audio=OPUS, video=VIDEO[video])
        caller = WhipCaller(door.ice, door.clock, rate_hz, sdp, codecs)
        session = await door.lobby.admit(Wish(avatar), caller, secret)
        return _created(
            caller.answer["sdp"], f"whip/{session.id}", door.ice, {"Fada-Watch": session.watch_id}
        )

    @app.delete("/whip/{resource_id}", response_class=Response, **told("unknown_session"))
    async def stop(resource_id: str) -> Response:
        door.lobby.find(resource_id).end("bye")
        return Response(status_code=200)

    _refuse_others(app, "/whip", "POST")
    _refuse_others(app, "/whip/{resource_id}", "DELETE")


def add_whep(app: FastAPI, door: SdpDoor) -> None:
    """Open the way in for viewers."""

    @app.post("/whep/{watch_id}", **_told_of_sdp("unknown_session", "viewers_full"))
    async def watch(watch_id: str, request: Request) -> Response:
        sdp = read_sdp(await body_of(request, SDP))
        answer = await door.lobby.find_watched(watch_id).admit_viewer(sdp)
        return _created(answer["sdp"], f"{watch_id}/{answer['viewer_id']}", door.ice, {})

    @app.delete("/whep/{watch_id}/{viewer_id}", response_class=Response, **told(*UNKNOWN))
    async def leave(watch_id: str, viewer_id: str) -> Response:
        await door.lobby.find_watched(watch_id).remove_viewer(viewer_id)
        return Response(status_code=200)

    _refuse_others(app, "/whep/{watch_id}", "POST")
    _refuse_others(app, "/whep/{watch_id}/{viewer_id}", "DELETE")


def ice_links(ice: IceConfig) -> str:
    """The ICE servers as the value of `Link` (RFC 9725, 4.6); empty where there are none."""
    links = []
    for url, user, word in ice.servers:
        link = f'<{url}>; rel="ice-server"'
        if user is not None:
            link += f'; username="{_quoted(user)}"; credential="{_quoted(word or "")}"; credential-type="password"'
        links.append(link)
    return ", ".join(links)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _created(sdp: str, location: str, ice: IceConfig, more: dict[str, str]) -> Response:
    """201 with the answer. The address is relative to the one that was asked, whatever path the server is under."""
    headers = {"Location": location, **more}
    if links := ice_links(ice):
        headers["Link"] = links
    return Response(sdp, 201, headers, SDP)


def _bearer(request: Request) -> str | None:
    """The token of the request, None where there is none.

    Raises:
        SignalingError: `bad_token` (401), another scheme, or no secret that a call can have.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not is_secret(token.strip()):
        raise SignalingError(
            "bad_token",
            "Expected a bearer token of 22 to 128 of the characters A-Z, a-z, 0-9, - and _; choose a random one.",
            401,
        )
    return token.strip()


def _told_of_sdp(*codes: str) -> dict[str, Any]:
    """What `openapi.json` says of a route that takes an offer and gives an answer, both as SDP."""
    text = {SDP: {"schema": {"type": "string"}}}
    described = told(*OF_OFFERS, *OF_SDP, *codes, files=(SDP,), status=201)
    described["responses"][201] = {"description": "The answer.", "content": text}
    return {**described, "openapi_extra": {"requestBody": {"required": True, "content": text}}}


def _refuse_others(app: FastAPI, path: str, method: str) -> None:
    """405 for every other method, with the one that is allowed; OPTIONS is answered."""

    @app.api_route(path, methods=["GET", "HEAD", "PUT", "PATCH", "OPTIONS"], include_in_schema=False)
    async def refuse(request: Request) -> Response:
        if request.method == "OPTIONS":
            headers = {"Allow": f"{method}, OPTIONS"}
            return Response(
                status_code=204, headers=headers | ({"Accept-Post": SDP} if method == "POST" else {})
            )
        raise HTTPException(405, f"Expected {method}", {"Allow": f"{method}, OPTIONS"})
