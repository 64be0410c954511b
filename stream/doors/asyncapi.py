"""GET /asyncapi.json: WS /v1/audio described for programs, made of the models by which it is read and told. Pure.

Source: AsyncAPI 3.0.0; its WebSockets binding 0.1.0.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from stream.doors.events import EVENTS
from stream.doors.messages import MAX_MESSAGE_BYTES, AudioQuery, Message

VERSION: Final = "3.0.0"


def describe(version: str, path: str) -> dict[str, Any]:
    """The document.

    Args:
        version: of the protocol.
        path: of the socket.
    """
    said = {model.__name__: _message(model) for model in get_args(Message)}
    said["Sound"] = {
        "summary": f"Samples of the address's `format`, whole ones, at most {MAX_MESSAGE_BYTES} bytes.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    told = {f"{model.__name__}Event": _message(model) for model in EVENTS.values()}
    told["Film"] = {
        "summary": "With video=mp4: a piece of the call as fragmented MP4, the initialisation segment first.",
        "contentType": 'video/mp4; codecs="avc1.42c01f, opus"',
        "payload": {"type": "string", "format": "binary"},
    }
    names = {name: {"$ref": f"#/components/messages/{name}"} for name in (*said, *told)}
    return {
        "asyncapi": VERSION,
        "info": {"title": "Fada Live: sound of programs", "version": version},
        "defaultContentType": "application/json",
        "channels": {
            "audio": {
                "address": path,
                "messages": names,
                "bindings": {"ws": {"method": "GET", "query": AudioQuery.model_json_schema()}},
            }
        },
        "operations": {
            "say": {"action": "receive", **_of_channel(said)},
            "hear": {"action": "send", **_of_channel(told)},
        },
        "components": {"messages": {**said, **told}},
    }


def add_asyncapi(app: FastAPI, path: str) -> None:
    """Serve it."""

    @app.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi() -> JSONResponse:
        return JSONResponse(describe(app.version, path))


def _message(model: type[BaseModel]) -> dict[str, Any]:
    return {"summary": (model.__doc__ or "").strip(), "payload": model.model_json_schema()}


def _of_channel(messages: dict[str, Any]) -> dict[str, Any]:
    refs = [{"$ref": f"#/channels/audio/messages/{name}"} for name in messages]
    return {"channel": {"$ref": "#/channels/audio"}, "messages": refs}
