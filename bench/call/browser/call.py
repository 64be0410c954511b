"""The end-to-end measurement in a real Chromium: the real page, its Start button, a WAV file for a microphone.

In flow a server's address and a `CallPlan`; out flows a `Recording`, whose every moment is on the page's one
clock, `performance.now()`, and the time of the first picture after each of several presses on Start. What is said
is tapped where the browser hands the microphone to WebRTC, after its echo canceller; what is heard where it plays
the returned voice; what is seen at the moment when the browser expects the picture on the screen
(`page_probe.js`).

Playwright holds this thread; relays, where they are asked for, live in one of their own
(`bench.call.relay_thread`).
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from bench.call.browser.chromium import launch, open_playwright
from bench.call.bursts import MIC_RATE_HZ, PACKET_SAMPLES, VOWEL_S, BurstPlan
from bench.call.call_plan import CallPlan
from bench.call.microphone import find_onsets, write_microphone
from bench.call.recording import MOUTH_VIEW, Recording
from bench.call.relay import without_candidates
from bench.call.relay_thread import RelayThread
from models.face import CANVAS_PX

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

PROBE: Final = Path(__file__).with_name("page_probe.js")
VIDEO: Final = "[data-testid=avatar-video]"
LIVE_WITHIN_MS: Final = 20_000
TAKE_EVERY_S: Final = 0.5
"""Little at a time: two seconds' worth kept a small machine busy for so long that windows queued up."""
SKEW_EVERY: Final = 4  # takes
STARTS_APART_MS: Final = 400
_END_S: Final = 1.0  # after the last vowel
_LONG_VOWEL: Final = 0.75  # share of a long vowel's length that tells it from a syllable


class BrowserCallError(Exception):
    """The browser's call did not come about; the message is a sentence for the user."""


