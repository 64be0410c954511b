"""The stages of `bench.call.stages` as a picture: one bar per client, every millisecond in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

COLOURS: Final = {
    "hop": "#6d8fb3",
    "blend": "#93aecb",
    "look-ahead": "#b9cbdf",
    "queue": "#e5c07b",
    "engine": "#c8452a",
    "return": "#e08a72",
    "encode": "#8a6fa8",
    "pacing": "#4f7a5c",
    "browser": "#5f5a69",
    "way and rise": "#c9c2b4",
}
_LABEL_FROM_MS = 14.0  # a narrower piece has no room for its number


def plot_stages(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the stages of every report that has them."""
    shown = [report for report in reports if report["figures"].get("stages_p50_ms")]
    if not shown:
        return
    figure, axis = pyplot.subplots(figsize=(11, 1.9 + 1.0 * len(shown)))
    for row, report in enumerate(shown):
        at_ms = 0.0
        for stage, value in report["figures"]["stages_p50_ms"].items():
            width = max(0.0, value)
            axis.barh(
                row, width, left=at_ms, color=COLOURS[stage], height=0.55, label=stage if row == 0 else None
            )
            if width >= _LABEL_FROM_MS:
                white = stage in ("engine", "pacing", "browser", "encode", "hop")
                axis.text(at_ms + width / 2, row, f"{value:.0f}", ha="center", va="center", fontsize=9,
                          color="white" if white else "#222222")  # fmt: skip
            at_ms += width
        whole = report["figures"]["mic_to_frame_ms"]
        axis.text(
            at_ms + 6, row, f"p50 {whole['p50']:.0f}, p95 {whole['p95']:.0f} ms", va="center", fontsize=9
        )
    axis.set_yticks(range(len(shown)), [report["shapes"]["client"] for report in shown])
    axis.set_xlim(0, 1.22 * max(report["figures"]["mic_to_frame_ms"]["p50"] for report in shown))
    axis.invert_yaxis()
    axis.set_xlabel("ms after the sound entered the microphone")
    machine = shown[0]["machine"]
    axis.set_title(
        f"Microphone to frame, p50 by stage: {machine['cpu']}, {machine['cores']} cores, "
        f"{shown[0]['commit']}, {shown[0]['date'][:10]}",
        fontsize=9,
    )
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)
    figure.legend(
        loc="lower center", ncol=len(COLOURS), fontsize=8, frameon=False, columnspacing=1.0, handlelength=1.0
    )
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
