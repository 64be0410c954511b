"""No offer, however it is made, holds the event loop: bounds before parsing, and what passes them is cheap."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import re
import time
from collections.abc import Callable
from typing import Final

import pytest
from aiortc.sdp import DIRECTIONS, SessionDescription

from stream.errors import SignalingError
from stream.rtc.offer.check import CALLER, MAX_ATTRIBUTES, MAX_FEEDBACK, MAX_LINES, check_sdp
from tests.stream.rtc.offer.stage import quiet_peer, quiet_tracks
from tests.stream.rtc.offer.test_offer_shapes import firefox, safari

CHECK_AT_MOST_S: Final = 0.1
"""CPU time of a check, in its own thread; a browser's offer costs 0.4 ms."""
ANSWER_AT_MOST_S: Final = 0.25
"""CPU time that an offer at every bound may cost the event loop; a browser's costs 7 ms."""

LINES: Final[dict[str, Callable[[int], str]]] = {
    "candidate": lambda n: f"a=candidate:{n} 1 udp {n} 10.0.{n // 250}.{n % 250 + 1} 9 typ host",
    "end-of-candidates": lambda n: "a=end-of-candidates",
    "extmap": lambda n: f"a=extmap:{n % 14 + 1} urn:ietf:params:rtp-hdrext:sdes:mid",
    "fingerprint": lambda n: "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
    "fmtp": lambda n: f"a=fmtp:109 minptime={n};a=1;b=2",
    "group": lambda n: "a=group:LS " + " ".join(map(str, range(20))),
    "ice-lite": lambda n: "a=ice-lite",
    "ice-options": lambda n: "a=ice-options:trickle",
    "ice-pwd": lambda n: "a=ice-pwd:abcdefghijklmnopqrstuvwx",
    "ice-ufrag": lambda n: "a=ice-ufrag:abcd",
    "max-message-size": lambda n: "a=max-message-size:65536",
    "mid": lambda n: f"a=mid:x{n}",
    "msid": lambda n: "a=msid:stream track",
    "msid-semantic": lambda n: f"a=msid-semantic:WMS {n}",
    "rtcp": lambda n: "a=rtcp:9 IN IP4 0.0.0.0",
    "rtcp-fb": lambda n: "a=rtcp-fb:* nack",
    "rtcp-mux": lambda n: "a=rtcp-mux",
    "rtpmap": lambda n: f"a=rtpmap:{n % 128} x/1",
    "sctp-port": lambda n: "a=sctp-port:5000",
    "sctpmap": lambda n: f"a=sctpmap:{n} webrtc-datachannel 1024",
    "setup": lambda n: "a=setup:actpass",
    "ssrc": lambda n: f"a=ssrc:{n} cname:x",
    "ssrc-group": lambda n: f"a=ssrc-group:FID {n} {n}",
    **{name: lambda n, name=name: f"a={name}" for name in DIRECTIONS},
}
"""One line of every attribute that aiortc's parser reads."""


def test_every_line_that_aiortc_reads_is_tried_here() -> None:
    source = inspect.getsource(SessionDescription.parse)
    assert set(re.findall(r'attr == "([\w-]+)"', source)) | set(DIRECTIONS) == set(LINES)


def with_lines(part: int, *names: str, count: int = 1000) -> str:
    """A browser's offer with so many more lines of each name, in a section or (0) before them."""
    parts = safari().split("m=")
    for name in names:
        parts[part] += "".join(f"{LINES[name](n)}\r\n" for n in range(count))
    return "m=".join(parts)


def cost_s(work: Callable[[], object]) -> float:
    """CPU seconds of this thread; a refusal costs what it costs."""
    started_s = time.thread_time()
    with contextlib.suppress(SignalingError):
        work()
    return time.thread_time() - started_s


def test_a_thousand_lines_of_any_two_kinds_cost_little() -> None:
    pairs = [*itertools.combinations_with_replacement(LINES, 2)]
    for part in (0, 1, 2):
        for pair in pairs:
            sdp = with_lines(part, *pair)
            assert cost_s(lambda sdp=sdp: check_sdp(sdp, CALLER)) < CHECK_AT_MOST_S, (part, pair)


