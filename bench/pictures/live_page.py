"""The live page, filmed: a real server, a real Chromium, a spoken file for a microphone.

In: a server's address and the microphone's file. Out: what the page looked like, frame by frame, and the watch page
as OBS shows it. The film is Chromium's own screencast, whose pictures carry the time at which they were composed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from bench.call.browser.chromium import launch

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, BrowserType, Page

VIEW = {"width": 1120, "height": 740}
SCENE = {"width": 640, "height": 400}
JPEG_QUALITY = 88
EVERY_NTH = 3  # of the 60 pictures a second that a browser composes; each one costs it time
SETTLED_S = 5.0
SCENES = 16
LAST_SHOWN = '[".mic", ".actions"].map((part) => document.querySelector(part).getBoundingClientRect().bottom)'
FIGURE_FPS, FIGURE_MS = '[data-figure="fps"]', '[data-figure="latency"]'

SCENE_PAGE = """<!doctype html><style>
  body { margin: 0; width: 640px; height: 400px; background: linear-gradient(135deg, #22304d, #101624);
         overflow: hidden; font: 600 30px/1.2 Georgia, serif; color: #f3ece0 }
  h1 { font: inherit; margin: 44px 0 0 44px; width: 300px }
  p { font: 400 16px/1.5 sans-serif; margin: 16px 0 0 44px; width: 270px; color: #b9c2d6 }
  hr { border: 0; height: 4px; width: 64px; margin: 20px 0 0 44px; background: #e5533a }
  iframe { position: absolute; right: 28px; bottom: 28px; width: 264px; height: 264px;
           border: 0; border-radius: 18px }
  small { position: absolute; left: 44px; bottom: 36px; font: 400 14px sans-serif; color: #8d98b3 }
</style><h1>Your slide, game or desktop</h1><hr><p>The face in its corner: one link, picture and voice.</p>
<small>a browser source of 512 &times; 512</small><iframe src="ADDRESS" allow="autoplay"></iframe>"""


@dataclass(slots=True)
class Film:
    """What was filmed.

    Attributes:
        times_s: when each picture was composed.
        jpegs: the pictures.
        readings: (time, pictures a second, latency in ms) as the page shows them, twice a second.
        scenes: the watch page in a scene, at some moments.
        height_px: where the page is cut: below the microphone, above what the window would halve.
    """

    times_s: list[float] = field(default_factory=list)
    jpegs: list[bytes] = field(default_factory=list)
    readings: list[tuple[float, float, float]] = field(default_factory=list)
    scenes: list[Image.Image] = field(default_factory=list)
    height_px: int = VIEW["height"]

    def picture(self, index: int) -> Image.Image:
        """One of them, as RGB."""
        whole = Image.open(io.BytesIO(self.jpegs[index])).convert("RGB")
        return whole.crop((0, 0, whole.width, min(whole.height, self.height_px)))

    def between(self, begin_s: float, end_s: float) -> list[Image.Image]:
        """Those composed in a stretch of time."""
        inside = (index for index, time_s in enumerate(self.times_s) if begin_s <= time_s <= end_s)
        return [self.picture(index) for index in inside]


def film_call(
    playwright: BrowserType, url: str, voice: Path, avatar: str, seconds: float, figures: bool
) -> Film:
    """Call the server, film the page, and look at the watch page.

    Args:
        playwright: of `bench.call.browser.chromium.open_playwright`.
        url: of the server.
        voice: the microphone, played round and round.
        avatar: who speaks, by id.
        seconds: length of the film.
        figures: whether the page shows its live figures.
    """
    browser = launch(playwright, voice)
    try:
        context = browser.new_context(viewport=VIEW, color_scheme="light")  # type: ignore[arg-type]
        context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(url)
        page.locator(f'[data-testid="avatar-option"][data-avatar="{avatar}"]').click()
        toggle = page.get_by_test_id("hud-toggle")
        if (toggle.get_attribute("aria-pressed") == "true") != figures:
            toggle.click()
        page.get_by_test_id("start").click()
        page.wait_for_selector('body[data-state="live"]', timeout=30_000)
        page.wait_for_timeout(SETTLED_S * 1000)
        film = Film()
        if not figures:
            film.height_px = round(page.evaluate(f"Math.max(...{LAST_SHOWN})"))
        _film(context, page, film, seconds)
        film.scenes = _watch_scenes(context, page)
        return film
    finally:
        browser.close()


def _film(context: BrowserContext, page: Page, film: Film, seconds: float) -> None:
    session = context.new_cdp_session(page)
    session.on("Page.screencastFrame", _keeper(film, session))
    session.send(
        "Page.startScreencast", {"format": "jpeg", "quality": JPEG_QUALITY, "everyNthFrame": EVERY_NTH}
    )
    for _ in range(round(seconds * 2)):
        page.wait_for_timeout(500)
        shown = [page.locator(figure).first.text_content() or "" for figure in (FIGURE_FPS, FIGURE_MS)]
        numbers = [float(text) if text.replace(".", "").isdigit() else 0.0 for text in shown]
        if film.times_s:
            film.readings.append((film.times_s[-1], numbers[0], numbers[1]))
    session.send("Page.stopScreencast")


def _keeper(film: Film, session: Any) -> Callable[[dict[str, Any]], None]:
    def keep(event: dict[str, Any]) -> None:
        film.times_s.append(float(event["metadata"]["timestamp"]))
        film.jpegs.append(base64.b64decode(event["data"]))
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    return keep


def _watch_scenes(context: BrowserContext, page: Page) -> list[Image.Image]:
    """The watch page as a source of a scene, at some moments of speech and silence."""
    page.get_by_test_id("watch-link").click()
    page.wait_for_timeout(500)
    address = str(page.evaluate("navigator.clipboard.readText()"))
    scene = context.new_page()
    scene.set_viewport_size(SCENE)  # type: ignore[arg-type]
    scene.set_content(SCENE_PAGE.replace("ADDRESS", address))
    scene.wait_for_timeout(2500)
    shots = []
    for _ in range(SCENES):
        scene.wait_for_timeout(200)
        shots.append(Image.open(io.BytesIO(scene.screenshot())).convert("RGB"))
    return shots
