"""The two sliders: what they do to the session, to the next visit, and what moves them from outside."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.browser.conftest import CallPage, OpenPage
from tests.browser.served.servers import ServerProcess

HUD = "name => document.querySelector(`[data-figure=${name}]`).textContent"


def go_live(call: CallPage) -> str:
    """Starts a call; the address of its session's controls."""
    with call.page.expect_response("**/offer") as offered:
        call.press_start()
    call.wait_for_state("live")
    return f"sessions/{offered.value.json()['session_id']}/controls"


def ask(server: ServerProcess, address: str, change: dict[str, Any] | None = None) -> dict[str, float]:
    """Reads or changes the session's scales, as a program of another kind would."""
    body = None if change is None else json.dumps(change).encode()
    request = urllib.request.Request(
        server.url + address, body, {"Content-Type": "application/json"}, method="PATCH" if body else "GET"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        scales: dict[str, float] = json.load(answer)
        return scales


def wait_for_hud(call: CallPage, name: str, text: str) -> None:
    call.page.wait_for_function(f"([name, text]) => ({HUD})(name) === text", arg=[name, text])


def wait_for_slider(call: CallPage, name: str, value: str) -> None:
    call.page.wait_for_function(
        "([name, value]) => document.getElementById(name).value === value", arg=[name, value]
    )


def test_sliders_turn_the_session_and_the_next_visit_keeps_them(
    fake_server: ServerProcess, open_page: OpenPage
) -> None:
    call = open_page(fake_server.url)
    wait_for_slider(call, "audio-scale", "1.4")
    address = go_live(call)
    assert ask(fake_server, address) == {"audio_scale": 1.4, "reference_scale": 1.0, "listening": False}
    call.page.get_by_label("Expression").focus()
    for _ in range(6):
        call.page.keyboard.press("ArrowRight")
    call.page.get_by_test_id("reference-scale").fill("0.5")
    wait_for_hud(call, "expression", "1.70")
    wait_for_hud(call, "likeness", "0.50")
    assert ask(fake_server, address) == {"audio_scale": 1.7, "reference_scale": 0.5, "listening": False}
    assert call.state == "live"
    call.page.reload()
    wait_for_slider(call, "audio-scale", "1.7")
    assert call.page.locator("output").all_inner_texts() == ["1.70", "0.50"]
    assert ask(fake_server, go_live(call)) == {"audio_scale": 1.7, "reference_scale": 0.5, "listening": False}
    call.page.get_by_test_id("scales-reset").click()
    wait_for_hud(call, "expression", "1.40")
    wait_for_hud(call, "likeness", "1.00")
    call.page.reload()
    wait_for_slider(call, "audio-scale", "1.4")
    assert call.complaints == []


def test_sliders_follow_who_else_turns_the_session(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url)
    address = go_live(call)
    assert ask(fake_server, address, {"audio_scale": 2.5}) == {
        "audio_scale": 2.5,
        "reference_scale": 1.0,
        "listening": False,
    }
    wait_for_slider(call, "audio-scale", "2.5")
    call.press_stop()
    call.wait_for_state("stopped")
    call.page.reload()
    wait_for_slider(call, "audio-scale", "1.4")  # only the user's own choice is remembered
    assert call.complaints == []


def test_what_others_turned_before_the_channel_opened_is_taken_over(
    fake_server: ServerProcess, open_page: OpenPage
) -> None:
    told = open_page(fake_server.url).page.evaluate(
        """async () => {
            const { ScaleLine } = await import("/rtc/scale-line.js");
            const [sent, settled] = [[], []];
            const opened = () => new ScaleLine((wish) => sent.push(wish), (values) => settled.push(values));
            opened().open({ audio_scale: 2.5, reference_scale: 1 });
            const own = opened();
            own.want({ audio_scale: 0.5, reference_scale: 1 });
            own.open({ audio_scale: 2.5, reference_scale: 1 }); // the page's own wish is the newer one
            own.close();
            return { sent, settled };
        }"""
    )
    assert told["settled"] == [{"audio_scale": 2.5, "reference_scale": 1}]
    assert told["sent"] == [{"audio_scale": 0.5, "reference_scale": 1}]


def test_a_remembered_value_that_the_server_does_not_offer_is_left_aside(
    fake_server: ServerProcess, open_page: OpenPage
) -> None:
    for stored in ("99", "-1", "loud"):
        call = open_page(fake_server.url, before=f"localStorage.setItem('fada.audio-scale', '{stored}')")
        wait_for_slider(call, "audio-scale", "1.4")


def test_wishes_are_paced_and_the_last_is_never_lost(fake_server: ServerProcess, open_page: OpenPage) -> None:
    sent, settled = open_page(fake_server.url).page.evaluate(
        """async () => {
            const { ScaleLine } = await import("/rtc/scale-line.js");
            const sent = [], settled = [];
            const line = new ScaleLine((wish) => sent.push(wish.audio_scale), (values) => settled.push(values));
            const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
            const answer = (audio_scale, by) => line.hear({ audio_scale, reference_scale: 1, by });
            line.want({ audio_scale: -1, reference_scale: 1 });
            const before = sent.length;
            line.open({});
            for (let turn = 0; turn < 60; turn += 1) {
                line.want({ audio_scale: turn, reference_scale: 1 });
                if (turn === 30) answer(-1, "page"); // an old answer, in the middle of a pull
                await pause(5);
            }
            await pause(250);
            const count = sent.length;
            for (let left = count - 1; left > 0; left -= 1) answer(59, "page");
            answer(7, "http");
            return [[before, count, sent[0], sent.at(-1)], settled.map((values) => values.audio_scale)];
        }"""
    )
    before, count, first, last = sent
    assert (before, first, last) == (0, -1, 59)
    assert 3 <= count <= 60 // 2
    assert settled == [59, 7]


def test_sliders_can_be_touched_and_are_named(fake_server: ServerProcess, open_page: OpenPage) -> None:
    call = open_page(fake_server.url, phone=True)
    wait_for_slider(call, "reference-scale", "1")
    for name, label in (("audio-scale", "Expression"), ("reference-scale", "Likeness")):
        slider = call.page.get_by_test_id(name)
        box = slider.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert call.page.get_by_role("slider", name=label).count() == 1
        assert "the default" in (slider.get_attribute("aria-valuetext") or "")
