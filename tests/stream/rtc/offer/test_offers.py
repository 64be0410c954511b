"""Strangers' offers: everything wrong with them is one sentence and the right code,
before anything is built.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest

from stream.engine.protocol import Controls
from stream.errors import SignalingError
from stream.live.wish import Wish
from stream.rtc.offer.bodies import MAX_BODY_BYTES
from stream.rtc.offer.check import CALLER, VIEWER, check_sdp
from stream.rtc.offer.request import OfferRequest, parse_offer, parse_viewer_offer

ICE = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
DTLS = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\na=setup:actpass\r\n"
HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
AUDIO += "a=rtpmap:111 opus/48000/2\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n"
VIDEO += "a=rtpmap:96 VP8/90000\r\n"
GOOD = HEAD + ICE + DTLS + AUDIO + VIDEO


def body(sdp: object = GOOD, **fields: Any) -> bytes:
    return json.dumps({"sdp": sdp, "type": "offer", **fields}).encode()


def read_offer(raw: bytes) -> OfferRequest:
    """A caller's body, its SDP checked."""
    request = parse_offer(raw)
    return replace(request, sdp=check_sdp(request.sdp, CALLER))


def read_viewer_offer(raw: bytes) -> str:
    """A viewer's body, its SDP checked."""
    return check_sdp(parse_viewer_offer(raw), VIEWER)


def refused(raw: bytes) -> SignalingError:
    with pytest.raises(SignalingError) as raised:
        read_offer(raw)
    error = raised.value
    assert error.message.count("\n") == 0
    assert error.message.endswith(".")
    assert error.message[0].isupper()
    return error


def test_a_good_offer_passes() -> None:
    offer = read_offer(body(avatar="ada", seed=7, audio_scale=1.5, reference_scale=0, unknown=[1]))
    assert offer.wish == Wish("ada", 7, Controls(1.5, 0.0))
    assert offer.resume is None
    bare = read_offer(body())
    assert (bare.wish, bare.resume) == (Wish(), None)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"sdp": NaN'])
def test_what_is_not_json_is_bad_json(raw: bytes) -> None:
    assert (refused(raw).code, refused(raw).status) == ("bad_json", 400)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"3", b'"offer"', b"true"])
def test_json_that_is_no_object(raw: bytes) -> None:
    assert (refused(raw).code, refused(raw).status) == ("invalid_request", 422)


@pytest.mark.parametrize(
    "fields",
    [
        {"sdp": None},
        {"sdp": 3},
        {"sdp": ""},
        {"type": None},
        {"type": ["offer"]},
        {"avatar": 5},
        {"avatar": ""},
        {"seed": "7"},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": True},
        {"seed": 1.5},
        {"audio_scale": "2"},
        {"audio_scale": float("nan")},
        {"audio_scale": 10**400},
        {"reference_scale": -0.1},
        {"reference_scale": False},
    ],
)
def test_fields_of_the_wrong_kind(fields: dict[str, Any]) -> None:
    error = refused(body(**fields))
    assert (error.code, error.status) == ("invalid_request", 422)
    assert next(iter(fields)) in error.message


def test_an_answer_is_no_offer() -> None:
    error = refused(body(type="answer"))
    assert (error.code, error.status) == ("bad_offer", 400)
    assert "send an offer" in error.message


def test_a_huge_body() -> None:
    assert (refused(b" " * (MAX_BODY_BYTES + 1)).code, refused(b" " * (MAX_BODY_BYTES + 1)).status) == (
        "too_large",
        413,
    )


@pytest.mark.parametrize(
    "sdp",
    [
        "garbage",
        "v=0",
        "\x00\x01\x02",
        "m=audio",
        "v=x\r\n" + AUDIO,
        HEAD,
        HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 999\r\n",
        HEAD + "m=audio nine UDP 0\r\n",
        GOOD + "a=candidate:1 1 udp\r\n",
        GOOD + "a=setup:sideways\r\n",
        GOOD + "a=rtpmap\r\n",
        GOOD.replace("opus/48000/2", "opus/many/2"),
        HEAD + ICE + AUDIO + VIDEO,  # no fingerprint
        HEAD + DTLS + AUDIO + VIDEO,  # no ICE password
        GOOD + VIDEO.replace("a=mid:1", "a=mid:2"),
        GOOD + "m=text 9 UDP/TLS/RTP/SAVPF 98\r\n",
        GOOD + VIDEO * 500,
        GOOD + "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n" * 65,
    ],
)
def test_garbage_is_a_bad_offer(sdp: str) -> None:
    assert (refused(body(sdp)).code, refused(body(sdp)).status) == ("bad_offer", 400)


@pytest.mark.parametrize("cut", range(0, len(GOOD), 7))
def test_a_truncated_offer_never_escapes_the_tree(cut: int) -> None:
    with contextlib.suppress(SignalingError):
        read_offer(body(GOOD[:cut] or "x"))


