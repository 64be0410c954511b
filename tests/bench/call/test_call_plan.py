"""Plans survive the way to another process; options become impairments and names."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bench.call.bursts import BurstPlan
from bench.call.call_plan import CallPlan
from bench.call.e2e import PLOT, add_arguments, plot_path, read_impairments, report_name
from bench.call.relay import Impairment, media_payload_types, without_candidates


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    add_arguments(parser)
    return parser.parse_args(given)


def test_a_plan_survives_as_text() -> None:
    impairment = Impairment(loss=0.05, jitter_s=0.03, stalls_s=((3.0, 6.0),))
    plan = CallPlan(BurstPlan(9.0, interruptions=2), "mira", 7, up=impairment, mic_delay_s=0.1)
    assert CallPlan.from_json(plan.to_json()) == plan
    assert plan.relayed and not CallPlan(BurstPlan(9.0)).relayed
    assert plan.offer_fields() == {"seed": 7, "avatar": "mira"}


def test_options_say_what_the_network_does() -> None:
    assert read_impairments(options()) == (None, None)
    up, down = read_impairments(
        options("--loss", "5", "--jitter-ms", "30", "--reorder", "2", "--stall-s", "3", "--seconds", "40")
    )
    assert up == Impairment(jitter_s=0.03, loss=0.05, reorder=0.02, stalls_s=((20.0, 23.0),))
    assert down is None
    assert read_impairments(options("--delay-ms", "100", "--way", "down")) == (None, Impairment(delay_s=0.1))
    assert None not in read_impairments(options("--loss", "1", "--way", "both"))
    with pytest.raises(ValueError, match="loss"):
        read_impairments(options("--loss", "150"))


def test_reports_are_named_for_what_was_measured() -> None:
    plain, bad = CallPlan(BurstPlan(9.0)), CallPlan(BurstPlan(9.0), up=Impairment(loss=0.1))
    assert report_name("aiortc", plain, "student") == "e2e"
    assert report_name("chromium", plain, "student") == "e2e_chromium"
    assert report_name("chromium", bad, "plain") == "e2e_chromium_impaired_plain"


def test_a_trial_leaves_the_published_picture_alone() -> None:
    call, bad = CallPlan(BurstPlan(9.0)), CallPlan(BurstPlan(9.0), up=Impairment(loss=0.1))
    assert plot_path(options(), call) == PLOT
    assert plot_path(options(), bad) is None
    for elsewhere in ("--json a.json", "--url http://127.0.0.1:1", "--engine plain", "--check-method"):
        assert plot_path(options(*elsewhere.split()), call) is None
    assert plot_path(options("--json", "a.json", "--plot", "b.png"), bad) == Path("b.png")


def test_a_description_gives_its_media_and_hides_its_addresses() -> None:
    sdp = (
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96 0\r\na=candidate:1 1 udp 2 10.0.0.1 5 typ host\r\n"
        "a=end-of-candidates\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97 98\r\nm=application 9 DTLS/SCTP 5000\r\n"
    )
    assert media_payload_types(sdp) == {0, 96, 97, 98}
    hidden = without_candidates(sdp)
    assert "candidate" not in hidden and hidden.count("\r\n") == sdp.count("\r\n") - 2
    with pytest.raises(ValueError, match="audio or video"):
        media_payload_types("v=0\r\n")
