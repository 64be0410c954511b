"""The dialog of details: true figures of a running call, and all of them on the clipboard."""

from __future__ import annotations

import json

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.served.servers import ServerProcess

HAS_STAGE = "() => /\\d/.test(document.querySelector('[data-part=stages] td')?.textContent ?? '')"


def test_details_show_stages_and_copy_everything(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    page = call.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    call.press_start()
    call.wait_for_state("live")
    page.get_by_test_id("details-open").click()
    page.wait_for_function(HAS_STAGE)
    rows = page.locator("[data-part=stages] tr").all_inner_texts()
    assert any(row.startswith("Engine") for row in rows) and all(row.count("\t") == 2 for row in rows)
    counts = dict(row.split("\t") for row in page.locator("[data-part=counts] tr").all_inner_texts())
    assert counts["Picture may cost"].endswith("kb/s") and counts["Picture may cost"][0].isdigit()
    assert counts["Lost packets, picture and voice"] == "0 and 0"
    page.get_by_test_id("copy-diagnostics").click()
    page.wait_for_function("() => document.querySelector('[data-part=copy]').textContent === 'Copied'")
    told = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert told["state"] == "live" and told["page"] == "fada-live" and told["start_ms"]["first-frame"] > 0
    assert told["link"]["framesDecoded"] > 0 and told["server"]["stages"]["engine"]["p95"] > 0
    link = told["link"]
    assert 0 < link["way_ms"] != link["buffer_ms"] + link["decode_ms"], (
        "it ends at the screen, not at the decoder"
    )
    assert link["skew_ms"] == pytest.approx(
        link["way_ms"] - link["voiceLate_ms"] + (told["server"]["skew_ms"] or 0)
    )
    assert not {"sdp", "ip", "address"} & set(json.dumps(told).replace('"', " ").split())
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('details').open")
    assert call.state == "live" and call.complaints == []


@pytest.mark.parametrize("phone", [False, True])
def test_details_fit_the_screen_and_are_there_without_a_call(
    fake_server: ServerProcess, open_page: OpenPage, phone: bool
) -> None:
    page = open_page(fake_server.url, phone=phone).page
    page.get_by_test_id("details-open").click()
    box = page.get_by_test_id("details").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= page.evaluate("innerWidth")
    assert box["y"] >= 0 and box["height"] <= page.evaluate("innerHeight")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    button = page.get_by_test_id("copy-diagnostics").bounding_box()
    assert button is not None and button["height"] >= 44
    page.get_by_role("button", name="Close").click()
    assert not page.get_by_test_id("details").is_visible()
