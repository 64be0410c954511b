"""The page on a phone and a desktop, light and dark, by keyboard, and without motion."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import FloatRect

from tests.browser.conftest import OpenPage
from tests.browser.served.servers import ServerProcess
from tests.machine_time import attempts

LOOKS = [(dark, phone) for dark in (False, True) for phone in (False, True)]
WATCH_SHIFTS = """
window.shift = 0;
window.shifted = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    window.shift += entry.value;
    for (const { node, previousRect, currentRect } of entry.sources) {
      shifted.push([entry.value, node?.outerHTML?.slice(0, 120), previousRect.y, currentRect.y]);
    }
  }
}).observe({ type: "layout-shift", buffered: true });
"""
CONTRASTS = """
() => {
  // The luminance of a colour as the browser paints it, over the page's paper.
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const luminance = (...colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => {
      const c = v / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  const found = {};
  const texts = ["#headline", "#detail", "#start", ".note", ".hud dt", ".hud b", ".face span", ".tool",
    ".scale label", ".scale output", ".reset"];
  for (const selector of texts) {
    const style = getComputedStyle(document.querySelector(selector));
    const ground = luminance(paper, style.backgroundColor);
    const letter = luminance(paper, style.backgroundColor, style.color);
    const [light, dark] = [ground, letter].sort((a, b) => b - a);
    found[selector] = (light + 0.05) / (dark + 0.05);
  }
  return found;
}
"""
LOUDEST_TONES = ("calm", "live", "warn", "error")


@pytest.mark.parametrize(("dark", "phone"), LOOKS)
def test_the_page_fits_and_its_text_can_be_read(
    fake_server: ServerProcess, open_page: OpenPage, dark: bool, phone: bool
) -> None:
    call = open_page(fake_server.url, dark=dark, phone=phone)
    width = call.page.evaluate("innerWidth")
    assert call.page.evaluate("document.documentElement.scrollWidth") <= width
    start = call.page.get_by_test_id("start").bounding_box()
    assert start is not None
    assert start["height"] >= 44
    assert start["y"] + start["height"] <= call.page.evaluate("innerHeight"), "Start is in sight"
    for tone in LOUDEST_TONES:
        call.page.evaluate("tone => { document.getElementById('status').dataset.tone = tone; }", tone)
        contrasts = call.page.evaluate(CONTRASTS)
        assert min(contrasts.values()) >= 4.5, (tone, contrasts)


def test_every_sentence_fits_its_place_on_a_phone(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url, phone=True)
    grown = call.page.evaluate(
        """async () => {
            const { captionFor, captionForSlow } = await import("/caller/captions.js");
            const { Problem } = await import("/rtc/problems.js");
            const codes = ["no_microphone", "permission_refused", "microphone_busy", "microphone_lost",
              "server_full", "not_ready", "unknown_avatar", "unreachable", "lost", "no_video", "blocked_network",
              "gave_up", "autoplay_blocked", "unsupported", "replaced", "microphone_replaced", "microphone_kept",
              "microphone_silent"];
            const changes = codes.map((code) => new Problem(code)).map((problem) => ({
                state: problem.retry ? "retrying" : "stopped", problem, attempt: 13, wait_s: 8,
            }));
            const quiet = ["idle", "requesting", "connecting", "live", "stopped"].map((state) => ({
                state, problem: null, attempt: 0, wait_s: 0,
            }));
            const captions = [...quiet, ...changes].map((change) => captionFor(change, "Ernesto"));
            const [status, headline, detail] = ["status", "headline", "detail"]
                .map((id) => document.getElementById(id));
            const reserved = status.getBoundingClientRect().height;
            return [...captions, captionForSlow()].filter((caption) => {
                headline.textContent = caption.headline;
                detail.textContent = caption.detail;
                return status.getBoundingClientRect().height > reserved;
            }).map(({ headline, detail }) => `${headline}. ${detail}`);
        }"""
    )
    assert grown == []


@pytest.mark.parametrize("phone", [False, True])
def test_nothing_jumps(fake_server: ServerProcess, open_page: OpenPage, phone: bool) -> None:
    for attempt in attempts():  # a machine that is taken away has its notices, and they take their place
        with attempt:
            call = open_page(fake_server.url, phone=phone, before=WATCH_SHIFTS)
            call.go_live()
            call.page.wait_for_function("document.querySelector('[data-figure=fps]').textContent !== '–'")
            call.press_stop()
            call.wait_for_state("stopped")
            assert call.page.evaluate("shift") < 0.01, call.page.evaluate("shifted")


def test_scheme_button_overrides_the_system(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = call.page.evaluate(paper)
    call.page.get_by_test_id("theme-toggle").click()
    dark = call.page.evaluate(paper)
    assert dark != light
    call.page.reload()
    assert call.page.evaluate(paper) == dark, "the choice is remembered"
    call.page.emulate_media(color_scheme="dark")
    call.page.get_by_test_id("theme-toggle").click()
    assert call.page.evaluate(paper) == light


def test_figures_can_be_put_away(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    hud, toggle = call.page.get_by_test_id("hud"), call.page.get_by_test_id("hud-toggle")
    assert hud.is_visible()
    toggle.click()
    assert not hud.is_visible()
    assert toggle.get_attribute("aria-pressed") == "false"
    call.page.reload()
    assert not hud.is_visible(), "the choice is remembered"
    toggle.click()
    assert hud.is_visible()


def test_a_call_by_keyboard_alone(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    focused = "document.activeElement.dataset.testid ?? document.activeElement.className"
    call.page.keyboard.press("Tab")
    assert call.page.evaluate(focused) == "skip"
    for _ in range(10):
        call.page.keyboard.press("Tab")
        if call.page.evaluate(focused) == "start":
            break
    call.page.keyboard.press("Enter")
    call.wait_for_state("live")
    assert call.page.evaluate(focused) == "stop", "the focus stays on the one big button"
    call.page.keyboard.press("Tab")
    assert call.page.evaluate(focused) == "add-picture"
    call.page.keyboard.press("Tab")
    before = call.page.get_by_test_id("poster").get_attribute("src")
    call.page.keyboard.press("ArrowRight")
    assert call.page.get_by_test_id("poster").get_attribute("src") != before, "arrow keys choose a face"


def test_every_control_has_a_name(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url, phone=True)
    nameless = call.page.evaluate(
        """() => [...document.querySelectorAll("button, select, input")]
            .filter((control) => !(control.ariaLabel || control.innerText?.trim()
                || [...(control.labels ?? [])].some((label) => label.textContent.trim())))
            .map((control) => control.outerHTML)"""
    )
    assert nameless == []
    assert call.page.locator("#status[role=status]").get_attribute("aria-live") == "polite"
    assert call.page.get_by_role("meter").get_attribute("aria-valuetext") == "off"
    assert call.page.get_by_role("switch").count() == 1


def test_reduced_motion_is_respected(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url, reduced_motion="reduce")
    call.go_live()
    call.page.wait_for_function("document.querySelector('[data-testid=level]').dataset.value > 30")
    assert call.page.evaluate("document.querySelector('.niche').style.getPropertyValue('--voice')") in (
        "",
        "0",
    )
    assert call.page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_mat_shows_what_is_behind_the_portrait(
    fake_server: ServerProcess, open_page: OpenPage, scheme: Literal["light", "dark"]
) -> None:
    """In the corners it looks as the page does without it, where the style sheet cuts the picture."""
    page = open_page(fake_server.url).page
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("document.querySelector('.niche').dataset.mat === 'on'")
    corner = "document.querySelector('.portrait').getBoundingClientRect()"
    left, top = page.evaluate(f"[{corner}.left, {corner}.top]")
    place: FloatRect = {"x": left, "y": top, "width": 40, "height": 24}

    def look() -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=place))).convert("RGB")).astype(int)

    with_mat = look()
    page.evaluate("document.querySelector('.niche').dataset.mat = 'off'")
    assert np.abs(with_mat - look()).max() <= 3


def test_forced_colours_do_without_the_mat(fake_server: ServerProcess, open_page: OpenPage) -> None:
    page = open_page(fake_server.url).page
    page.emulate_media(forced_colors="active")
    page.wait_for_function("document.querySelector('.niche').dataset.mat === 'off'")


@pytest.mark.parametrize("dark", [False, True])
def test_switch_and_sliders_stand_out_from_the_page(
    fake_server: ServerProcess, open_page: OpenPage, dark: bool
) -> None:
    """At least 3:1. Source: WCAG 2.2, 1.4.11."""
    contrast = CONTRASTS.replace(
        "const found = {};",
        "const edge = getComputedStyle(document.documentElement).getPropertyValue('--edge');",
    )
    head, _, _ = contrast.partition("const texts")
    measured = open_page(fake_server.url, dark=dark).page.evaluate(
        head
        + """
        const track = getComputedStyle(document.querySelector(".track")).backgroundColor;
        document.getElementById("mute").click();
        document.querySelector(".track").style.transition = "none";
        const off = getComputedStyle(document.querySelector(".track")).backgroundColor;
        const ratio = (colour) => {
          const [light, low] = [luminance(paper), luminance(paper, colour)].sort((a, b) => b - a);
          return (light + 0.05) / (low + 0.05);
        };
        document.getElementById("reference-scale").style.color = "var(--edge)";
        const line = getComputedStyle(document.getElementById("reference-scale")).color;
        return { on: ratio(track), off: ratio(off), line: ratio(line), edge };
    }"""
    )
    assert min(measured["on"], measured["off"], measured["line"]) >= 3, measured


def test_rings_go_out_with_the_call_and_the_page_has_its_landmarks(
    fake_server: ServerProcess, open_page: OpenPage
) -> None:
    call = open_page(fake_server.url)
    call.go_live()
    voice = "document.querySelector('.niche').style.getPropertyValue('--voice')"
    call.page.wait_for_function(f"Number({voice}) > 0.2")
    call.press_stop()
    call.wait_for_state("stopped")
    assert call.page.evaluate(voice) == "0"
    assert call.page.get_by_role("heading", level=1).count() == call.page.get_by_role("main").count() == 1
    watch = call.page.goto(f"{fake_server.url}watch.html?session=0123456789abcdef")
    assert watch is not None and watch.ok
    assert call.page.get_by_role("heading", level=1).count() == call.page.get_by_role("main").count() == 1


def test_a_tablets_figures_are_not_cut(fake_server: ServerProcess, open_page: OpenPage) -> None:
    page = open_page(fake_server.url).page
    page.set_viewport_size({"width": 820, "height": 1180})
    edges = page.evaluate(
        "['#hud', '.actions'].map((found) => document.querySelector(found).getBoundingClientRect())"
        ".map(({ top, bottom }) => [top, bottom])"
    )
    assert edges[0][1] <= edges[1][0], edges
