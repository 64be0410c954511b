"""Fixtures of the browser tests: a server, a browser, a page that tells on itself.

One browser and one server of a kind serve the whole run. Playwright's own loop occupies the thread from the first
page to the end, so these tests come last: the asyncio tests of other folders find the thread free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, ViewportSize

from bench.call.browser.chromium import find_chromium, launch, open_playwright
from tests.browser.drivers.chromium import Chromium
from tests.browser.drivers.firefox import Firefox, running_firefox
from tests.browser.drivers.sound_card import SoundCard, running_sound_card
from tests.browser.drivers.visit import Visit, VisitedBrowser
from tests.browser.served.servers import ROOT, ServerProcess
from tests.browser.served.voice import write_voice

HERE: Final = Path(__file__).parent
OPEN_WITHIN_MS: Final = 30_000
LIVE_WITHIN_MS: Final = 30_000
SHARED_SEATS: Final = 8
"""More than a test takes: calls of those before may be on their way out."""

OpenPage = Callable[..., "CallPage"]
"""`open_page(server.url, dark=True, phone=True, before="…")`; see `open_page` below."""
OpenVisit = Callable[..., Visit]
"""`open_visit(url, before="JavaScript that runs ahead of the page's own")`"""


def engines() -> list[Any]:
    """The small preset where its weights are in the checkout, as users have it; beside it the fake is `slow`."""
    if not (ROOT / "weights" / "small" / "student.safetensors").is_file():
        return ["fake"]
    return [pytest.param("fake", marks=pytest.mark.slow), "small"]


@pytest.hookimpl(trylast=True)  # after pytest has grouped tests by their session's fixtures
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: HERE in item.path.parents)


class CallPage:
    """The page as its user sees it, with all that it complains about.

    Attributes:
        page: Playwright's page.
        complaints: console errors and uncaught exceptions so far.
        requests: addresses asked for so far.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, url: str) -> CallPage:
        """Goes to the page and waits for its avatars."""
        self.page.goto(url)
        self.page.get_by_test_id("avatar-option").first.wait_for(timeout=OPEN_WITHIN_MS)
        return self

    def press_start(self) -> None:
        self.page.get_by_test_id("start").click()

    def press_stop(self) -> None:
        self.page.get_by_test_id("stop").click()

    def wait_for_state(self, *states: str, within_ms: int = LIVE_WITHIN_MS) -> None:
        """Waits until the call is in one of these states."""
        self.page.wait_for_function(
            "states => states.includes(document.body.dataset.state)", arg=list(states), timeout=within_ms
        )

    def wait_for_status(self, text: str, within_ms: int = LIVE_WITHIN_MS) -> None:
        """Waits until the status line says this."""
        self.page.get_by_test_id("status").filter(has_text=text).wait_for(timeout=within_ms)

    def go_live(self) -> None:
        self.press_start()
        self.wait_for_state("live", "stopped")
        assert self.state == "live", self.status

    @property
    def state(self) -> str:
        return str(self.page.evaluate("document.body.dataset.state"))

    @property
    def status(self) -> str:
        return self.page.get_by_test_id("status").inner_text()

    @property
    def first_frame_ms(self) -> float:
        """From the press on Start to the first picture on the screen, as the page measured it."""
        return float(
            self.page.evaluate("performance.measure('x', 'fada:start', 'fada:first-frame').duration")
        )

    def complaints_but(self, expected: str) -> list[str]:
        """Complaints that do not contain this text."""
        return [complaint for complaint in self.complaints if expected not in complaint]


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice") / "voice.wav")


@pytest.fixture(scope="session")
def chromium() -> Iterator[BrowserType]:
    find_chromium()
    with open_playwright() as chromium:
        yield chromium


@pytest.fixture(scope="session")
def browser(chromium: BrowserType, voice: Path) -> Iterator[Browser]:
    with launch(chromium, voice) as started:
        yield started


@pytest.fixture(scope="session")
def sound_card(voice: Path) -> Iterator[SoundCard]:
    with running_sound_card(voice) as started:
        yield started


@pytest.fixture(scope="session")
def firefox(sound_card: SoundCard) -> Iterator[Firefox]:
    """One for all tests: it holds no thread as Playwright does."""
    with running_firefox(sound_card.environment) as started:
        yield started


@pytest.fixture(scope="session", params=engines())
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server per engine."""
    if request.param == "fake":
        yield request.getfixturevalue("fake_server")
        return
    log = tmp_path_factory.mktemp("server") / "server.log"
    with ServerProcess(request.param, log) as started:
        yield started


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server without networks, for what does not depend on the engine."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    with ServerProcess("fake", log, seats=SHARED_SEATS) as started:
        yield started


def new_context(browser: Browser, *, dark: bool = False, phone: bool = False, **more: Any) -> BrowserContext:
    """A fresh profile with a desktop's or a phone's window."""
    size: ViewportSize = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
    return browser.new_context(
        viewport=size,
        device_scale_factor=2 if phone else 1,
        is_mobile=phone,
        has_touch=phone,
        color_scheme="dark" if dark else "light",
        **more,
    )


def _leave(page: Page) -> None:
    """End the call as a user does, and go: the shared server has its seat back."""
    if not page.is_closed():
        page.evaluate("document.getElementById('stop')?.click()")
        page.goto("about:blank")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens the page at an address, as often as a test likes.

    `dark` and `phone` choose the looks, `before` is JavaScript that runs before the page's own, `on` names
    another browser.
    """
    with ExitStack() as contexts:

        def open_one(url: str, *, before: str = "", on: Browser = browser, **looks: Any) -> CallPage:
            context = contexts.enter_context(new_context(on, **looks))
            page = context.new_page()
            contexts.callback(_leave, page)
            if before:
                page.add_init_script(before)
            return CallPage(page).open(url)

        yield open_one


@pytest.fixture(params=["chromium", "firefox"])
def visited(request: pytest.FixtureRequest) -> VisitedBrowser:
    """Each browser in turn."""
    if request.param == "firefox":
        found: Firefox = request.getfixturevalue("firefox")
        return found
    browser: Browser = request.getfixturevalue("browser")
    return Chromium(browser)


@pytest.fixture
def open_visit(visited: VisitedBrowser) -> Iterator[OpenVisit]:
    """Opens a page in a window of its own, as often as a test likes."""
    with ExitStack() as visits:

        def open_one(url: str, **more: str) -> Visit:
            visit = visits.enter_context(visited.open(**more))
            visit.go_to(url)
            return visit

        yield open_one
