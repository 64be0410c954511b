"""A picture of one's own, on the page: dropped, framed, tried, kept, called with, removed; refused; not offered."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page
from skimage import data

from tests.browser.conftest import CallPage, OpenPage, OpenVisit
from tests.browser.drivers.call import HAS_FACES, complaints, go_live
from tests.browser.drivers.visit import wait_for
from tests.browser.served.servers import ServerProcess

DROP: Final = """async ([name, kind, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: kind }));
  document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
}"""
STEP: Final = "step => document.querySelector('#studio[open]')?.dataset.step === step"
FRAMED: Final = "() => document.querySelector('[data-testid=framed]').toDataURL()"
PRESS_RIGHT: Final = """() => {
  const mark = document.querySelector('[data-testid=mark-0]');
  mark.focus();
  const press = { key: 'ArrowRight', bubbles: true };
  for (let k = 0; k < 5; k++) mark.dispatchEvent(new KeyboardEvent('keydown', press));
  return mark.getAttribute('aria-label');
}"""
FILM_PLAYS: Final = """() => {
  const film = document.querySelector('[data-testid=film]');
  return document.getElementById('studio').dataset.film === 'on' && film.videoWidth > 0 && film.currentTime > 0.2;
}"""
CHOSEN: Final = "() => document.querySelector('[data-testid=avatar-option] input:checked')?.value"
CAT: Final = ((184, 105), (260, 118), (214, 168))
"""Its eyes and mouth, in pixels of the picture."""


def saved(image: np.ndarray, form: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, form)
    return out.getvalue()


@pytest.fixture(scope="module")
def photo() -> bytes:
    return saved(data.astronaut(), "JPEG")


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "Chelsea.png"
    path.write_bytes(saved(data.chelsea(), "PNG"))
    return path


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess("fake", tmp_path_factory.mktemp("closed") / "log", more=["--no-uploads"]) as started:
        yield started


def test_dropped_framed_tried_kept_called_with_and_removed(
    fake_server: ServerProcess, open_visit: OpenVisit, photo: bytes
) -> None:
    visit = open_visit(fake_server.url)
    wait_for(visit, "() => document.querySelector('[data-testid=add-picture]') !== null")
    visit.evaluate(DROP, ["Eileen.jpg", "image/jpeg", base64.b64encode(photo).decode()])
    wait_for(visit, STEP, "frame")
    wait_for(visit, "() => document.querySelector('[data-testid=picture-name]').value === 'Eileen'")
    before = wait_for(visit, FRAMED)
    label = visit.evaluate(PRESS_RIGHT)
    assert label.startswith("Left eye: ") and label.endswith(" down")
    assert visit.evaluate(FRAMED) != before, "the frame follows at once"
    visit.press("[data-testid=trial]")
    wait_for(visit, FILM_PLAYS, within_s=60)
    visit.press("[data-testid=consent]")
    visit.press("[data-testid=keep]")
    wait_for(visit, "() => !document.getElementById('studio').open")
    wait_for(visit, f"() => ({CHOSEN})() === 'eileen'")
    about = "() => document.getElementById('avatar-about').innerText"
    assert visit.evaluate(about) == "Eileen stays on this machine."
    go_live(visit)
    assert "Eileen speaks with you" in visit.evaluate("() => document.getElementById('status').innerText")
    visit.press("#avatar-remove")
    visit.press("[data-testid=remove-for-good]")
    wait_for(visit, f"() => ({CHOSEN})() === 'ada'")
    wait_for(visit, "() => document.getElementById('status').innerText.includes('Ada speaks')")
    assert visit.evaluate("() => document.querySelectorAll('[data-avatar=eileen]').length") == 0
    assert complaints(visit) == []


def place(page: Page, mark: int, share_x: float, share_y: float) -> None:
    """Drag a mark to a place in the picture, by shares of what is seen of it."""
    box = page.locator("[data-part=points]").bounding_box()
    held = page.get_by_test_id(f"mark-{mark}").bounding_box()
    assert box is not None and held is not None
    page.mouse.move(held["x"] + held["width"] / 2, held["y"] + held["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + share_x * box["width"], box["y"] + share_y * box["height"], steps=4)
    page.mouse.up()


def test_a_refusal_shows_what_was_seen_and_points_by_hand_do_in_a_running_call(
    fake_server: ServerProcess, open_page: OpenPage, cat: Path
) -> None:
    call: CallPage = open_page(fake_server.url)
    call.go_live()
    page = call.page
    page.get_by_test_id("add-picture").click()
    page.get_by_test_id("picture-file").set_input_files(cat)
    page.wait_for_function(STEP, arg="refused")
    assert "No face was found in Chelsea.png" in page.get_by_test_id("studio-said").inner_text()
    assert page.get_by_test_id("seen").evaluate("image => image.complete && image.naturalWidth") == 451
    page.get_by_test_id("by-hand").click()
    height, width = data.chelsea().shape[:2]
    for mark, (x, y) in enumerate(CAT):
        place(page, mark, x / width, (y + (width - height) / 2) / width)
    page.get_by_test_id("mark-2").press("ArrowDown")
    page.get_by_test_id("mark-2").press("ArrowUp")
    labels = [page.get_by_test_id(f"mark-{mark}").get_attribute("aria-label") or "" for mark in range(3)]
    points = [[int(number) for number in re.findall(r"\d+", label)] for label in labels]
    assert np.abs(np.array(points) - CAT).max() < 4, labels
    page.get_by_test_id("consent").check()
    page.get_by_test_id("keep").click()
    call.wait_for_status("Chelsea speaks with you")
    assert page.locator("[data-avatar=chelsea] input").evaluate("input => input === document.activeElement")
    page.reload()
    page.locator("[data-avatar=chelsea] input:checked").wait_for(state="attached")
    page.locator("#avatar-remove").click()
    page.get_by_test_id("remove-for-good").click()
    page.locator("[data-avatar=chelsea]").wait_for(state="detached")


def test_keep_waits_for_name_and_consent_and_the_camera_goes_off(
    fake_server: ServerProcess, open_page: OpenPage
) -> None:
    page = open_page(fake_server.url, phone=True, permissions=["camera", "microphone"]).page
    page.get_by_test_id("add-picture").click()
    page.get_by_test_id("open-camera").click()
    page.wait_for_function("document.querySelector('[data-part=camera]').videoWidth > 0")
    page.evaluate("window.seen = document.querySelector('[data-part=camera]').srcObject.getTracks()[0]")
    page.get_by_test_id("take-still").click()
    page.wait_for_function(STEP, arg="refused")
    assert page.evaluate("window.seen.readyState") == "ended"
    page.get_by_test_id("by-hand").click()
    page.wait_for_function(STEP, arg="frame")
    page.get_by_test_id("keep").click()
    assert page.evaluate("document.querySelector('[data-part=form]').checkValidity()") is False
    assert page.evaluate("document.getElementById('studio').open")
    wide = "document.getElementById('studio').scrollWidth <= document.getElementById('studio').clientWidth"
    assert page.evaluate(wide), "nothing sticks out on a phone"
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('studio').open")


def test_where_no_pictures_are_taken_there_is_no_tile(
    closed_server: ServerProcess, open_visit: OpenVisit, photo: bytes
) -> None:
    visit = open_visit(closed_server.url)
    wait_for(visit, HAS_FACES)
    wait_for(
        visit, "() => fetch('config').then((answer) => answer.json()).then(({ uploads }) => uploads === null)"
    )
    visit.evaluate(DROP, ["Eileen.jpg", "image/jpeg", base64.b64encode(photo).decode()])
    assert visit.evaluate("() => document.querySelector('[data-testid=add-picture]')") is None
    assert visit.evaluate("() => document.getElementById('studio').open") is False
    assert complaints(visit) == []
