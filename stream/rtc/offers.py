"""The bodies of POST /offer and POST …/viewers, and what an SDP offer must be before anything is built for it.

In: bytes from anybody. Out: a checked `OfferRequest` or a viewer's SDP, or a `SignalingError` with one sentence.
aiortc's parser raises whatever its lines of code happen to raise on a broken offer; here that becomes `bad_offer`,
and an offer that would open hundreds of sockets is refused before aiortc sees it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiortc.sdp import MediaDescription, SessionDescription

from stream.engine.controls import read_scale
from stream.engine.protocol import Controls
from stream.errors import SignalingError

MAX_BODY_BYTES = 128 * 1024
MAX_MEDIA_SECTIONS = 6
MAX_CANDIDATES = 64
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one medium of an offer must be: directions (None stands for sendrecv) and the sentences if it is not."""

    directions: tuple[str | None, ...]
    absent: str
    misdirected: str


_LOOKS: Final = _Wanted(
    ("sendrecv", "recvonly", None),
    'The offer has no video; add a "recvonly" video transceiver.',
    'The offer takes no video; its video must be "recvonly" or "sendrecv".',
)
CALLER: Final = {
    "audio": _Wanted(
        ("sendrecv", "sendonly", None),
        "The offer has no audio; add the microphone's track before the offer.",
        'The offer sends no audio; its audio must be "sendrecv" or "sendonly".',
    ),
    "video": _LOOKS,
}
VIEWER: Final = {
    "audio": _Wanted(
        ("sendrecv", "recvonly", None),
        'The offer has no audio; add a "recvonly" audio transceiver.',
        'The offer takes no audio; its audio must be "recvonly".',
    ),
    "video": _LOOKS,
}


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """What a page asks for. `sdp` is cleaned, see `_without_mdns`; `controls` meet the engine's ranges later."""

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
    check_sdp(request.sdp, CALLER)
    return request


def parse_viewer_offer(body: bytes) -> str:
    """Check the body of POST /sessions/ID/viewers.

    Returns:
        The SDP, cleaned, see `_without_mdns`.

    Raises:
        SignalingError: as `parse_offer`.
    """
    _, sdp = _read_offer(body)
    check_sdp(sdp, VIEWER)
    return sdp


def _read_offer(body: bytes) -> tuple[dict[str, Any], str]:
    """The fields of a body that has an offer, and its SDP, cleaned."""
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
    return fields, _without_mdns(sdp)


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


def check_sdp(sdp: str, wanted: Mapping[str, _Wanted]) -> None:
    """Check that an offer has what a call needs and nothing beyond reason.

    Args:
        sdp: the offer.
        wanted: `CALLER` or `VIEWER`.

    Raises:
        SignalingError: `bad_offer`, `no_audio` or `no_video`.
    """
    if len(re.findall(r"^m=", sdp, re.MULTILINE)) > MAX_MEDIA_SECTIONS:
        raise SignalingError("bad_offer", f"Expected at most {MAX_MEDIA_SECTIONS} media sections in the SDP.")
    if len(re.findall(r"^a=candidate:", sdp, re.MULTILINE)) > MAX_CANDIDATES:
        raise SignalingError("bad_offer", f"Expected at most {MAX_CANDIDATES} ICE candidates in the SDP.")
    try:
        description = SessionDescription.parse(sdp)
    except Exception as error:  # the parser asserts, indexes and splits its way through a stranger's text
        raise SignalingError(
            "bad_offer", f"The SDP cannot be read ({_oneline(error)}); send a WebRTC offer."
        ) from error
    if not description.media:
        raise SignalingError(
            "bad_offer", "The SDP has no media sections; send a WebRTC offer with audio and video."
        )
    _check_media(description, wanted)


def _check_media(description: SessionDescription, wanted: Mapping[str, _Wanted]) -> None:
    sections: dict[str, list[MediaDescription]] = {}
    for media in description.media:
        sections.setdefault(media.kind, []).append(media)
    if set(sections) - {"audio", "video", "application"}:
        raise SignalingError("bad_offer", "Expected only audio, video and application sections in the SDP.")
    for kind in wanted:
        if not any(media.port for media in sections.get(kind, [])):
            raise SignalingError(f"no_{kind}", wanted[kind].absent)
    for kind in ("audio", "video", "application"):
        if len(sections.get(kind, [])) > 1:
            raise SignalingError("bad_offer", f"Expected one {kind} section, got {len(sections[kind])}.")
    for kind in wanted:
        if sections[kind][0].direction not in wanted[kind].directions:
            raise SignalingError(f"no_{kind}", wanted[kind].misdirected)
    for media in description.media:
        if media.dtls is None or not media.dtls.fingerprints:
            raise SignalingError("bad_offer", "The offer has no DTLS fingerprint; WebRTC needs one.")
        if media.ice is None or not media.ice.usernameFragment or not media.ice.password:
            raise SignalingError(
                "bad_offer", "The offer has no ICE user name and password; WebRTC needs them."
            )


def _without_mdns(sdp: str) -> str:
    """Leave out candidates hidden behind mDNS names.

    Resolving them costs seconds where multicast does not work and leaves a socket open; the browser's own
    checks tell us its address anyway, as a peer-reflexive candidate (RFC 8445 section 7.3.1.3). The
    end-of-candidates mark
    goes too: more will be learnt.
    """
    lines = sdp.splitlines()
    kept = [line for line in lines if not (line.startswith("a=candidate:") and ".local" in line)]
    if len(kept) != len(lines):
        kept = [line for line in kept if not line.startswith("a=end-of-candidates")]
    return "\r\n".join(kept) + "\r\n"


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


def _oneline(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
