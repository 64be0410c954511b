"""Playwright's Chromium as a `VisitedBrowser`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser.drivers.visit import Visit, hang_up

SIZE: Final[ViewportSize] = {"width": 1280, "height": 800}


class ChromiumVisit:
    """A `Visit` in a window of its own: one behind another tab draws little."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.page = page
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def go_to(self, url: str) -> None:
        self.page.goto(url)

    def evaluate(self, function: str, argument: object = None) -> Any:
        return self.page.evaluate(function, argument)

    def press(self, selector: str) -> None:
        self.page.locator(selector).first.click()


class Chromium:
    """A running Chromium.

    Args:
        browser: of Playwright.
    """

    name = "chromium"

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @contextlib.contextmanager
    def open(self, *, before: str = "") -> Iterator[Visit]:
        """See `VisitedBrowser.open`."""
        permissions = ["clipboard-read", "clipboard-write", "microphone"]
        with self._browser.new_context(viewport=SIZE, permissions=permissions) as context:
            page = context.new_page()
            if before:
                page.add_init_script(before)
            visit = ChromiumVisit(page)
            yield visit
            hang_up(visit)
