"""The watch page beside a call: the same moving face, sound after a tap, plain words at the end."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request

from models.face import CANVAS_PX, MOUTH_LINE_Y
from tests.browser.conftest import CallPage, OpenPage, new_context
from tests.browser.served.servers import ServerProcess
from tests.machine_time import attempts

OpenWatch = Callable[..., CallPage]
"""`open_watch(address, before="JavaScript that runs before the page's own")`"""

LOADING_FAILED: Final = "Failed to load resource"
UNKNOWN: Final = "0123456789abcdef"
SAMPLED_S: Final = 8
STEP_S: Final = 0.02
SAMPLE = """
([selector, box]) => {
  // The mean luma of the mouth, with the time, for every picture shown from now on.
  const video = document.querySelector(selector);
  const context = new OffscreenCanvas(64, 64).getContext("2d", { willReadFrequently: true });
  window.rows = [];
  const next = () => {
    const scale = video.videoWidth;
    context.drawImage(video, ...box.map((edge) => edge * scale), 0, 0, 64, 64);
    const { data } = context.getImageData(0, 0, 64, 64);
    let sum = 0;
    for (let k = 0; k < data.length; k += 4) sum += 0.299 * data[k] + 0.587 * data[k + 1] + 0.114 * data[k + 2];
    rows.push([Date.now() / 1000, sum / 4096]);
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}
"""
WANTS_A_PRESS: Final = """
// As browsers do that let no page be heard unasked; to the one under test, Playwright's questions are presses.
let pressed = false;
addEventListener("pointerdown", () => { pressed = true; }, true);
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  if (this.muted || pressed) return play.call(this);
  return Promise.reject(new DOMException("not yet", "NotAllowedError"));
};
"""
MOUTH_BOX: Final = [(CANVAS_PX / 2 - 28) / CANVAS_PX, (MOUTH_LINE_Y - 12) / CANVAS_PX, 56 / CANVAS_PX, 0.16]


def go_live(call: CallPage) -> str:
    """Start the call, press the button, and return what the clipboard then holds."""
    call.page.context.grant_permissions(["clipboard-read", "clipboard-write"])  # takes all others away: first
    call.go_live()
    button = call.page.get_by_test_id("watch-link")
    call.page.wait_for_function("document.querySelector('[data-testid=watch-link]').disabled === false")
    button.click()
    button.filter(has_text="Link copied").wait_for()
    return str(call.page.evaluate("navigator.clipboard.readText()"))


@pytest.fixture
def open_watch(browser: Browser) -> Iterator[OpenWatch]:
    """Opens the watch page in a window of its own: one behind another tab draws little."""
    with ExitStack() as contexts:

        def open_one(address: str, before: str = "") -> CallPage:
            page = contexts.enter_context(new_context(browser)).new_page()
            if before:
                page.add_init_script(before)
            watch = CallPage(page)
            page.goto(address)
            return watch

        yield open_one


def wait_for_picture(watch: CallPage) -> None:
    watch.wait_for_state("live")
    watch.page.wait_for_function("document.querySelector('video').videoWidth > 0")


def mouth_over_time(page: Page, times: np.ndarray) -> np.ndarray:
    rows = np.asarray(page.evaluate("rows"), dtype=np.float64)
    return np.interp(times, rows[:, 0], rows[:, 1])


def assert_moves_alike(caller: Page, viewer: Page) -> None:
    """The mouth seen by both over the next seconds; each window has its own jitter buffer."""
    for page in (caller, viewer):
        page.evaluate("() => { rows.length = 0; }")
    viewer.wait_for_timeout(1000 * SAMPLED_S)
    begin, end = viewer.evaluate("rows.at(0)[0]"), viewer.evaluate("rows.at(-1)[0]")
    assert viewer.evaluate("rows.length") > 5 * SAMPLED_S
    times = np.arange(begin + 1, end - 1, STEP_S)
    seen = mouth_over_time(viewer, times)
    assert seen.std() > 1, "the mouth moves"
    lags_s = np.arange(-1, 1.001, STEP_S)
    scores = [np.corrcoef(seen, mouth_over_time(caller, times + lag_s))[0, 1] for lag_s in lags_s]
    assert max(scores) > 0.7, max(scores)
    assert abs(lags_s[int(np.argmax(scores))]) < 0.5


@pytest.mark.timed
@pytest.mark.slow
def test_the_watch_page_shows_the_same_moving_face(
    fake_server: ServerProcess, open_page: OpenPage, open_watch: OpenWatch
) -> None:
    call = open_page(fake_server.url)
    assert call.page.get_by_test_id("watch-link").is_disabled(), "there is nothing to watch yet"
    address = go_live(call)
    assert address.startswith(f"{fake_server.url}watch.html?session=")
    watch = open_watch(address)
    wait_for_picture(watch)
    call.page.evaluate(SAMPLE, ["[data-testid=avatar-video]", MOUTH_BOX])
    watch.page.evaluate(SAMPLE, ["[data-testid=watch-video]", MOUTH_BOX])
    for attempt in attempts():
        with attempt:
            assert_moves_alike(call.page, watch.page)
    size = "[document.querySelector('video').videoWidth, document.querySelector('video').videoHeight]"
    assert watch.page.evaluate(size) == call.page.evaluate(size)
    assert not watch.page.get_by_test_id("watch-status").is_visible()
    call.page.get_by_test_id("details-open").click()
    viewers = call.page.locator("[data-part=counts] tr").filter(has_text="Others who watch")
    viewers.filter(has_text="1").wait_for()
    assert call.complaints == watch.complaints == []
    assert [url for url in watch.requests if not url.startswith(fake_server.url)] == []


def test_only_the_face_on_nothing_edge_to_edge(
    fake_server: ServerProcess, open_page: OpenPage, open_watch: OpenWatch
) -> None:
    call = open_page(fake_server.url)
    watch = open_watch(go_live(call))
    watch.page.set_viewport_size({"width": 640, "height": 360})
    wait_for_picture(watch)
    watch.page.wait_for_timeout(300)
    shot = watch.page.screenshot(omit_background=True)
    alpha = np.asarray(Image.open(io.BytesIO(shot)).convert("RGBA"))[..., 3]
    assert (alpha[:, :135] == 0).all() and (alpha[:, 505:] == 0).all()
    assert (alpha[[0, -1], 145:495] == 255).all(), "the square face reaches from edge to edge"


def test_sound_comes_with_a_tap_where_the_browser_wants_one(
    fake_server: ServerProcess, open_page: OpenPage, open_watch: OpenWatch
) -> None:
    call = open_page(fake_server.url)
    watch = open_watch(go_live(call), WANTS_A_PRESS)
    wait_for_picture(watch)
    muted = "document.querySelector('video').muted"
    sound = watch.page.get_by_test_id("sound")
    sound.wait_for()
    assert watch.page.evaluate(muted) is True
    box = sound.bounding_box()
    assert box is not None and box["height"] >= 44
    sound.click()
    sound.wait_for(state="hidden")
    assert watch.page.evaluate(muted) is False
    assert watch.page.evaluate("document.querySelector('video').paused") is False
    assert watch.complaints == []


def test_where_sound_is_allowed_it_is_on_from_the_start(
    fake_server: ServerProcess, open_page: OpenPage, open_watch: OpenWatch
) -> None:
    call = open_page(fake_server.url)
    watch = open_watch(go_live(call))
    wait_for_picture(watch)
    assert watch.page.evaluate("document.querySelector('video').muted") is False
    assert watch.page.evaluate("document.querySelector('video').paused") is False
    assert not watch.page.get_by_test_id("sound").is_visible()


@pytest.mark.slow
def test_the_end_of_the_call_is_said_in_plain_words(
    fake_server: ServerProcess, open_page: OpenPage, open_watch: OpenWatch
) -> None:
    call = open_page(fake_server.url)
    watch = open_watch(go_live(call))
    wait_for_picture(watch)
    call.press_stop()
    call.wait_for_state("stopped")
    assert call.page.get_by_test_id("watch-link").is_disabled()
    watch.wait_for_state("ended")
    status = watch.page.get_by_test_id("watch-status")
    assert "The call has ended." in status.inner_text()
    assert not watch.page.get_by_test_id("sound").is_visible()
    watch.page.reload()
    watch.wait_for_state("ended")
    assert "There is no such call." in status.inner_text()
    assert watch.complaints_but(LOADING_FAILED) == []


def test_links_that_lead_nowhere_say_so(fake_server: ServerProcess, open_watch: OpenWatch) -> None:
    for query, words in ((f"?session={UNKNOWN}", "There is no such call."), ("", "No call in this address.")):
        watch = open_watch(f"{fake_server.url}watch.html{query}")
        watch.wait_for_state("ended")
        assert words in watch.page.get_by_test_id("watch-status").inner_text()
        assert watch.complaints_but(LOADING_FAILED) == []


@pytest.mark.slow
def test_a_lost_connection_comes_back_while_the_call_lives(
    fake_server: ServerProcess, open_page: OpenPage, open_watch: OpenWatch
) -> None:
    call = open_page(fake_server.url)
    address = go_live(call)
    session = address.rpartition("=")[2]
    watch = open_watch("about:blank")
    viewers: list[str] = []

    def note(request: Request) -> None:
        response = request.response()
        if request.url.endswith("/viewers") and response is not None:
            viewers.append(json.loads(response.body())["viewer_id"])

    watch.page.on("requestfinished", note)
    watch.page.goto(address)
    wait_for_picture(watch)
    url = f"{fake_server.url}sessions/{session}/viewers/{viewers[0]}"
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=5) as answer:
        assert answer.status == 204
    with watch.page.expect_response("**/viewers", timeout=10_000) as again:
        pass
    assert again.value.status == 200
    watch.page.evaluate("window.seen = 0")
    watch.page.evaluate(
        """() => {
            const video = document.querySelector("video");
            const next = () => { window.seen += 1; video.requestVideoFrameCallback(next); };
            video.requestVideoFrameCallback(next);
        }"""
    )
    watch.page.wait_for_function("window.seen > 20")
    assert watch.state == "live"
