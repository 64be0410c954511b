"""Everything that can go wrong has its sentence, and what can mend itself does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserType, Route

from bench.call.browser.chromium import launch
from tests.browser.conftest import OpenPage
from tests.browser.served.servers import ServerProcess

LOADING_FAILED = "Failed to load resource"  # the browser's own line for every answer of 400 and above
NO_MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("none", "%s"); };
"""


@pytest.mark.slow
def test_refused_microphone(fake_server: ServerProcess, open_page: OpenPage, chromium: BrowserType) -> None:
    with launch(chromium, None, refuse_microphone=True) as refusing:
        call = open_page(fake_server.url, on=refusing)
        call.press_start()
        call.wait_for_status("Microphone not allowed")
        assert "press Start again" in call.status
        assert call.state == "stopped"
        assert call.complaints == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("NotFoundError", "No microphone found"), ("NotReadableError", "The microphone is taken")],
)
def test_microphone_that_does_not_open(
    fake_server: ServerProcess, open_page: OpenPage, name: str, sentence: str
) -> None:
    call = open_page(fake_server.url, before=NO_MICROPHONE % name)
    call.press_start()
    call.wait_for_status(sentence)
    assert call.page.get_by_test_id("start").is_visible()
    assert call.complaints == []


def test_insecure_address(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url.replace("127.0.0.1", "fada.test"))
    assert "not secure" in call.status
    call.press_start()
    call.wait_for_state("stopped")
    assert "https://" in call.status


@pytest.mark.slow
def test_server_full(open_page: OpenPage, tmp_path: Path) -> None:
    with ServerProcess("fake", tmp_path / "server.log", seats=1) as server:
        first, second = open_page(server.url), open_page(server.url)
        first.go_live()
        second.press_start()
        second.wait_for_status("Every seat is taken")
        assert second.state == "stopped"
        assert second.complaints_but(LOADING_FAILED) == []
        assert first.state == "live", "the running call goes on"
        first.press_stop()
        first.wait_for_state("stopped")
        second.go_live()


@pytest.mark.slow
def test_another_face_with_a_single_seat(open_page: OpenPage, tmp_path: Path) -> None:
    with ServerProcess("fake", tmp_path / "server.log", seats=1) as server:
        call = open_page(server.url)
        call.go_live()
        second = call.page.get_by_test_id("avatar-option").nth(1)
        second.click()
        call.wait_for_status(f"and {second.inner_text().strip()} speaks with you")


def test_server_not_ready_at_first(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    refusals = iter(range(2))

    def answer(route: Route) -> None:
        if next(refusals, None) is None:
            route.continue_()
        else:
            route.fulfill(status=503, json={"error": "not_ready", "message": "The engine warms up."})

    call.page.route("**/offer", answer)
    call.press_start()
    call.wait_for_status("The server is warming up")
    assert "Trying again" in call.status
    call.wait_for_state("live")
    assert call.complaints_but(LOADING_FAILED) == []


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (404, {"error": "unknown_avatar", "message": "No such avatar."}, "That face is not here"),
        (400, {"error": "bad_offer", "message": "The offer has no audio."}, "The offer has no audio."),
        (413, {"error": "too_large", "message": "Too many bytes."}, "Too many bytes."),
        (418, ["?"], "It answered with status 418."),
        (200, {"type": "answer"}, "something that is not a call"),
    ],
)
def test_refusals(
    fake_server: ServerProcess, open_page: OpenPage, status: int, body: object, sentence: str
) -> None:
    call = open_page(fake_server.url)
    call.page.route("**/offer", lambda route: route.fulfill(status=status, json=body))
    call.press_start()
    call.wait_for_status(sentence)
    assert call.state == "stopped"
    assert call.complaints_but(LOADING_FAILED) == []


