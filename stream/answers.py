"""What the server answers over HTTP: bodies as models, errors with their codes, both told in GET /openapi.json.

In: what a route gives, or what it raised. Out: JSON. The table of errors here is the one of docs/protocol.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from stream.errors import SignalingError, StreamError

RETRY_AFTER_S: Final = "2"


class Answer(BaseModel):
    """A body of the server: these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Refusal(Answer):
    """Every error: a code for programs, a sentence for people."""

    error: str
    message: str


class SeenPicture(Answer):
    """A picture as it was looked at, upright and reduced, as a data URL, and the size of the upright file."""

    image: str
    width: int
    height: int


class PictureRefusal(Refusal):
    """Why a picture cannot be used; and where no face was framed, what was seen, to set the points in."""

    seen: str | None = None
    picture: SeenPicture | None = None


class Up(Answer):
    status: str


class Readiness(Answer):
    status: str
    sessions: int
    max_sessions: int


class IceServer(Answer):
    """As `RTCPeerConnection` takes it."""

    urls: str
    username: str | None = None
    credential: str | None = None


class UploadsConfig(Answer):
    """What who gives a picture must confirm, and the bounds."""

    consent: str
    max_bytes: int
    max_avatars: int


class PageConfig(Answer):
    """`uploads` is null where who asks may give no pictures."""

    protocol: int
    ice_servers: list[IceServer]
    uploads: UploadsConfig | None


class AvatarRow(Answer):
    id: str
    name: str
    image: str
    thumbnail: str
    about: str
    own: bool


class ScaleRange(Answer):
    low: float
    high: float
    default: float


class OfferedScales(Answer):
    audio_scale: ScaleRange
    reference_scale: ScaleRange


class ControlsInForce(Answer):
    audio_scale: float
    reference_scale: float
    listening: bool


class CallerAnswer(Answer):
    """The SDP answer of a call, its ids and the secret by which its caller may come back."""

    sdp: str
    type: str
    session_id: str
    watch_id: str
    resume: str


class ViewerAnswer(Answer):
    sdp: str
    type: str
    viewer_id: str


ERRORS: Final[dict[str, tuple[int, str]]] = {
    "bad_json": (400, "the body is no JSON"),
    "bad_offer": (400, "the SDP cannot be read, is no offer, or lacks what WebRTC needs"),
    "no_audio": (400, "the offer does not send audio, or a viewer's does not take it"),
    "no_video": (400, "the offer does not take video"),
    "no_common_codec": (400, "offer and server share no codec"),
    "bad_message": (400, "a text message cannot be read, or a field of it is wrong"),
    "bad_sound": (400, "a message's sound is no whole number of samples of the declared form"),
    "bad_form": (400, "the form cannot be read"),
    "bad_token": (401, "the bearer token is none that a call can have"),
    "uploads_off": (403, "this server takes no pictures, or not from there"),
    "other_origin": (403, "a web page of another origin is behind the request"),
    "not_own": (403, "the avatar came with the server"),
    "unknown_avatar": (404, "no avatar of that id"),
    "bad_avatar": (500, "its picture cannot be read or drawn any more"),
    "unknown_session": (404, "no running session of that id"),
    "unknown_viewer": (404, "no viewer of that id in the session"),
    "not_found": (404, "no such address"),
    "wrong_method": (405, "another method is wanted"),
    "avatars_full": (409, "there are as many avatars of one's own as there may be"),
    "too_large": (413, "the body is longer than 128 KiB, or a picture has too many bytes or pixels"),
    "too_slow": (408, "a picture did not come within two minutes"),
    "bad_type": (415, "the body is not declared as JSON, or as a form where one is wanted"),
    "not_a_picture": (415, "the file is no picture of a kind that is read"),
    "invalid_request": (422, "a field is missing, of the wrong type or out of range"),
    "bad_image": (422, "the picture is damaged, too small or too much work"),
    "no_face": (422, "no face that can be framed is found in the picture"),
    "bad_points": (422, "the three points are no face in the picture"),
    "no_consent": (422, "the consent is not the sentence that was asked for"),
    "backlog_full": (503, "as much of a program's sound waits as may"),
    "uploads_busy": (503, "as many pictures as may are waiting to be read"),
    "server_full": (503, "all seats are taken"),
    "viewers_full": (503, "all viewers' places of the session are taken"),
    "not_ready": (503, "the networks are still loading, or could not be loaded"),
    "engine_failed": (503, "the engine has failed; the server must be started again"),
    "internal": (500, "a fault of the server; its log says more"),
}
"""Every error's status, and when it is given."""
OF_BODIES: Final = ("bad_json", "too_large", "bad_type", "invalid_request")
OF_READINESS: Final = ("not_ready", "engine_failed")
OF_SEATS: Final = (*OF_READINESS, "server_full")
OF_OFFERS: Final = ("bad_offer", "no_audio", "no_video", "no_common_codec")


