"""What was prepared, for people: OUT/report.md and OUT/sheet.png, and the index OUT/dataset.json.

In: the records of all sources. Out: files. Pictures of the sheet come from the clips on disk.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from distill.prepare.dataset import VERSION, read_clip
from distill.prepare.tracks import ESTIMATED
from distill.training.sheets import save_grid
from models.face import CANVAS_PX, FPS, SAMPLE_RATE_HZ

Record = dict[str, Any]
SHEET_CLIPS = 24
SHEET_MOMENTS = 8


def counts(records: Sequence[Record]) -> dict[str, Any]:
    """Figures of the whole dataset."""
    clips = [clip for record in records for clip in record["clips"]]
    seconds = {q: sum(c["seconds"] for c in clips if c["quality"] == q) for q in ("high", "moderate")}
    refused = [part for record in records for part in record["refused"]]
    return {
        "sources": len(records),
        "sources_used": sum(bool(record["clips"]) for record in records),
        "clips": len(clips),
        "high": sum(clip["quality"] == "high" for clip in clips),
        "moderate": sum(clip["quality"] == "moderate" for clip in clips),
        "seconds_high": round(seconds["high"], 2),
        "seconds_moderate": round(seconds["moderate"], 2),
        "seconds_refused": round(sum(part["seconds"] for part in refused), 2),
    }


def write_index(out: Path, records: Sequence[Record]) -> dict[str, Any]:
    """Write OUT/dataset.json and return the counts."""
    clips = [{"source": record["source"], **clip} for record in records for clip in record["clips"]]
    index = {
        "version": VERSION,
        "fps": FPS,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "canvas_px": CANVAS_PX,
        "counts": counts(records),
        "tracks": ESTIMATED,
        "clips": clips,
        "sources": [{k: v for k, v in record.items() if k != "clips"} for record in records],
    }
    partial = out / "dataset.json.partial"
    partial.write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(out / "dataset.json")
    return dict(index["counts"])  # type: ignore[call-overload]


def write_report(path: Path, records: Sequence[Record]) -> None:
    """Write what was accepted and what was refused, and why, as Markdown."""
    total = counts(records)
    lines = [
        "# Prepared videos",
        "",
        f"{total['sources']} videos, {total['sources_used']} of them used: {total['clips']} clips, "
        f"{total['high']} of high quality ({total['seconds_high']:.0f} s) and {total['moderate']} of moderate "
        f"quality ({total['seconds_moderate']:.0f} s); {total['seconds_refused']:.0f} s refused.",
        "",
        "| video | high | moderate | refused s | sound is late by (frames) | why not better |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        lines.append(_row(record))
    for title, key in (("Why clips are moderate", "clips"), ("Why parts were refused", "refused")):
        tally = Counter(_kind(reason) for r in records for part in r[key] for reason in part["reasons"])
        if tally:
            lines += ["", f"## {title}", ""]
            lines += [f"- {count} × {kind}" for kind, count in tally.most_common()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(record: Record) -> str:
    quality = Counter(clip["quality"] for clip in record["clips"])
    refused = sum(part["seconds"] for part in record["refused"])
    found = record.get("sync") or {}
    lag = f"{found['lag_frames']:+.1f}" if found.get("sync") else "?"
    parts = [*record["clips"], *record["refused"]]
    reasons = [record["reason"]] if record["reason"] else [r for part in parts for r in part["reasons"]]
    why = "; ".join(dict.fromkeys(reasons)) or "–"
    name = record["source"].replace("|", "\\|")
    return f"| {name} | {quality['high']} | {quality['moderate']} | {refused:.1f} | {lag} | {why} |"


def _kind(reason: str) -> str:
    """A reason without its figures, so that like ones can be counted."""
    return re.sub(r"-?\d+(\.\d+)?%?", "…", reason.split(":")[0])


def write_sheet(out: Path, records: Sequence[Record]) -> None:
    """Write OUT/sheet.png: a row for each of up to 24 clips, from the mouth at rest to the furthest from it."""
    clips = [clip for record in records for clip in record["clips"]]
    clips.sort(key=lambda clip: clip["quality"])
    picks = [
        clips[int(i)]
        for i in np.unique(np.linspace(0, len(clips) - 1, min(SHEET_CLIPS, len(clips))).astype(int))
    ]
    rows = []
    for clip in picks:
        stored = read_clip(out / "clips" / f"{clip['name']}.npz")
        order = np.argsort(stored.rest, kind="stable")
        at = order[np.linspace(0, len(order) - 1, SHEET_MOMENTS).astype(int)]
        row = (
            torch.from_numpy(np.stack([stored.canvas(int(i)) for i in at])).permute(0, 3, 1, 2).float() / 255
        )
        rows.append(F.avg_pool2d(row, 2))
    if rows:
        save_grid(out / "sheet.png", rows)
