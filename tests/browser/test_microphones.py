"""Microphones that come, go and do not open, in both browsers: the call goes on, and says what it does."""

from __future__ import annotations

from typing import Final

import pytest

from tests.browser.conftest import OpenVisit
from tests.browser.drivers.call import STATUS, complaints, go_live
from tests.browser.drivers.firefox import Firefox
from tests.browser.drivers.sound_card import MICROPHONE, SoundCard
from tests.browser.drivers.visit import Visit, wait_for, wait_for_state, wait_for_words
from tests.browser.served.servers import ServerProcess

RIGGED: Final = """
// `refusal` is the name of the error that the next questions for a microphone get.
window.microphones = [];
window.refusal = null;
const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (ask) navigator.mediaDevices.getUserMedia = async (wish) => {
  if (window.refusal) throw new DOMException("none", window.refusal);
  const stream = await ask(wish);
  window.microphones.push(stream.getAudioTracks()[0]);
  return stream;
};
"""
END_IT: Final = """
() => {
  const track = microphones[microphones.length - 1];
  track.dispatchEvent(new Event("ended"));
  track.stop(); // which tells nobody by itself
}
"""
STATES: Final = "() => microphones.map((track) => track.readyState)"
HEARD: Final = "() => Number(document.getElementById('level').dataset.value) > 30"
SPOKEN: Final = "() => document.body.dataset.speaking === 'true'"
SEEN: Final = """
() => new Promise((resolve) => document.querySelector("video").requestVideoFrameCallback(() => resolve(true)))
"""
FOUND: Final = """
name => 1 + [...document.getElementById("mic").options].findIndex(({ text }) => text.includes(name))
"""
CHOOSE: Final = """
at => {
  const mic = document.getElementById("mic");
  mic.selectedIndex = at;
  mic.dispatchEvent(new Event("change"));
}
"""
NOTE: Final = "() => document.getElementById('mic-note').innerText"


def still_live(call: Visit) -> None:
    """Pictures go on coming, and nothing was complained of."""
    assert call.evaluate(SEEN) is True
    assert wait_for_state(call, "live", "stopped", "retrying") == "live"
    assert complaints(call) == []


@pytest.mark.slow
def test_one_that_ends_gives_way_to_the_default_one(
    fake_server: ServerProcess, open_visit: OpenVisit
) -> None:
    call = open_visit(fake_server.url, before=RIGGED)
    go_live(call)
    wait_for(call, SPOKEN)
    call.evaluate(END_IT)
    wait_for_words(call, "Your voice now comes from")
    assert call.evaluate(STATES) == ["ended", "live"]
    wait_for(call, HEARD)
    wait_for(call, SPOKEN)
    wait_for_words(call, "You are live")
    still_live(call)


def test_without_any_the_call_goes_on_in_silence_until_one_is_there(
    fake_server: ServerProcess, open_visit: OpenVisit
) -> None:
    call = open_visit(fake_server.url, before=RIGGED)
    go_live(call)
    call.evaluate("() => { window.refusal = 'NotFoundError'; }")
    call.evaluate(END_IT)
    wait_for_words(call, "The call goes on in silence.")
    assert call.evaluate(STATES) == ["ended"]
    assert call.evaluate(NOTE) == "None. The face goes on in silence."
    still_live(call)
    call.evaluate("() => { window.refusal = null; }")
    call.evaluate("() => navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    wait_for_words(call, "Your voice now comes from")
    wait_for(call, SPOKEN)
    still_live(call)


def test_one_that_does_not_open_leaves_the_one_before(
    fake_server: ServerProcess, open_visit: OpenVisit
) -> None:
    call = open_visit(fake_server.url, before=RIGGED)
    go_live(call)
    before = call.evaluate("() => document.getElementById('mic').value")
    call.evaluate("() => { window.refusal = 'NotReadableError'; }")
    choose = """
    () => {
      const choice = document.getElementById("mic");
      choice.append(new Option("Broken", "broken"));
      choice.value = "broken";
      choice.dispatchEvent(new Event("change"));
    }
    """
    call.evaluate(choose)
    wait_for_words(call, "The microphone is taken. The one before stays on.")
    assert "That microphone does not open" in call.evaluate(STATUS)
    wait_for(
        call,
        "before => [before, microphones[0].getSettings().deviceId].includes(document.getElementById('mic').value)",
        before,
    )
    assert call.evaluate(STATES) == ["live"]
    assert call.evaluate("() => localStorage.getItem('fada.microphone')") != "broken"
    wait_for(call, SPOKEN)
    still_live(call)


@pytest.mark.slow
def test_one_that_was_never_heard_is_the_headline(fake_server: ServerProcess, open_visit: OpenVisit) -> None:
    mute = (
        RIGGED
        + """
    if (ask) {
      const open = navigator.mediaDevices.getUserMedia;
      navigator.mediaDevices.getUserMedia = async (wish) => {
        const stream = await open(wish);
        stream.getAudioTracks()[0].enabled = false;
        return stream;
      };
    }
    """
    )
    call = open_visit(fake_server.url, before=mute)
    go_live(call)
    wait_for_words(call, "Nothing is heard")
    call.evaluate("() => { microphones[0].enabled = true; }")
    wait_for_words(call, "You are live")
    still_live(call)


@pytest.mark.slow
def test_a_real_one_is_unplugged(fake_server: ServerProcess, firefox: Firefox, sound_card: SoundCard) -> None:
    second = sound_card.plug_in("headset")
    try:
        with firefox.open(before=RIGGED) as call:
            call.go_to(fake_server.url)
            go_live(call)
            call.evaluate(CHOOSE, wait_for(call, FOUND, "headset") - 1)
            wait_for(call, "() => microphones.length === 2 && microphones[0].readyState === 'ended'")
            sound_card.unplug(second)
            second = []
            wait_for_words(call, f"Your voice now comes from “{MICROPHONE}”")
            wait_for(call, SPOKEN)
            still_live(call)
    finally:
        sound_card.unplug(second)