def told(
    *codes: str,
    body: type[BaseModel] | None = None,
    form: type[BaseModel] | None = None,
    answer: type[BaseModel] | Any = None,
    files: Sequence[str] = (),
    status: int = 200,
) -> dict[str, Any]:
    """What a route's decorator tells `openapi.json`.

    Args:
        codes: of `ERRORS`, beside `internal`, which every route may give.
        body: the model of the request's body, where it is JSON.
        form: the same, where it is a form with a picture.
        answer: the model of the answer's; None for none.
        files: media types of the answer, where it is a file.
        status: the answer's.
    """
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in (*codes, "internal"):
        number, when = ERRORS[code]
        by_status[number].append(f"`{code}`: {when}")
    refusal = Refusal if form is None else PictureRefusal
    responses: dict[int | str, dict[str, Any]] = {
        number: {"model": refusal, "description": "; ".join(whens) + "."}
        for number, whens in by_status.items()
    }
    told: dict[str, Any] = {"status_code": status, "response_model": answer, "responses": responses}
    for kind, model in (("application/json", body), ("multipart/form-data", form)):
        if model is not None:
            content = {kind: {"schema": model.model_json_schema()}}
            told["openapi_extra"] = {"requestBody": {"required": True, "content": content}}
    if files:
        schema = {"schema": {"type": "string", "format": "binary"}}
        responses[status] = {"description": "A film.", "content": dict.fromkeys(files, schema)}
        told["response_class"] = Response
    return told


def add_openapi(app: FastAPI) -> None:
    """Serve a description without FastAPI's own form of 422, which no route here gives."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = get_openapi(
                title=app.title, version=app.version, routes=app.routes, description=app.description
            )
            for operation in (each for path in described["paths"].values() for each in path.values()):
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
            for name in ("HTTPValidationError", "ValidationError"):
                described["components"]["schemas"].pop(name, None)
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def add_error_answers(app: FastAPI) -> None:
    """Turn whatever a route raises into `Refusal`."""

    @app.exception_handler(StreamError)
    async def on_stream_error(request: Request, error: StreamError) -> JSONResponse:
        headers = {"Retry-After": RETRY_AFTER_S} if error.status == 503 else None
        return JSONResponse(error.as_json(), error.status, headers)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "http_error")
        sentence = f"{request.method} {request.url.path[:100]}: {error.detail}."
        return JSONResponse({"error": code, "message": sentence}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def on_any_other(request: Request, error: Exception) -> JSONResponse:
        sentence = "The server failed on this request; its log says why."
        return JSONResponse({"error": "internal", "message": sentence}, 500)


async def json_body(request: Request) -> bytes:
    """The body, if declared as JSON.

    A form or text body could be sent by any web page without asking; JSON cannot (CORS preflight).

    Raises:
        SignalingError: it is declared as something else (415).
    """
    return await body_of(request, "application/json")


async def body_of(request: Request, kind: str) -> bytes:
    """The body, if declared as of that media type, which no web page may send unasked.

    Raises:
        SignalingError: it is declared as something else (415).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise SignalingError("bad_type", f"Expected a body of type {kind}.", 415)
    return await request.body()
