"""Offers with any one line left out, doubled, cut or spoilt: answered or 400, and nothing is left of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import SignalingError
from stream.rtc.offer.check import CALLER, VIEWER, check_sdp
from stream.rtc.offer.text import OfferText
from tests.stream.rig import Caller, running_server
from tests.stream.rtc.offer.stage import quiet_peer, quiet_tracks
from tests.stream.rtc.offer.test_offer_shapes import firefox, safari

JUNK = ("", "-1", "9" * 30, "x", "* *", "\x00")


def spoilt(sdp: str) -> Iterator[str]:
    """The offer with each line in turn left out, doubled, cut at its colon and after it, its values spoilt."""
    lines = sdp.splitlines()
    for at, line in enumerate(lines):
        name, colon, value = line.partition(":")
        words = value.split(" ")
        others = [[], [line, line], [name], [name + colon], *([f"{name}:{junk}"] for junk in JUNK)]
        others += [
            [name + colon + " ".join([*words[:n], junk, *words[n + 1 :]])]
            for n in range(len(words))
            for junk in JUNK
        ]
        if line.startswith("m="):
            words = line.split(" ")
            others += [
                [" ".join([*words[:n], junk, *words[n + 1 :]])] for n in range(len(words)) for junk in JUNK
            ]
        yield from ("\r\n".join([*lines[:at], *other, *lines[at + 1 :]]) + "\r\n" for other in others)


def is_plain(error: SignalingError) -> bool:
    """Whether a refusal is 400 with one sentence that JSON can carry."""
    json.dumps(error.as_json()).encode()
    return error.status == 400 and error.message.endswith(".") and "\n" not in error.message


async def try_offer(sdp: str) -> str:
    """Answer an offer without a server around it.

    Returns:
        "answered", the code of the refusal, or its sentence where that is no plain one.
    """
    peer = quiet_peer()
    try:
        await peer.answer(sdp, quiet_tracks)
    except SignalingError as error:
        return error.code if is_plain(error) else error.message
    finally:
        await peer.close()
    return "answered"


@pytest.mark.parametrize("shape", [firefox, safari])
async def test_a_spoilt_line_is_answered_or_refused(shape: object) -> None:
    assert callable(shape)
    outcomes: dict[str, int] = {}
    for sdp in dict.fromkeys(spoilt(shape())):
        outcome = await try_offer(sdp)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    print(outcomes)
    assert outcomes.keys() <= {"answered", "bad_offer", "no_audio", "no_video", "no_common_codec"}
    assert outcomes["answered"] > 50 and outcomes["bad_offer"] > 50


async def test_a_refused_offer_leaves_no_seat_taken(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        caller = Caller()
        good = (await caller.offer())["sdp"]
        mids = "".join(f" {section.mid}" for section in OfferText.read(good).sections)
        for bad in (
            good.replace("a=mid:1", "a=mid:0"),
            good.replace(f"BUNDLE{mids}", f"BUNDLE x{mids}"),
            good.replace(f"BUNDLE{mids}", f"BUNDLE{mids} x"),
            good.replace("a=setup:actpass", "a=setup:holdconn"),
            good.replace("a=rtcp-mux\r\n", ""),
            good.replace("opus/48000/2", "opus/8000/2").replace("PCM", "XYZ").replace("G722", "XYZ"),
        ):
            assert bad != good
            response = await running.http.post("/offer", json={"sdp": bad, "type": "offer"})
            assert response.status_code == 400, response.text
            assert running.server.scheduler.seats.taken == 0 and len(running.server.lobby) == 0
        await caller.hang_up()


LINES = [*firefox().splitlines(), *safari().splitlines()]
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(LINES),
        st.builds(lambda line, cut: line[:cut], st.sampled_from(LINES), st.integers(0, 60)),
        st.builds(lambda name, value: f"a={name}:{value}", st.text(max_size=12), st.text(max_size=40)),
        st.text(max_size=60),
    ),
    max_size=60,
).map("\r\n".join)


@settings(max_examples=120, deadline=None)
@given(sdp=TEXTS, wanted=st.sampled_from([CALLER, VIEWER]))
def test_any_text_is_an_offer_or_a_refusal(sdp: str, wanted: dict[str, object]) -> None:
    refusal = None
    try:
        checked = check_sdp(sdp, wanted)  # type: ignore[arg-type]
    except SignalingError as error:
        refusal = error
    if refusal is not None:
        assert is_plain(refusal)
    else:
        assert check_sdp(checked, wanted) == checked, "what is complete is left"  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(sdp=TEXTS)
def test_any_text_is_put_together_again(sdp: str) -> None:
    assert str(OfferText.read(sdp)).splitlines() == sdp.splitlines()
