"""What a test does with a page, whichever browser shows it.

In: addresses, JavaScript, presses. Out: what the page answers, and all that it complained about.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, Final, Protocol

WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.05


class Visit(Protocol):
    """One window with one page.

    Attributes:
        complaints: console errors and warnings, and uncaught exceptions, so far.
    """

    complaints: list[str]

    def go_to(self, url: str) -> None:
        """Loads an address, or loads it again."""

    def evaluate(self, function: str, argument: object = None) -> Any:
        """What a JavaScript function expression answers; promises are waited for, undefined is None."""

    def press(self, selector: str) -> None:
        """A real press of the pointer on the first element found."""


class VisitedBrowser(Protocol):
    """A running browser.

    Attributes:
        name: "chromium" or "firefox".
    """

    name: str

    def open(self, *, before: str = "") -> contextlib.AbstractContextManager[Visit]:
        """A window of a fresh profile, closed when the block ends.

        Args:
            before: JavaScript that runs ahead of every page's own.
        """


def wait_for(visit: Visit, function: str, argument: object = None, *, within_s: float = WITHIN_S) -> Any:
    """Asks until the answer is true.

    Args:
        visit: whom to ask.
        function: JavaScript function expression.
        argument: of the function.
        within_s: how long at most.

    Returns:
        The answer.

    Raises:
        TimeoutError: with the page's own words.
    """
    limit = time.monotonic() + within_s
    while True:
        found = visit.evaluate(function, argument)
        if found:
            return found
        if time.monotonic() > limit:
            raise TimeoutError(
                f"expected {function} with {argument!r} within {within_s} s, got {found!r}; "
                f"the page says: {visit.evaluate('() => document.body.innerText')!r}; "
                f"it complained of {visit.complaints}"
            )
        time.sleep(LOOK_EVERY_S)


def wait_for_state(visit: Visit, *states: str, within_s: float = WITHIN_S) -> str:
    """Waits until the page is in one of these states; both pages keep theirs on the body."""
    found = "states => states.includes(document.body.dataset.state) && document.body.dataset.state"
    return str(wait_for(visit, found, list(states), within_s=within_s))


def wait_for_words(visit: Visit, words: str, within_s: float = WITHIN_S) -> None:
    """Waits until the status line says this."""
    wait_for(
        visit,
        "words => document.getElementById('status').innerText.includes(words)",
        words,
        within_s=within_s,
    )


def hang_up(visit: Visit) -> None:
    """Ends a call that is still on, so that a shared server has its seat back."""
    visit.evaluate("() => document.getElementById('stop')?.click()")
