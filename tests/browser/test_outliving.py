"""A call outlives its connection, and so does who watches it: a reload, a lost connection, a new server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.drivers.call import STATUS, complaints, copy_watch_link, go_live
from tests.browser.drivers.visit import Visit, wait_for, wait_for_state, wait_for_words
from tests.browser.served.servers import ServerProcess

COUNT: Final = """
() => {
  // Pictures of the watch page, and how long it had none to show: neither a video with one nor the last one's copy.
  window.pictures = 0;
  window.dark = 0;
  const [face, still] = [document.getElementById("face"), document.getElementById("still")];
  const next = () => {
    window.pictures += 1;
    face.requestVideoFrameCallback(next);
  };
  face.requestVideoFrameCallback(next);
  const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const look = () => {
    const shown = still.hidden ? face : still;
    probe.clearRect(0, 0, 1, 1);
    probe.drawImage(shown, 0, 0, 1, 1);
    const [red, green, blue, alpha] = probe.getImageData(0, 0, 1, 1).data;
    if (alpha < 255 || red + green + blue < 30) window.dark += 1;
    requestAnimationFrame(look);
  };
  look();
}
"""


def watch_beside(call: Visit, open_visit: OpenVisit) -> tuple[Visit, str]:
    """A watch page that shows the call, and its address."""
    address = copy_watch_link(call)
    watch = open_visit(address)
    wait_for_state(watch, "live")
    wait_for(watch, "() => document.getElementById('face').videoWidth > 0")
    watch.evaluate(COUNT)
    wait_for(watch, "() => pictures > 10")
    return watch, address


def goes_on(watch: Visit) -> None:
    """New pictures come, and there was something to be seen all the time."""
    before = watch.evaluate("() => pictures")
    wait_for(watch, "before => pictures > before + 25 && document.body.dataset.state === 'live'", before)
    assert watch.evaluate("() => dark") == 0
    assert complaints(watch) == []


@pytest.mark.slow
def test_a_reload_of_the_callers_page(fake_server: ServerProcess, open_visit: OpenVisit) -> None:
    call = open_visit(fake_server.url)
    go_live(call)
    watch, address = watch_beside(call, open_visit)
    call.go_to(fake_server.url)
    wait_for_words(call, "Your call waits for you")
    goes_on(watch)
    assert watch.evaluate("() => document.body.dataset.state") == "live", "the face rests meanwhile"
    go_live(call)
    assert copy_watch_link(call) == address
    goes_on(watch)
    call.press("#stop")
    wait_for_state(watch, "ended")
    wait_for_words(watch, "The call has ended.")
    wait_for_words(call, "Call ended")
    go_live(call)
    assert copy_watch_link(call) != address, "a call that was ended is another one afterwards"


@pytest.mark.slow
def test_a_lost_connection_and_a_server_started_again(tmp_path: Path, open_visit: OpenVisit) -> None:
    with ServerProcess("fake", tmp_path / "server.log") as server:
        call = open_visit(server.url)
        go_live(call)
        watch, address = watch_beside(call, open_visit)
        server.kill()
        wait_for_state(call, "retrying")
        wait_for_state(watch, "retrying")
        server.start()
        wait_for_state(call, "live")
        assert copy_watch_link(call) == address
        wait_for_state(watch, "live")
        goes_on(watch)


def test_a_call_that_begins_after_its_viewer(fake_server: ServerProcess, open_visit: OpenVisit) -> None:
    call = open_visit(fake_server.url)
    go_live(call)
    address = copy_watch_link(call)
    call.evaluate("() => { window.kept = sessionStorage.getItem('fada.call'); }")
    kept = call.evaluate("() => window.kept")
    call.press("#stop")
    wait_for_state(call, "stopped")
    watch = open_visit(address)
    wait_for_state(watch, "ended")
    wait_for_words(watch, "There is no such call.")
    call.evaluate("kept => sessionStorage.setItem('fada.call', kept)", kept)
    go_live(call)
    wait_for_state(watch, "live")


def test_a_second_window_takes_the_call_over(fake_server: ServerProcess, open_visit: OpenVisit) -> None:
    first, second = open_visit(fake_server.url), open_visit(fake_server.url)
    go_live(first)
    secret = first.evaluate("() => sessionStorage.getItem('fada.call')")
    second.evaluate("secret => sessionStorage.setItem('fada.call', secret)", secret)
    go_live(second)
    wait_for_words(first, "The call goes on elsewhere")
    assert wait_for_state(first, "stopped", "retrying") == "stopped", first.evaluate(STATUS)
