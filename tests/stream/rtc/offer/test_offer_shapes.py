"""Offers as browsers and programs of all kinds write them: each answered with a call that runs, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCSessionDescription

from stream.errors import SignalingError
from stream.rtc.offer.check import CALLER, VIEWER, check_sdp
from stream.rtc.offer.text import OfferText
from tests.stream.calls.spectator import Spectator
from tests.stream.rig import Caller, running_server

HEAD = "v=0\r\no=mozilla 1 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
ICE = "a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-ufrag:abcd\r\n"
AUDIO = "a=mid:0\r\na=rtcp-mux\r\na=setup:actpass\r\na=rtpmap:109 opus/48000/2\r\n"
VIDEO = "a=mid:1\r\na=rtcp-mux\r\na=setup:actpass\r\na=rtpmap:120 VP8/90000\r\n"
DATA = "a=mid:2\r\na=setup:actpass\r\na=sctp-port:5000\r\n"


def firefox(sound: str = "sendrecv", bundle: str = "a=group:BUNDLE 0 1 2\r\n") -> str:
    """As Firefox writes it with `bundlePolicy: "max-bundle"`: one section with a port, two bundle-only."""
    return (
        f"{HEAD}{FINGERPRINT}{bundle}a=ice-options:trickle\r\n"
        f"m=audio 9 UDP/TLS/RTP/SAVPF 109\r\nc=IN IP4 0.0.0.0\r\na={sound}\r\n{AUDIO}{ICE}"
        f"m=video 0 UDP/TLS/RTP/SAVPF 120\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\na=recvonly\r\n{VIDEO}{ICE}"
        f"m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\n{DATA}{ICE}"
    )


def safari(sound: str = "sendrecv") -> str:
    """As Safari writes it, and OBS: a port in each section, the transport in each, nothing bundle-only."""
    own = ICE + FINGERPRINT
    return (
        f"{HEAD}a=group:BUNDLE 0 1 2\r\na=msid-semantic: WMS\r\n"
        f"m=audio 50000 UDP/TLS/RTP/SAVPF 109\r\nc=IN IP4 192.0.2.1\r\na={sound}\r\n{AUDIO}{own}"
        f"m=video 50000 UDP/TLS/RTP/SAVPF 120\r\nc=IN IP4 192.0.2.1\r\na=recvonly\r\n{VIDEO}{own}"
        f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{DATA}{own}"
    )


@pytest.mark.parametrize("shape", [firefox, safari])
def test_a_browsers_offer_is_taken(shape: Callable[..., str]) -> None:
    check_sdp(shape(), CALLER)
    check_sdp(shape("recvonly"), VIEWER)


def without(*names: str) -> Callable[[str], str]:
    """Leave out all lines of these attributes."""
    return lambda sdp: re.sub(rf"a=({'|'.join(names)})(:.*)?\r\n", "", sdp)


def bundle_only(sdp: str) -> str:
    """All but the first section as RFC 8829, 5.2.1 asks for: port 0, bundle-only, no transport of its own."""
    head, first, *others = sdp.split("m=")
    shared = without("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "rtcp-mux", "candidate")
    lean = [re.sub(r"^(\w+) \d+", r"\1 0", shared(one)) + "a=bundle-only\r\n" for one in others]
    return "m=".join([head, first, *lean])


def test_a_bundled_section_may_leave_its_transport_to_the_first() -> None:
    shared = OfferText.read(check_sdp(bundle_only(safari()), CALLER))
    for section in shared.sections:
        assert section.values("ice-ufrag") == ["abcd"] and section.values("setup") == ["actpass"], section
        assert section.has("fingerprint") and section.has("rtcp-mux")


def refused(sdp: str, wanted: Any = CALLER) -> SignalingError:
    with pytest.raises(SignalingError) as raised:
        check_sdp(sdp, wanted)
    assert raised.value.status == 400
    assert raised.value.message.endswith(".") and "\n" not in raised.value.message
    return raised.value


@pytest.mark.parametrize("wanted", [CALLER, VIEWER])
@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (lambda sdp: sdp.replace("a=group:BUNDLE 0 1 2\r\n", ""), "no_video", "no video"),
        (lambda sdp: sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 2"), "no_video", "no video"),
        (
            lambda sdp: sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 1"),
            "bad_offer",
            "application section has port 0",
        ),
        (lambda sdp: sdp.replace("BUNDLE 0 1 2", "LS 0 1 2"), "no_video", "no video"),
        (lambda sdp: sdp.replace("a=bundle-only\r\n", ""), "no_video", "no video"),
        (lambda sdp: sdp.replace("m=audio 9", "m=audio 0"), "no_audio", "no audio"),
        (lambda sdp: sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 9"), "bad_offer", "BUNDLE group names '9'"),
        (lambda sdp: sdp.replace("BUNDLE 0 1 2", "BUNDLE x 0 1 2"), "bad_offer", "BUNDLE group names 'x'"),
        (
            lambda sdp: sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 1\r\na=group:BUNDLE 2"),
            "bad_offer",
            "at most one BUNDLE",
        ),
        (lambda sdp: re.sub("a=mid:.", "a=mid:0", sdp), "bad_offer", "Two sections"),
        (lambda sdp: sdp.replace("a=mid:1", "a=mid:1\r\na=mid:3"), "bad_offer", "one name"),
        (lambda sdp: sdp.replace("a=mid:1", "a=mid:"), "bad_offer", "one name"),
        (lambda sdp: sdp.replace("a=mid:1", "a=mid"), "bad_offer", "one name"),
    ],
)
def test_a_bundle_that_does_not_hold_together(
    change: Callable[[str], str], code: str, word: str, wanted: Any
) -> None:
    error = refused(change(firefox("sendrecv")), wanted)
    assert error.code == code and word in error.message


def test_a_section_with_a_port_is_there_whatever_it_says_of_bundles() -> None:
    check_sdp(firefox().replace("m=video 0", "m=video 9").replace("BUNDLE 0 1 2", "BUNDLE 0 2"), CALLER)
    check_sdp(safari().replace("a=group:BUNDLE 0 1 2\r\n", ""), CALLER)


SHAPES: dict[str, Callable[[str], str]] = {
    "bundle-only": bundle_only,
    "no mid": without("mid", "group"),
    "no direction": without("sendrecv"),
    "no bundle": without("group"),
}


def named_again(answer_sdp: str, offer_sdp: str) -> RTCSessionDescription:
    """The answer, held to its offer's names and group; the names are then put back for aiortc, which wants some."""
    answer, offer = OfferText.read(answer_sdp), OfferText.read(offer_sdp)
    assert answer.bundles == offer.bundles
    assert [section.mid for section in answer.sections] == [section.mid for section in offer.sections]
    for number, section in enumerate(answer.sections):
        section.lines += [] if section.has("mid") else [f"a=mid:{number}"]
    return RTCSessionDescription(str(answer), "answer")


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_runs_and_is_watched_whatever_the_offers_shape(shape: str, tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller, spectator = Caller(), Spectator(channel=True)
        address = "/offer"
        for peer in (caller, spectator):
            offer = await peer.offer()
            offer["sdp"] = SHAPES[shape](offer["sdp"])
            response = await running.http.post(address, json=offer)
            assert response.status_code == 200, response.text
            answer = response.json()
            await peer.connection.setRemoteDescription(named_again(answer["sdp"], offer["sdp"]))
            address = f"/sessions/{answer.get('watch_id')}/viewers"
        hello = caller.received.of_type
        await caller.until(lambda: len(caller.received.pictures) > 5 and bool(hello("hello")), 15)
        await caller.until(lambda: min(spectator.frames.values()) > 5 and spectator.pongs > 0, 15)
        await spectator.leave()
        await caller.hang_up()
