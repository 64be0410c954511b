"""The same call in Chromium and in Firefox: pictures that flow, another face, sliders, somebody who watches."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.drivers.call import complaints, copy_watch_link, go_live
from tests.browser.drivers.visit import Visit, wait_for, wait_for_state, wait_for_words
from tests.browser.playback import CALLER, VIEWER, measure
from tests.browser.served.servers import ServerProcess
from tests.machine_time import attempts

FPS_AT_LEAST = 24
MEASURED_S = 8
FIGURE = "name => document.querySelector(`[data-figure=${name}]`).textContent"
TURN = """
([id, value]) => {
  const slider = document.getElementById(id);
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}
"""


def flows(visit: Visit, video: str) -> None:
    """Pictures come at 25 a second, and the mouth moves in speech alone."""
    for attempt in attempts():
        with attempt:
            playback, mouth = measure(visit, MEASURED_S, video)
            assert playback.fps >= FPS_AT_LEAST, playback
            assert mouth.speech_frames > 25 and mouth.silence_frames > 12 and mouth.ratio > 2, mouth


@pytest.mark.timed
def test_pictures_flow_and_the_mouth_moves_with_the_voice(
    server: ServerProcess, open_visit: OpenVisit
) -> None:
    call = open_visit(server.url)
    go_live(call)
    flows(call, CALLER)
    for figure in ("fps", "latency", "skew", "dropped", "size"):
        assert call.evaluate(FIGURE, figure) != "–", figure
    assert call.evaluate(FIGURE, "link") == "good"
    assert complaints(call) == []


def test_another_face_and_other_scales_in_the_call(fake_server: ServerProcess, open_visit: OpenVisit) -> None:
    call = open_visit(fake_server.url)
    go_live(call)
    wait_for_words(call, "Speak, and Ada speaks with you.")
    call.press("[data-avatar=bruno]")
    wait_for_words(call, "Speak, and Bruno speaks with you.")
    for scale, figure, value in (
        ("audio-scale", "expression", "0.55"),
        ("reference-scale", "likeness", "1.20"),
    ):
        call.evaluate(TURN, [scale, value])
        wait_for(
            call,
            "([name, text]) => document.querySelector(`[data-figure=${name}]`).textContent === text",
            [figure, value],
        )
    call.press("#stop")
    assert wait_for_state(call, "stopped") == "stopped"
    assert complaints(call) == []


@pytest.mark.timed
@pytest.mark.slow
def test_a_viewer_sees_and_hears_the_same_call(fake_server: ServerProcess, open_visit: OpenVisit) -> None:
    call = open_visit(fake_server.url)
    go_live(call)
    watch = open_visit(copy_watch_link(call))
    wait_for_state(watch, "live")
    flows(watch, VIEWER)
    call.press("#stop")
    wait_for_state(watch, "ended")
    assert complaints(call) == complaints(watch) == []