@pytest.mark.parametrize(
    "sdp",
    [
        with_lines(1, "rtpmap", "rtcp-fb", count=1900),  # the longest that a body can bring
        safari() + "a=rtpmap:5 x/1\r\n" * 8000,
        safari() + "\n" * 120_000,
        safari() + "a=x:" + "y" * 120_000,
        safari().replace("a=msid-semantic: WMS", "a=group:LS " + "1 " * 60_000),
        "m=audio 9 UDP/TLS/RTP/SAVPF " + "111 " * 30_000,
        "m=" * 60_000,
        "m=\n" * 40_000,
        "\x0bm=" * 40_000,  # a line end to Python, none to SDP
    ],
    ids=range(9),
)
def test_the_longest_bodies_are_refused_at_once(sdp: str) -> None:
    with pytest.raises(SignalingError) as raised:
        check_sdp(sdp, CALLER)
    assert raised.value.status == 400
    assert cost_s(lambda: check_sdp(sdp, CALLER)) < CHECK_AT_MOST_S


@pytest.mark.parametrize("name", MAX_ATTRIBUTES)
def test_one_more_than_the_bound_is_refused_with_its_number(name: str) -> None:
    with pytest.raises(SignalingError, match=rf"at most {MAX_ATTRIBUTES[name]} lines a={name} in a section"):
        check_sdp(with_lines(1, name, count=MAX_ATTRIBUTES[name] + 1), CALLER)


def test_feedback_counts_once_for_each_codec() -> None:
    codecs = "".join(f"a=rtpmap:{n} x/1\r\n" for n in range(60))
    check_sdp(safari() + codecs + "a=rtcp-fb:* nack\r\n" * (MAX_FEEDBACK // 61 - 1), CALLER)
    with pytest.raises(SignalingError, match="kinds of feedback"):
        check_sdp(safari() + codecs + "a=rtcp-fb:* nack\r\n" * (MAX_FEEDBACK // 60 + 1), CALLER)
    with pytest.raises(SignalingError, match="one a=rtpmap line for each payload type"):
        check_sdp(safari() + "a=rtpmap:5 x/1\r\na=rtpmap:05 x/1\r\n", CALLER)
    with pytest.raises(SignalingError, match=f"at most {MAX_LINES} lines"):
        check_sdp(safari() + "a=x\r\n" * MAX_LINES, CALLER)


def at_every_bound() -> str:
    """The dearest offer that passes: every counted line as often as it may stand, codecs all of kinds we have."""
    head, audio, video, data = firefox().split("m=")
    audio += "".join(f"a=rtpmap:{n} opus/48000/2\r\n" for n in range(96, 128) if n != 109)
    video += "".join(
        f"a=rtpmap:{n} {'rtx' if n % 2 else 'VP8'}/90000\r\na=fmtp:{n} apt={n - n % 2}\r\n"
        for n in range(96, 128)
        if n != 120
    )
    feedback = "".join("a=rtcp-fb:* nack pli\r\n" for _ in range(31))
    common = "".join(LINES[name](n) + "\r\n" for name in ("extmap", "ssrc") for n in range(64))
    candidates = "".join(LINES["candidate"](n) + "\r\n" for n in range(64))
    return "m=".join([head, audio + feedback + common + candidates, video + feedback + common, data])


async def test_the_dearest_offer_that_passes_costs_the_loop_little() -> None:
    check_sdp(at_every_bound(), CALLER)
    peer = quiet_peer(addresses=8)
    started_s = time.thread_time()
    answer = await peer.answer(at_every_bound(), quiet_tracks)
    spent_s = time.thread_time() - started_s
    await peer.close()
    assert answer.type == "answer"
    print(f"the loop spent {1000 * spent_s:.0f} ms on it")
    assert spent_s < ANSWER_AT_MOST_S
