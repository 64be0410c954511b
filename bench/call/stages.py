"""Where each millisecond between microphone and picture goes.

In: the figures of one call. Out: stages in order, which sum up to the whole. The server tells its own stages
(`stats`) and what a window waits for (`hello`), the browser how long a picture takes from its last packet to the
screen; the way there and back is what is left, and with it the frames' grid and the mouth's own rise to a quarter
of its way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

SERVER_STAGES: Final = ("queue", "engine", "return", "encode")


def stage_percentiles(stats: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """p50 and p95 in ms of every stage the server tells, each the median over its messages."""
    columns: dict[str, dict[str, list[float]]] = {}
    for message in stats:
        for stage, told in (message.get("stages") or {}).items():
            for name in ("p50", "p95"):
                columns.setdefault(stage, {}).setdefault(name, []).append(float(told[name]))
    return {
        stage: {name: round(float(np.median(values)), 1) for name, values in told.items()}
        for stage, told in columns.items()
    }


def break_down(figures: Mapping[str, Any], hello: Mapping[str, Any]) -> dict[str, float]:
    """Stage by stage, p50 in ms, in the order in which sound and pictures pass them; empty where nothing was seen.

    Args:
        figures: with `mic_to_frame_ms`, `server_stats`, `server_stages_ms` and, from a browser, `browser`.
        hello: the server's greeting.
    """
    whole_ms = figures["mic_to_frame_ms"].get("p50")
    server_ms = figures["server_stats"].get("latency_ms", {}).get("p50")
    if whole_ms is None or server_ms is None:
        return {}
    told = {stage: figures["server_stages_ms"].get(stage, {}).get("p50", 0.0) for stage in SERVER_STAGES}
    waits = {
        "hop": float(hello.get("hop_ms", 0.0)),
        "blend": float(hello.get("overlap_ms", 0.0)),
        "look-ahead": float(hello.get("lookahead_ms", 0.0)),
        "queue": told["queue"],
        "engine": told["engine"],
        "return": told["return"],
        "encode": told["encode"],
    }
    pacing_ms = server_ms - sum(waits.values())
    # A packet's last sample counts as coming as much after it as it was spoken later,
    # yet the window had it already.
    waits["hop"] += min(0.0, pacing_ms)
    browser_ms = figures.get("browser", {}).get("arrival_to_display_ms", {}).get("p50", 0.0)
    stages = waits | {"pacing": max(0.0, pacing_ms), "browser": browser_ms}
    stages["way and rise"] = whole_ms - sum(stages.values())
    return {stage: round(value, 1) for stage, value in stages.items()}
