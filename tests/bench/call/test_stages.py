"""Stages sum up to the whole, and the picture of them is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.call.stages import break_down, stage_percentiles

HELLO = {"hop_ms": 160, "overlap_ms": 40, "lookahead_ms": 80}


def figures(browser_ms: float | None = None) -> dict[str, Any]:
    told = {"queue": 1.0, "engine": 60.0, "return": 2.0, "encode": 1.0}
    browser = (
        {} if browser_ms is None else {"browser": {"arrival_to_display_ms": {"n": 9, "p50": browser_ms}}}
    )
    return {
        "mic_to_frame_ms": {"n": 9, "p50": 480.0, "p95": 500.0},
        "server_stats": {"latency_ms": {"n": 9, "p50": 390.0}},
        "server_stages_ms": {stage: {"p50": ms, "p95": ms} for stage, ms in told.items()},
        **browser,
    }


@pytest.mark.parametrize("browser_ms", [None, 50.0])
def test_stages_sum_up_to_the_whole(browser_ms: float | None) -> None:
    stages = break_down(figures(browser_ms), HELLO)
    assert sum(stages.values()) == pytest.approx(480.0, abs=0.5)
    assert stages["engine"] == 60.0 and stages["hop"] > 0 and stages["look-ahead"] >= 0
    assert stages["way and rise"] == pytest.approx(90.0 - (browser_ms or 0.0), abs=0.1)


def test_a_server_without_pacing_waits_less_for_its_hop() -> None:
    early = figures(50.0) | {"server_stats": {"latency_ms": {"n": 9, "p50": 335.0}}}
    stages = break_down(early, HELLO)
    assert stages["pacing"] == 0.0 and stages["hop"] == pytest.approx(160.0 - 9.0)
    assert sum(stages.values()) == pytest.approx(480.0, abs=0.5)


def test_nothing_seen_has_no_stages() -> None:
    assert break_down(figures() | {"mic_to_frame_ms": {"n": 0}}, HELLO) == {}
    assert break_down(figures() | {"server_stats": {}}, HELLO) == {}


def test_percentiles_are_medians_over_the_messages() -> None:
    stats = [{"stages": {"engine": {"p50": at, "p95": 2 * at}}} for at in (10.0, 30.0, 20.0)] + [{"fps": 25}]
    assert stage_percentiles(stats) == {"engine": {"p50": 20.0, "p95": 40.0}}


def test_the_stages_are_drawn(tmp_path: Path) -> None:
    from bench.call.stage_plot import plot_stages

    report = {
        "figures": figures() | {"stages_p50_ms": break_down(figures(), HELLO)},
        "shapes": {"client": "aiortc"},
        "machine": {"cpu": "a CPU", "cores": 2},
        "commit": "abc",
        "date": "2026-11-24T00:00:00",
    }
    plot_stages([report], tmp_path / "e2e.png")
    assert (tmp_path / "e2e.png").stat().st_size > 5000
    plot_stages([{"figures": {}}], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
