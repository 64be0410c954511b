"""A call page as its user works it, in whichever browser."""

from __future__ import annotations

from typing import Final

from tests.browser.drivers.visit import Visit, wait_for, wait_for_state

LOADING_FAILED: Final = "Failed to load resource"
"""Chromium's own line for every answer of 400 and above."""
HAS_FACES: Final = "() => document.querySelector('[data-testid=avatar-option] input') !== null"
STATUS: Final = "() => document.getElementById('status').innerText"


def go_live(call: Visit) -> None:
    """Press Start and wait for the first picture."""
    wait_for(call, HAS_FACES)
    call.press("#start")
    state = wait_for_state(call, "live", "stopped")
    assert state == "live", call.evaluate(STATUS)


def copy_watch_link(call: Visit) -> str:
    """What the clipboard holds after the button was pressed."""
    wait_for(call, "() => !document.getElementById('watch-link').disabled")
    call.press("#watch-link")
    wait_for(call, "() => document.getElementById('watch-link').innerText.includes('Link copied')")
    return str(call.evaluate("() => navigator.clipboard.readText()"))


def complaints(visit: Visit) -> list[str]:
    """What the page complained about, but for refusals that it has words for."""
    return [words for words in visit.complaints if LOADING_FAILED not in words]
