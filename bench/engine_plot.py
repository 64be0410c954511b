"""The engine's ladder as a picture, drawn from its report.

In: a report of `bench.engine`. Out: a PNG. Needs matplotlib, which comes with the extra "train".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = ("#9aa0a6", "#6aa1d8", "#4cb5a5", "#e0a458", "#d8775a", "#8d6cab")


def plot_ladder(report: Mapping[str, Any], path: Path) -> None:
    """Milliseconds per frame of one session, by runtime and number of evaluations, against the frame's own time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figures, shapes = report["figures"], report["shapes"]
    rows = [row for row in figures["arms"] if row["batch"] == 1]
    names = list(dict.fromkeys(row["arm"] for row in rows))
    nfes = sorted({row["nfe"] for row in rows})
    figure, axes = pyplot.subplots(figsize=(8.0, 4.2), layout="constrained")
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        own = {row["nfe"]: row for row in rows if row["arm"] == name}
        heights = [own[nfe]["ms_per_frame"]["p50"] for nfe in nfes]
        at = [index + (place - (len(names) - 1) / 2) * width for index in range(len(nfes))]
        bars = axes.bar(at, heights, width * 0.92, label=name, color=COLOURS[place % len(COLOURS)])
        axes.bar_label(bars, [f"{own[nfe]['speedup']['p50']:.2f}x" for nfe in nfes], fontsize=7, padding=1)
    axes.axhline(1e3 / 25, color="#444444", linewidth=0.8, linestyle="--")
    axes.text(-0.45, 1e3 / 25, "25 fps", fontsize=8, va="bottom")
    axes.set_xticks(range(len(nfes)), [f"{nfe} evaluation{'s' if nfe > 1 else ''}" for nfe in nfes])
    axes.set_ylabel("ms per frame, median")
    cpu = report["machine"]["cpu"]
    axes.set_title(
        f"{shapes['preset']} preset on {cpu}, {shapes['threads']} threads, {report['commit']}", fontsize=9
    )
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