@pytest.mark.slow
def test_killed_server_is_found_again(open_page: OpenPage, tmp_path: Path) -> None:
    with ServerProcess("fake", tmp_path / "server.log") as server:
        call = open_page(server.url)
        call.go_live()
        server.kill()
        call.wait_for_status("Connection lost")
        assert "Trying again" in call.status
        call.wait_for_status("The server does not answer")
        server.start()
        call.wait_for_state("live", within_ms=30_000)
        assert "You are live" in call.status
        assert call.complaints_but(LOADING_FAILED) == []


def test_stopped_server_is_noticed_at_once(open_page: OpenPage, tmp_path: Path) -> None:
    with ServerProcess("fake", tmp_path / "server.log") as server:
        call = open_page(server.url)
        call.go_live()
        server.stop()
        call.wait_for_state("retrying", within_ms=3000)
        call.press_stop()
        call.wait_for_state("stopped")
        assert "Call ended" in call.status, "Stop ends the new tries too"


def test_few_pictures_are_spoken_of(fake_server: ServerProcess, open_page: OpenPage) -> None:
    slow_down = """
    const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
    HTMLVideoElement.prototype.requestVideoFrameCallback = function (seen) {
      return ask.call(this, (...row) => setTimeout(() => seen(...row), 500));
    };
    """
    call = open_page(fake_server.url, before=slow_down)
    call.go_live()
    call.wait_for_status("Few pictures come through")
    assert call.state == "live"


def test_avatars_that_come_late(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    failures = iter(range(2))

    def answer(route: Route) -> None:
        if next(failures, None) is None:
            route.continue_()
        else:
            route.abort()

    call.page.route("**/avatars", answer)
    call.page.reload()
    call.wait_for_status("The server does not answer")
    call.wait_for_status("Ready when you are")


def test_picture_held_back_by_the_browser(fake_server: ServerProcess, open_page: OpenPage) -> None:
    refuse = """
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
      HTMLMediaElement.prototype.play = play;
      return Promise.reject(new DOMException("not yet", "NotAllowedError"));
    };
    """
    call = open_page(fake_server.url, before=refuse)
    call.press_start()
    button = call.page.get_by_test_id("unblock")
    button.wait_for()
    button.click()
    button.wait_for(state="hidden")
    call.wait_for_state("live")


@pytest.mark.slow
def test_no_way_through_the_network_is_explained(fake_server: ServerProcess, open_page: OpenPage) -> None:
    """Each end is told that the other is where nobody is."""
    call = open_page(fake_server.url)

    def misdirect(text: str) -> str:
        return re.sub(r"(a=candidate:\S+ 1 udp \S+ )\S+ \d+", r"\g<1>192.0.2.1 9", text, flags=re.IGNORECASE)

    def answer(route: Route) -> None:
        sent = route.request.post_data or ""
        came = route.fetch(post_data=misdirect(sent))
        route.fulfill(response=came, body=misdirect(came.text()))

    call.page.route("**/offer", answer)
    call.press_start()
    call.wait_for_status("No way through the network", within_ms=40_000)
    call.wait_for_status("A firewall blocks UDP")
    assert "Trying again" in call.status
    call.press_stop()
    call.wait_for_state("stopped")


def test_the_servers_ice_servers_are_used(fake_server: ServerProcess, open_page: OpenPage) -> None:
    note = """
    const Real = RTCPeerConnection;
    window.asked = [];
    window.RTCPeerConnection = class extends Real {
      constructor(config) { super(config); window.asked.push(config.iceServers); }
    };
    """
    call = open_page(fake_server.url, before=note)
    servers = [
        {"urls": "stun:127.0.0.1:9"},
        {"urls": "turn:127.0.0.1:9", "username": "ada", "credential": "secret"},
        {"urls": "http://127.0.0.1/"},
    ]
    call.page.route("**/config", lambda route: route.fulfill(json={"protocol": 1, "ice_servers": servers}))
    call.page.reload()
    call.page.get_by_test_id("avatar-option").first.wait_for()
    call.go_live()
    assert call.page.evaluate("asked") == [servers[:2]]
