"""The bodies of POST /offer and POST …/viewers.

In: bytes from anybody. Out: an `OfferRequest` or a viewer's SDP, or a `SignalingError` with one sentence. The SDP
itself is read later (`offer_check.py`), once there is a place for who sent it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from stream.engine.controls import read_scale
from stream.engine.protocol import Controls
from stream.errors import SignalingError
from stream.live.wish import MAX_SEED, Wish

MAX_BODY_BYTES = 128 * 1024
RESUME_FORM: Final = re.compile(r"[A-Za-z0-9_-]{22,128}")


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """What a page asks for.

    `sdp` is as it came, `Peer.answer` checks it; the wish's controls meet the engine's ranges later. `resume` is
    the secret of a call that is to go on.
    """

    sdp: str
    wish: Wish
    resume: str | None


def parse_offer(body: bytes) -> OfferRequest:
    """Check the body of POST /offer.

    Raises:
        SignalingError: 413 too long, 400 not JSON or not a usable offer, 422 a field of the wrong kind.
    """
    fields, sdp = _read_offer(body)
    request = OfferRequest(
        sdp=sdp,
        wish=Wish(_text(fields, "avatar", required=False), _seed(fields), _controls(fields)),
        resume=_resume(fields),
    )
    return request


def parse_viewer_offer(body: bytes) -> str:
    """Check the body of POST /sessions/ID/viewers.

    Returns:
        The SDP as it came; `Peer.answer_viewer` checks it.

    Raises:
        SignalingError: as `parse_offer`.
    """
    _, sdp = _read_offer(body)
    return sdp


def _read_offer(body: bytes) -> tuple[dict[str, Any], str]:
    """The fields of a body that has an offer, and its SDP."""
    if len(body) > MAX_BODY_BYTES:
        raise SignalingError(
            "too_large", f"Expected an offer of at most {MAX_BODY_BYTES} bytes, got {len(body)}.", 413
        )
    fields = read_object(body, '{"sdp": ..., "type": "offer"}')
    sdp = _text(fields, "sdp", required=True)
    kind = _text(fields, "type", required=True)
    assert sdp is not None
    if kind != "offer":
        raise SignalingError("bad_offer", f'Expected "type": "offer", got {str(kind)[:32]!r}; send an offer.')
    return fields, sdp


def read_object(body: bytes, example: str) -> dict[str, Any]:
    """A request's body as a JSON object.

    Raises:
        SignalingError: 400 not JSON, 422 not an object.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise SignalingError("bad_json", f"Expected a JSON object such as {example}.") from None
    if not isinstance(fields, dict):
        raise SignalingError("invalid_request", f"Expected a JSON object, got {_kind(fields)}.", 422)
    return fields


def _text(fields: dict[str, Any], name: str, *, required: bool) -> str | None:
    value = fields.get(name)
    if value is None and not required:
        return None
    if value is None:
        raise SignalingError("invalid_request", f'The field "{name}" is missing; it must be a string.', 422)
    if not isinstance(value, str) or not value:
        raise SignalingError(
            "invalid_request", f'The field "{name}" must be a non-empty string, got {_kind(value)}.', 422
        )
    return value


def _resume(fields: dict[str, Any]) -> str | None:
    secret = _text(fields, "resume", required=False)
    if secret is not None and RESUME_FORM.fullmatch(secret) is None:
        raise SignalingError(
            "invalid_request",
            'The field "resume" must be 22 to 128 of the characters A-Z, a-z, 0-9, - and _; send the one that an '
            "answer gave, or none.",
            422,
        )
    return secret


def _controls(fields: dict[str, Any]) -> Controls:
    try:
        return Controls(read_scale(fields, "audio_scale"), read_scale(fields, "reference_scale"))
    except ValueError as error:
        raise SignalingError("invalid_request", str(error), 422) from error


def _seed(fields: dict[str, Any]) -> int:
    value = fields.get("seed")
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise SignalingError(
            "invalid_request", f'The field "seed" must be a whole number, got {_kind(value)}.', 422
        )
    if not 0 <= value <= MAX_SEED:
        raise SignalingError("invalid_request", 'The field "seed" must lie between 0 and 2^63 - 1.', 422)
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
