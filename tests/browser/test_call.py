"""A call as a user makes it: Start, see, speak, choose, Stop. On the real engine too where weights are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.browser.conftest import CallPage, OpenPage
from tests.browser.playback import measure
from tests.browser.served.servers import ServerProcess
from tests.machine_time import attempts

FIRST_FRAME_WITHIN_MS = 1000
FPS_AT_LEAST = 24
FROZEN_BELOW = 0.01
KEEP_MICROPHONES = """
window.microphones = [];
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wish) => {
  const stream = await ask(wish);
  window.microphones.push({ wish, tracks: stream.getTracks() });
  return stream;
};
"""


@contextmanager
def live(call: CallPage) -> Iterator[None]:
    """From Start to Stop."""
    call.go_live()
    try:
        yield
    finally:
        call.press_stop()
        call.wait_for_state("stopped")


@pytest.mark.timed
def test_start_shows_the_first_picture_soon(server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(server.url)
    assert "Ready when you are" in call.status
    for attempt in attempts():
        with attempt, live(call):
            assert call.first_frame_ms <= FIRST_FRAME_WITHIN_MS
            assert "You are live" in call.status
            assert call.page.evaluate("document.querySelector('video').videoWidth") >= 256
            assert call.complaints == []


def test_stop_ends_the_call_and_frees_the_microphone(server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(server.url, before=KEEP_MICROPHONES)
    call.go_live()
    tracks = "microphones.flatMap(({ tracks }) => tracks.map((track) => track.readyState))"
    assert call.page.evaluate(tracks) == ["live"]
    call.press_stop()
    call.wait_for_state("stopped")
    assert call.page.evaluate(tracks) == ["ended"]
    assert "Call ended" in call.status
    assert call.page.get_by_test_id("start").is_visible()
    assert not call.page.get_by_test_id("stop").is_visible()
    assert call.complaints == []


def test_a_second_call_follows_the_first(server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(server.url)
    for _ in range(2):
        call.go_live()
        call.press_stop()
        call.wait_for_state("stopped")
    assert call.complaints == []


@pytest.mark.timed
@pytest.mark.slow
def test_the_mouth_moves_with_the_voice_and_pictures_flow(server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(server.url)
    call.go_live()
    for attempt in attempts():
        with attempt:
            playback, mouth = measure(call.page, 12)
            assert playback.fps >= FPS_AT_LEAST, playback
            assert mouth.speech_frames > 25, mouth
            assert mouth.silence_frames > 25, mouth
            assert mouth.ratio > 2, mouth


@pytest.mark.timed
@pytest.mark.slow
def test_a_minute_flows(server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(server.url)
    call.go_live()
    for attempt in attempts():
        with attempt:
            playback, _ = measure(call.page, 60)
            assert playback.fps >= FPS_AT_LEAST, playback
            assert playback.frozen_ratio < FROZEN_BELOW, playback
    assert call.complaints == []


@pytest.mark.timed
def test_figures_fill_in(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    call.go_live()
    for figure in ("fps", "latency", "skew", "dropped", "size"):
        call.page.wait_for_function(
            "name => document.querySelector(`[data-figure=${name}]`).textContent !== '–'", arg=figure
        )
    assert "good" in call.page.get_by_test_id("hud").inner_text()


def test_the_level_follows_the_microphone(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    level = "Number(document.querySelector('[data-testid=level]').dataset.value)"
    assert call.page.evaluate(level) == 0
    call.go_live()
    call.page.wait_for_function(f"{level} > 30")
    call.press_stop()
    call.wait_for_state("stopped")
    assert call.page.evaluate(level) == 0


def test_the_microphone_is_asked_for_as_speech(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url, before=KEEP_MICROPHONES)
    call.go_live()
    wish = call.page.evaluate("microphones[0].wish")
    assert wish["video"] is False
    assert wish["audio"]["echoCancellation"] is True
    assert wish["audio"]["autoGainControl"] is True
    assert wish["audio"]["channelCount"] == 1


def test_nobody_hears_an_echo_unasked(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    muted = "document.querySelector('[data-testid=avatar-video]').muted"
    assert call.page.get_by_test_id("mute").is_checked()
    assert call.page.evaluate(muted) is True
    call.go_live()
    call.page.get_by_test_id("mute").click()
    assert call.page.evaluate(muted) is False
    assert "headphones" in call.page.locator("#sound-note").inner_text()
    call.page.reload()
    call.page.get_by_test_id("avatar-option").first.wait_for()
    assert call.page.evaluate(muted) is True, "a new visit starts muted"


def test_another_face_takes_over_in_the_call(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    call.go_live()
    second = call.page.get_by_test_id("avatar-option").nth(1)
    second.click()
    call.wait_for_status(f"and {second.inner_text().strip()} speaks with you")
    assert call.state == "live"
    assert call.complaints == []


def test_another_microphone_takes_over_in_the_call(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url, before=KEEP_MICROPHONES)
    call.go_live()
    choice = call.page.get_by_test_id("mic-select")
    call.page.wait_for_function("document.querySelector('[data-testid=mic-select]').options.length > 1")
    choice.select_option(index=1)
    call.page.wait_for_function("microphones.length === 2")
    call.page.wait_for_function("microphones[0].tracks[0].readyState === 'ended'")
    assert call.page.evaluate("microphones[1].tracks[0].readyState") == "live"
    assert call.state == "live"


def test_the_poster_is_the_chosen_avatar(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    poster = call.page.get_by_test_id("poster")
    before = poster.get_attribute("src")
    call.page.get_by_test_id("avatar-option").nth(1).click()
    assert poster.get_attribute("src") != before
    call.page.reload()
    call.page.get_by_test_id("avatar-option").first.wait_for()
    assert poster.get_attribute("src") != before, "the choice is remembered"


def test_everything_comes_from_the_server_itself(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    call.go_live()
    assert [url for url in call.requests if not url.startswith(fake_server.url)] == []