@dataclass(slots=True)
class _Heard:
    """Blocks of one sound, with the moment of each."""

    times_ms: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    pieces: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def take(self, told: dict[str, Any]) -> None:
        if told["lengths"] and told["rate_hz"] != MIC_RATE_HZ:
            raise BrowserCallError(f"expected sound at {MIC_RATE_HZ} Hz in the page, got {told['rate_hz']}.")
        self.times_ms += told["at_ms"]
        self.lengths += told["lengths"]
        pcm = np.frombuffer(base64.b64decode(told["pcm"]), "<i2")
        self.pieces.append((pcm / 32767).astype(np.float32))

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.float32)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum([0, *self.lengths])[:-1].astype(np.int64)

    def time_s(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """When samples passed, (N,) seconds: their block's moment and their place in it."""
        starts = self.starts
        block = np.clip(np.searchsorted(starts, positions, side="right") - 1, 0, len(starts) - 1)
        return np.asarray(self.times_ms)[block] / 1e3 + (positions - starts[block]) / MIC_RATE_HZ


@dataclass(slots=True)
class _Seen:
    """Everything taken from the page so far."""

    mic: _Heard = field(default_factory=_Heard)
    back: _Heard = field(default_factory=_Heard)
    pictures: list[list[float]] = field(default_factory=list)
    mouths: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    stats: list[dict[str, Any]] = field(default_factory=list)
    clears_ms: list[float] = field(default_factory=list)
    hello: dict[str, Any] = field(default_factory=dict)

    def take(self, told: dict[str, Any]) -> None:
        self.mic.take(told["mic"])
        self.back.take(told["back"])
        self.pictures += told["pictures"]
        luma = np.frombuffer(base64.b64decode(told["mouths"]), np.uint8)
        self.mouths.append(luma.reshape(-1, MOUTH_VIEW[3], MOUTH_VIEW[2]))
        self.stats += told["stats"]
        self.clears_ms += told["clears"]
        self.hello = told["hello"] or self.hello

    def recording(self, plan: BurstPlan, marks_s: dict[str, float], browser: dict[str, Any]) -> Recording:
        """As one value, its times in seconds of the page's clock."""
        rows = np.asarray(self.pictures, dtype=np.float64).reshape(-1, 5)
        said = self.mic.samples
        onsets = find_onsets(said, plan)
        packets = np.arange(len(said) // PACKET_SAMPLES, dtype=np.int64) * PACKET_SAMPLES
        told = browser | {
            "hello": self.hello,
            "presented": int(rows[-1, 3] - rows[0, 3]) + 1 if len(rows) else 0,
            "decode_and_convert_ms": rows[:, 2].tolist(),
        }
        return Recording(
            onset_samples=onsets,
            mic_times_s=self.mic.time_s(packets),
            video_times_s=rows[:, 0] / 1e3,
            mouths=np.concatenate(self.mouths) if self.mouths else np.zeros((0, *_mouth_shape()), np.uint8),
            repeated=rows[:, 4] > 0,
            audio_times_s=np.asarray(self.back.times_ms) / 1e3,
            audio_starts=self.back.starts,
            audio=self.back.samples,
            marks_s=marks_s,
            stats=self.stats,
            clear_times_s=np.asarray(self.clears_ms) / 1e3,
            received_s=rows[:, 1] / 1e3,
            told=told,
        )


@dataclass(frozen=True, slots=True)
class BrowserCall:
    """What a browser's calls gave: the long one, and each short one's first picture after Start in ms."""

    recording: Recording
    first_frames_ms: list[float]
    version: str
    screenshot: bytes


def call(
    url: str, plan: CallPlan, folder: Path, starts: int = 0, advance: Callable[[float], None] | None = None
) -> BrowserCall:
    """Press Start `starts` times and hang up again, then make one long call.

    Args:
        url: of the server.
        plan: what is said and what the network does.
        folder: for the microphone's file.
        starts: short calls before.
        advance: told the seconds of the long call that have passed, for a progress bar.

    Raises:
        BrowserCallError: the page did not go live.
        bench.call.browser.chromium.ChromiumError: no browser, or no Playwright.
    """
    lead_s = 2.0  # the page goes live in this time, so the first syllables are not lost
    voice = write_microphone(folder / "microphone.wav", plan.bursts, lead_s)
    with (
        open_playwright() as playwright,
        RelayThread(plan.up, plan.down) as relays,
        launch(playwright, voice, once=True) as browser,
    ):
        page = _open_page(browser, url, plan)
        page.route("**/offer", lambda route: _pass_offer(route, plan, relays))
        first_frames = [_start(page) for _ in range(starts)]
        if starts:
            page.reload()
            page.get_by_test_id("avatar-option").first.wait_for()
        first_frames.append(_start(page, stay=True))
        recording, screenshot = _record(page, plan, lead_s, advance or (lambda _: None))
        recording.told["relay"] = relays.counts()
        version = browser.version
    return BrowserCall(recording, first_frames, version, screenshot)


def _open_page(browser: Browser, url: str, plan: CallPlan) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    left, top, width, height = (edge / CANVAS_PX for edge in MOUTH_VIEW)
    delay_ms = "null" if plan.mic_delay_s is None else f"{1e3 * plan.mic_delay_s}"
    page.add_init_script(
        f"window.fadaPlan = {{mouth: [{left}, {top}, {width}, {height}], size: [{MOUTH_VIEW[2]}, {MOUTH_VIEW[3]}],"
        f" vowel_ms: {1e3 * VOWEL_S * _LONG_VOWEL}, mic_delay_ms: {delay_ms}}};"
    )
    page.add_init_script(PROBE.read_text(encoding="utf-8"))
    page.goto(url)
    page.get_by_test_id("avatar-option").first.wait_for()
    if plan.avatar:
        page.locator(f"[data-testid=avatar-option][data-avatar='{plan.avatar}']").click()
    return page


def _start(page: Page, stay: bool = False) -> float:
    """Press Start, wait for the picture; hang up again unless `stay`. Returns ms from press to picture."""
    page.get_by_test_id("start").click()
    page.wait_for_function(
        "['live', 'stopped', 'retrying'].includes(document.body.dataset.state)", timeout=LIVE_WITHIN_MS
    )
    if page.evaluate("document.body.dataset.state") != "live":
        raise BrowserCallError(f"the page did not go live: {page.get_by_test_id('status').inner_text()}")
    took = float(page.evaluate("performance.measure('x', 'fada:start', 'fada:first-frame').duration"))
    if not stay:
        page.get_by_test_id("stop").click()
        page.wait_for_function("document.body.dataset.state === 'stopped'")
        page.wait_for_timeout(STARTS_APART_MS)
    return took


def _record(
    page: Page, plan: CallPlan, lead_s: float, advance: Callable[[float], None]
) -> tuple[Recording, bytes]:
    seen = _Seen()
    page.evaluate("fadaProbe.watch", VIDEO)
    marks = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('mark').map((m) => [m.name, m.startTime / 1e3]))"
    )
    left_s = lead_s + plan.bursts.total_s + _END_S
    passed_s = 0.0
    skews_ms: list[float | None] = []
    for turn in itertools.count():
        step_s = min(TAKE_EVERY_S, left_s - passed_s)
        if step_s <= 0:
            break
        page.wait_for_timeout(1e3 * step_s)
        seen.take(json.loads(page.evaluate("fadaProbe.take()")))
        if turn % SKEW_EVERY == 0:
            skews_ms.append(page.evaluate("fadaProbe.skew()"))
        passed_s += step_s
        advance(passed_s)
        if page.evaluate("document.body.dataset.state") != "live":
            raise BrowserCallError(f"the call broke off: {page.get_by_test_id('status').inner_text()}")
    browser = {
        "counts": page.evaluate("fadaProbe.counts()"),
        "playout_skew_ms": [skew for skew in skews_ms if skew is not None],
    }
    page.get_by_test_id("details-open").click()
    screenshot = page.screenshot()
    names = {"fada:start": "start", "fada:offer": "offer_sent", "fada:answer": "answered"}
    marks_s = {names.get(name, name.removeprefix("fada:")): at for name, at in marks.items()}
    return seen.recording(plan.bursts, marks_s, browser), screenshot


def _mouth_shape() -> tuple[int, int]:
    return MOUTH_VIEW[3], MOUTH_VIEW[2]


def _pass_offer(route: Route, plan: CallPlan, relays: RelayThread) -> None:
    """Hand the page's offer on, and lead its answer through the relay."""
    if not plan.relayed:
        route.continue_()
        return
    offer = json.loads(route.request.post_data or "{}")
    response = route.fetch(post_data=json.dumps({**offer, "sdp": without_candidates(offer["sdp"])}))
    answer = response.json()
    if "sdp" in answer:
        answer["sdp"] = relays.lead(answer["sdp"])
    route.fulfill(response=response, json=answer)
