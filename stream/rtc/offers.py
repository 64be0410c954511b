"""The bodies of POST /offer and POST …/viewers.

In: bytes from anybody. Out: an `OfferRequest` or a viewer's SDP, or a `SignalingError` with one sentence. The SDP
itself is read later (`offer_check.py`), once there is a place for who sent it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from stream.engine.controls import read_scale
from stream.engine.protocol import Controls
from stream.errors import SignalingError

MAX_BODY_BYTES = 128 * 1024
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """What a page asks for.

    `sdp` is as it came, `Peer.answer` checks it; `controls` meet the engine's ranges later.
    """

    sdp: str
    avatar: str | None
    seed: int
    controls: Controls


def parse_offer(body: bytes) -> OfferRequest:
    """Check the body of POST /offer.

    Raises:
        SignalingError: 413 too long, 400 not JSON or not a usable offer, 422 a field of the wrong kind.
    """
    fields, sdp = _read_offer(body)
    request = OfferRequest(
        sdp=sdp,
        avatar=_text(fields, "avatar", required=False),
        seed=_seed(fields),
        controls=_controls(fields),
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
