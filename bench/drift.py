"""`fada bench drift`: hours of a call in minutes, on a clock of its own: do sound and picture stay together?

In flow hours and the error of the microphone's clock; out flow skew, delay and what was repeated or left out. The
server's own timeline and face run with simulated packets (10 ms, jitter, loss, reordering), a simulated engine
(a hop of two frames, 20 to 45 ms), simulated hiccups of the event loop, and a standstill of the whole process half
way. Nothing here waits: every moment is set.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from bench.drift_call import FPS, PICTURE_LEAD_S, DriftCall, DriftCase
from bench.report import make_report, summarise
from stream.media import RATE_HZ


@dataclass(slots=True)
class DriftFigures:
    """What came of it; times in seconds, one entry a slot or a minute."""

    skews_s: list[float] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)  # median of each minute, microphone to picture
    longest_freeze_s: float = 0.0
    held: int = 0
    moves: int = 0
    concealed_samples: int = 0
    most_buffered_s: float = 0.0  # sound heard and not yet sent


def simulate(case: DriftCase, progress: bool = False) -> DriftFigures:
    """Run one call."""
    call = DriftCall(case)
    clock, pacer, hiccups = call.clock, call.pacer, random.Random(case.seed + 2)
    figures, minute = DriftFigures(), []
    slots = round(case.hours * 3600 * FPS)
    shown_s, shown_frame = clock.now(), None
    for slot in tqdm(range(slots), disable=not progress, unit="slot", mininterval=5):
        if slot == slots // 2 and case.standstill_s:
            call.stand_still(case.standstill_s)
            pacer.follow_standstill(slot)
        call.live_until(pacer.due(slot) - PICTURE_LEAD_S)
        picture = pacer.picture(slot)
        call.live_until(max(clock.now_s, pacer.due(slot)))
        pacer.follow_standstill(slot)
        pacer.voice(slot)
        pacer.sent_voice(slot)
        clock.now_s += hiccups.random() * 0.001
        pacer.sent_picture(picture)
        if picture.media_frame != shown_frame:
            gap_s = clock.now_s - shown_s - (case.standstill_s if slot == slots // 2 else 0.0)
            if shown_frame is not None:
                figures.longest_freeze_s = max(figures.longest_freeze_s, gap_s)
            shown_s, shown_frame = clock.now_s, picture.media_frame
        if slot % FPS == 0:
            minute += _note_second(figures, call)
        if slot % (60 * FPS) == 60 * FPS - 1:
            figures.delays_s.append(float(np.median(minute)))
            minute = []
    figures.held, figures.moves = pacer.stats.held_frames, pacer.stats.moves
    figures.concealed_samples = call.timeline.concealed_samples
    return figures


def _note_second(figures: DriftFigures, call: DriftCall) -> list[float]:
    """Take the figures of one second; returns its delays."""
    delays, skews = call.pacer.stats.drain()
    figures.skews_s += skews
    buffered_s = call.timeline.length_samples / RATE_HZ - call.pacer.voice_sent_s
    figures.most_buffered_s = max(figures.most_buffered_s, buffered_s)
    return delays


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--ppm", type=float, nargs="+", default=[200.0, -200.0])


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Simulate every case."""
    cases = [
        *(DriftCase(hours=args.hours, ppm=ppm) for ppm in args.ppm),
        DriftCase(
            hours=min(1.0, args.hours), ppm=50.0, loss=0.05, jitter_s=0.03, reorder=0.02, standstill_s=0
        ),
    ]
    return make_report(
        "drift",
        method=" ".join((__doc__ or "").split()),
        shapes={"fps": FPS, "picture_lead_ms": 1000 * PICTURE_LEAD_S},
        figures={"cases": _in_parallel(cases)},
    )


def _in_parallel(cases: Sequence[DriftCase]) -> list[dict[str, Any]]:
    """Every case in a process of its own; the first one tells how far it is."""
    with ProcessPoolExecutor(max_workers=2) as pool:
        running = [pool.submit(_run_case, case, case is cases[0]) for case in cases]
        return [done.result() for done in running]


def _run_case(case: DriftCase, progress: bool) -> dict[str, Any]:
    return describe(case, simulate(case, progress))


def describe(case: DriftCase, figures: DriftFigures) -> dict[str, Any]:
    """One case in numbers."""
    skews_ms = 1000 * np.asarray(figures.skews_s)
    return {
        "hours": case.hours,
        "ppm": case.ppm,
        "loss": case.loss,
        "jitter_ms": 1000 * case.jitter_s,
        "reorder": case.reorder,
        "standstill_s": case.standstill_s,
        "skew_ms": summarise(skews_ms),
        "skew_abs_ms": summarise(np.abs(skews_ms)),
        "delay_first_minute_ms": round(1000 * figures.delays_s[0], 1),
        "delay_last_minute_ms": round(1000 * figures.delays_s[-1], 1),
        "delay_worst_minute_ms": round(1000 * max(figures.delays_s), 1),
        "longest_freeze_ms": round(1000 * figures.longest_freeze_s),
        "held_frames": figures.held,
        "whole_slot_moves": figures.moves,
        "concealed_s": round(figures.concealed_samples / RATE_HZ, 2),
        "most_buffered_ms": round(1000 * figures.most_buffered_s),
    }
