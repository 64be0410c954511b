"""The bodies that clients send, as models: read into values, or refused with one sentence. Pure.

In: bytes from anybody. Out: a checked model, or a `SignalingError`. The same models are what `GET /openapi.json`
says of the bodies. Fields that a model does not know are ignored, so that either side may learn new ones first.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.errors import SignalingError
from stream.live.wish import MAX_SEED

MAX_BODY_BYTES: Final = 128 * 1024
RESUME_FORM: Final = r"^[A-Za-z0-9_-]{22,128}$"

Scale = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Word = Annotated[str, Field(min_length=1)]


class Body(BaseModel):
    """What all bodies share: JSON's types as they are, nothing turned into another."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class ControlsBody(Body):
    """PATCH /sessions/ID/controls: what shall change; null returns to the preset's own."""

    audio_scale: Scale | None = Field(None, description="How strongly the voice moves the face.")
    reference_scale: Scale | None = Field(None, description="How strongly the picture is kept.")
    listening: bool | None = Field(None, description="Whether the face listens to its other side.")


class ViewerOfferBody(Body):
    """POST /sessions/WATCH/viewers: the offer of somebody who only watches."""

    sdp: Word = Field(description="The offer, complete with its candidates.")
    type: Literal["offer"]


class OfferBody(ViewerOfferBody):
    """POST /offer: the offer of a caller, and the wishes that come with it."""

    avatar: Word | None = Field(None, description="An id of GET /avatars; the first one by default.")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description="Same seed and same sound, same frames; 0 by default."
    )
    audio_scale: Scale | None = Field(None, description="How strongly the voice moves the face.")
    reference_scale: Scale | None = Field(None, description="How strongly the picture is kept.")
    resume: Annotated[str, Field(pattern=RESUME_FORM)] | None = Field(
        None, description="The secret of a call, to come back to it."
    )


Read = TypeVar("Read", bound=Body)


def read_body(body: bytes, model: type[Read]) -> Read:
    """A request's body as a model.

    Raises:
        SignalingError: 413 too long, 400 `bad_json`, 400 `bad_offer` for what is an SDP of another type, 422
            `invalid_request` for a field that is missing or wrong.
    """
    _hold_to_bound(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error) from None


def read_sdp(body: bytes) -> str:
    """A body that is an SDP alone, as WHIP and WHEP have it; the SDP itself is read later.

    Raises:
        SignalingError: 413 too long, 400 `bad_offer` for what is no text.
    """
    _hold_to_bound(body)
    try:
        sdp = body.decode("utf-8")
    except UnicodeDecodeError:
        raise SignalingError(
            "bad_offer", "Expected an SDP as UTF-8 text; the body is no such text."
        ) from None
    if not sdp.strip():
        raise SignalingError("bad_offer", "Expected an SDP as the body, got nothing; send a WebRTC offer.")
    return sdp


def _hold_to_bound(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise SignalingError(
            "too_large",
            f"Expected a body of at most {MAX_BODY_BYTES} bytes, got {len(body)}; send less.",
            413,
        )


def refusal(error: ValidationError) -> SignalingError:
    """What to answer to a body or a message that is none: the first thing wrong with it."""
    first = error.errors(include_url=False)[0]
    kind, value = first["type"], first["input"]
    if kind == "json_invalid":
        return SignalingError("bad_json", "Expected a JSON object; the body is no JSON that can be read.")
    if not first["loc"]:
        return SignalingError("invalid_request", f"Expected a JSON object, got {_shown(value)}.", 422)
    name = str(first["loc"][-1])
    if kind == "missing":
        return SignalingError("invalid_request", f'The field "{name}" is missing; add it.', 422)
    if kind == "literal_error" and isinstance(value, str):
        return SignalingError("bad_offer", f'Expected "type": "offer", got {value[:32]!r}; send an offer.')
    sentence = f"Expected {name} to be {_wanted(kind, first.get('ctx', {}))}, got {_shown(value)}."
    return SignalingError("invalid_request", sentence, 422)


WANTED: Final = {
    "string_type": "a non-empty string",
    "string_too_short": "a non-empty string",
    "string_pattern_mismatch": "22 to 128 of the characters A-Z, a-z, 0-9, - and _",
    "literal_error": 'the string "offer"',
    "int_type": "a whole number",
    "float_type": "a number or null",
    "finite_number": "a number that JSON can carry",
    "bool_type": "true, false or null",
}


def _wanted(kind: str, bounds: dict[str, Any]) -> str:
    if kind == "greater_than_equal":
        return f"at least {int(bounds['ge'])}"
    if kind == "less_than_equal":
        return f"at most {bounds['le']}"
    return WANTED.get(kind, "of another kind")


def _shown(value: object) -> str:
    return json.dumps(value, default=str)[:40]
