"""Browsers of some years ago: what they lack is taken out of today's before the page loads."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage, OpenVisit
from tests.browser.drivers.call import complaints, copy_watch_link, go_live
from tests.browser.drivers.visit import wait_for, wait_for_state, wait_for_words
from tests.browser.served.servers import ServerProcess
from tests.browser.test_microphones import SPOKEN

TAKE_AWAY = """
// Newer than Chromium 103 (OBS 30), Firefox 115 or Safari 15.4.
for (const [owner, ...names] of [
  [AbortSignal, "any", "timeout"],
  [self, "structuredClone", "scheduler", "OffscreenCanvas", "RTCRtpScriptTransform", "ReportingObserver"],
  [Array.prototype, "at", "findLast", "findLastIndex", "toSorted", "toReversed", "toSpliced", "with"],
  [Array, "fromAsync"],
  [String.prototype, "replaceAll", "at", "isWellFormed"],
  [Object, "hasOwn", "groupBy"],
  [Map, "groupBy"],
  [Promise, "any", "withResolvers", "try"],
  [Set.prototype, "union", "intersection", "difference", "isSubsetOf"],
  [self.Iterator?.prototype ?? {}, "map", "filter", "toArray"],
  [HTMLVideoElement.prototype, "requestVideoFrameCallback", "cancelVideoFrameCallback"],
  [RTCRtpReceiver.prototype, "jitterBufferTarget", "playoutDelayHint"],
  [RTCRtpTransceiver.prototype, "setCodecPreferences"],
  [CanvasRenderingContext2D.prototype, "roundRect", "filter", "reset"],
  [Crypto.prototype, "randomUUID"],
]) for (const name of names) delete owner[name];
const read = RTCPeerConnection.prototype.getStats;
RTCPeerConnection.prototype.getStats = async function (...asked) {
  const report = await read.apply(this, asked);
  const rows = [...report].map(([id, row]) => [id, { ...row }]);
  for (const [, row] of rows) for (const name of ["estimatedPlayoutTimestamp", "freezeCount"]) delete row[name];
  return new Map(rows);
};
"""


def test_calls_and_viewers_do_without_what_is_newer(
    fake_server: ServerProcess, open_visit: OpenVisit
) -> None:
    call = open_visit(fake_server.url, before=TAKE_AWAY)
    assert (
        call.evaluate("() => 'any' in AbortSignal || 'roundRect' in CanvasRenderingContext2D.prototype")
        is False
    )
    go_live(call)
    wait_for(call, SPOKEN)
    wait_for(call, "() => Number(document.querySelector('[data-figure=fps]').textContent) > 5")
    call.press("[data-avatar=bruno]")
    wait_for_words(call, "Speak, and Bruno speaks with you.")
    watch = open_visit(copy_watch_link(call), before=TAKE_AWAY)
    wait_for_state(watch, "live")
    wait_for(watch, "() => document.getElementById('face').videoWidth > 0")
    call.press("#stop")
    wait_for_state(call, "stopped")
    wait_for_state(watch, "ended")
    assert complaints(call) == complaints(watch) == []


def test_one_that_lacks_what_calls_need_is_told(fake_server: ServerProcess, open_visit: OpenVisit) -> None:
    lacking = "delete AbortSignal.prototype.throwIfAborted;"
    call = open_visit(fake_server.url, before=lacking)
    wait_for_words(call, "This browser is too old")
    wait_for_words(call, "It lacks AbortSignal.throwIfAborted.")
    wait_for_words(call, "Firefox 113")
    call.press("#start")
    wait_for_words(call, "This browser is too old")
    watch = open_visit(f"{fake_server.url}watch.html?session=0123456789abcdef", before=lacking)
    wait_for_words(watch, "This browser is too old")


@pytest.mark.parametrize("place", ["", "watch.html?session=0123456789abcdef"])
def test_one_that_cannot_read_the_modules_is_told(
    fake_server: ServerProcess, open_page: OpenPage, place: str
) -> None:
    page = open_page(fake_server.url).page
    page.route("**/main.js", lambda route: route.fulfill(content_type="text/javascript", body="let let = 1;"))
    page.goto(fake_server.url + place)
    page.get_by_text("This page made a mistake").wait_for()
    assert "Reload it, or use a newer browser: Chrome" in page.locator("#status").inner_text()
    page.unroute("**/main.js")
    page.route("**/main.js", lambda route: route.abort())
    page.goto(fake_server.url + place)
    page.get_by_text("The page is not complete").wait_for()


def test_a_fault_of_the_page_itself_is_told_as_such_and_not_tried_again(
    fake_server: ServerProcess, open_visit: OpenVisit
) -> None:
    broken = (
        "RTCPeerConnection.prototype.createOffer = () => { throw new TypeError('cannot count to two'); };"
    )
    call = open_visit(fake_server.url, before=broken)
    wait_for(call, "() => document.querySelector('[data-avatar]') !== null")
    call.press("#start")
    wait_for_words(call, "This page made a mistake")
    wait_for_words(call, "TypeError: cannot count to two.")
    assert wait_for_state(call, "stopped", "retrying") == "stopped"
    watch = open_visit(f"{fake_server.url}watch.html?session=0123456789abcdef", before=broken)
    wait_for_state(watch, "ended")
    wait_for_words(watch, "TypeError: cannot count to two.")