@pytest.mark.parametrize(
    ("sdp", "code"),
    [
        (HEAD + ICE + DTLS + VIDEO, "no_audio"),
        (GOOD.replace("a=sendrecv", "a=recvonly"), "no_audio"),
        (GOOD.replace("a=sendrecv", "a=inactive"), "no_audio"),
        (GOOD.replace("m=audio 9", "m=audio 0"), "no_audio"),
        (HEAD + ICE + DTLS + AUDIO, "no_video"),
        (GOOD.replace("a=recvonly", "a=sendonly"), "no_video"),
    ],
)
def test_an_offer_must_speak_and_look(sdp: str, code: str) -> None:
    assert refused(body(sdp)).code == code


WATCHING = GOOD.replace("a=sendrecv", "a=recvonly")


def viewer_refused(raw: bytes) -> SignalingError:
    with pytest.raises(SignalingError) as raised:
        read_viewer_offer(raw)
    assert raised.value.message.endswith(".") and "\n" not in raised.value.message
    return raised.value


def test_a_viewer_needs_no_microphone() -> None:
    assert read_viewer_offer(body(WATCHING)).startswith("v=0")
    assert read_viewer_offer(body(GOOD)), "one that would send too is answered with sendonly"
    hidden = "a=candidate:1 1 udp 2122 0a1b.local 50000 typ host\r\n"
    assert ".local" not in read_viewer_offer(body(WATCHING + hidden))


@pytest.mark.parametrize(
    ("sdp", "code"),
    [
        (HEAD + ICE + DTLS + VIDEO, "no_audio"),
        (WATCHING.replace("a=mid:0\r\na=recvonly", "a=mid:0\r\na=sendonly"), "no_audio"),
        (WATCHING.replace("a=mid:0\r\na=recvonly", "a=mid:0\r\na=inactive"), "no_audio"),
        (WATCHING.replace("m=audio 9", "m=audio 0"), "no_audio"),
        (HEAD + ICE + DTLS + AUDIO, "no_video"),
        (WATCHING.replace("a=mid:1\r\na=recvonly", "a=mid:1\r\na=sendonly"), "no_video"),
        (HEAD + ICE + AUDIO + VIDEO, "bad_offer"),
        (WATCHING + VIDEO * 500, "bad_offer"),
        (WATCHING + "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n" * 65, "bad_offer"),
        (WATCHING + "a=setup:sideways\r\n", "bad_offer"),
        ("garbage", "bad_offer"),
    ],
)
def test_a_viewer_must_look_and_listen(sdp: str, code: str) -> None:
    assert viewer_refused(body(sdp)).code == code


@pytest.mark.parametrize(
    ("raw", "code", "status"),
    [
        (b"{", "bad_json", 400),
        (b"[]", "invalid_request", 422),
        (body(None), "invalid_request", 422),
        (body(WATCHING, type="answer"), "bad_offer", 400),
        (b" " * (MAX_BODY_BYTES + 1), "too_large", 413),
    ],
)
def test_a_viewers_body_is_checked_as_an_offers(raw: bytes, code: str, status: int) -> None:
    assert (viewer_refused(raw).code, viewer_refused(raw).status) == (code, status)


@pytest.mark.parametrize("cut", range(0, len(WATCHING), 11))
def test_a_viewers_truncated_offer_never_escapes_the_tree(cut: int) -> None:
    with contextlib.suppress(SignalingError):
        read_viewer_offer(body(WATCHING[:cut] or "x"))


def test_hidden_candidates_are_left_out_so_that_nothing_waits_for_multicast() -> None:
    hidden = "a=candidate:1 1 udp 2122 0a1b.local 50000 typ host\r\n"
    plain = "a=candidate:2 1 udp 2122 127.0.0.1 50001 typ host\r\n"
    offer = read_offer(body(GOOD + hidden + plain + "a=end-of-candidates\r\n"))
    assert ".local" not in offer.sdp
    assert "127.0.0.1 50001" in offer.sdp
    assert "end-of-candidates" not in offer.sdp
    assert "end-of-candidates" in read_offer(body(GOOD + plain + "a=end-of-candidates\r\n")).sdp


def test_a_calls_secret_is_read_and_one_of_another_form_refused() -> None:
    secret = "Ab3_-" * 5
    assert read_offer(body(resume=secret)).resume == secret
    for wrong in ("short", "x" * 129, "sp ace" * 5, "ü" * 30, "a" * 21, "a" * 30 + "\n"):
        with pytest.raises(SignalingError, match="resume to be 22 to 128") as raised:
            read_offer(body(resume=wrong))
        assert (raised.value.code, raised.value.status) == ("invalid_request", 422)
