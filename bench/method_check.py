"""`fada bench e2e --check-method`: does a known extra delay show as that delay, wherever it is put in?

In flow a client; out flow, for every place, what the measurement made of 100 ms more. A real server on the plain
engine (`bench.plain_engine`) and the client as it measures; one call without the delay and one with it per place:
before the sending (mic), in the relay on the way there (up) and back (down), and in the engine, whose mouth then
follows the sound later (engine). The first three must move mouth and voice alike; the last moves the mouth alone.

The pacer shows frames on a grid of 40 ms that lies anew in every call, so two calls differ by up to a slot of
true delay. That share the server tells itself (`latency_ms`, from arrival to sending), and it is taken out: what
is left is everything outside of what the server knows of, and that must have grown by the extra delay.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.bursts import BurstPlan
from bench.call_plan import CallPlan
from bench.latency import find_events
from bench.recording import Recording
from bench.relay import Impairment
from bench.server_process import running_server
from models.face import FPS

EXTRA_S: Final = 0.1
TOLERANCE_MS: Final = 10.0
MIN_SYLLABLES: Final = 4
"""Fewer say nothing."""
CALLS_AT_MOST: Final = 3
WARM_UP_S: Final = 0.5

MakeCall = Callable[[str, CallPlan], Recording]
"""Makes one call to a server at an address."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One call's means in ms: mouth and returned voice after the syllable, and the server's own part of it."""

    mouth_ms: float
    voice_ms: float
    server_ms: float
    syllables: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What `EXTRA_S` in one place did to mouth and voice, in ms, beside what it must have done."""

    mouth_ms: float
    voice_ms: float
    expected_mouth_ms: float
    expected_voice_ms: float

    @property
    def holds(self) -> bool:
        """Whether both are within the tolerance."""
        return (
            abs(self.mouth_ms - self.expected_mouth_ms) <= TOLERANCE_MS
            and abs(self.voice_ms - self.expected_voice_ms) <= TOLERANCE_MS
        )


def check_plan(syllables: int = 9) -> BurstPlan:
    """Syllables a second apart; each begins 0.618 of a frame later in the frames' grid than the one before.

    So any few of them meet its phases evenly (the golden ratio's multiples do), and a mean over them is free of
    it.
    """
    period_s = 1.0 + 0.618034 / FPS
    length_s = 1.5 + (syllables + 0.5) * period_s
    return BurstPlan(length_s, lead_in_s=1.5, period_s=period_s, jitter_s=0.0, grid_samples=1)


def check_method(make_call: MakeCall, folder: Path, bursts: BurstPlan) -> dict[str, Finding]:
    """Measure every place; about seven calls.

    Args:
        make_call: the client.
        folder: for the servers' logs.
        bursts: what is said in each call.

    Raises:
        ValueError: a call in which no syllable was found again.
    """
    none, extra = Impairment(), Impairment(delay_s=EXTRA_S)
    relayed = CallPlan(bursts, up=none, down=none)
    pairs: Mapping[str, tuple[CallPlan, CallPlan]] = {
        "mic": (CallPlan(bursts, mic_delay_s=0.0), CallPlan(bursts, mic_delay_s=EXTRA_S)),
        "up": (relayed, replace(relayed, up=extra)),
        "down": (relayed, replace(relayed, down=extra)),
    }
    lag = ["--lag-ms", str(1e3 * EXTRA_S)]
    with contextlib.ExitStack() as stack:
        url, _ = stack.enter_context(running_server(folder / "plain.log", "plain"))
        late_url, _ = stack.enter_context(running_server(folder / "late.log", "plain", lag))
        seen: dict[CallPlan, Arrivals] = {}

        def measure(plan: CallPlan) -> Arrivals:
            if plan not in seen:
                seen[plan] = _measure_steady(make_call, url, plan)
            return seen[plan]

        findings = {
            place: compare(measure(before), measure(after), EXTRA_S, EXTRA_S)
            for place, (before, after) in pairs.items()
        }
        late = _measure_steady(make_call, late_url, pairs["mic"][0])
        findings["engine"] = compare(measure(pairs["mic"][0]), late, EXTRA_S, 0.0)
    return findings


def _measure_steady(make_call: MakeCall, url: str, plan: CallPlan) -> Arrivals:
    """One call's means; a call in which the server moved its delay is made again: it measures two delays."""
    for _ in range(CALLS_AT_MOST - 1):
        recording = make_call(url, plan)
        if not any(stats.get("moves") for stats in recording.stats):
            return read_arrivals(recording)
    return read_arrivals(make_call(url, plan))


def read_arrivals(recording: Recording) -> Arrivals:
    """Means of one call.

    Raises:
        ValueError: no syllable was found again, or the server told nothing.
    """
    events = find_events(recording, WARM_UP_S)
    both = [(e.mouth_s - e.sent_s, e.returned_s - e.sent_s) for e in events if e.mouth_s and e.returned_s]
    told = [stats["latency_ms"] for stats in recording.stats if stats.get("latency_ms") is not None]
    if len(both) < MIN_SYLLABLES or not told:
        raise ValueError(
            f"expected {MIN_SYLLABLES} syllables or more found again and the server's figures, got {len(both)} and "
            f"{len(told)}; the machine may be too busy to measure on."
        )
    mouth, voice = np.asarray(both).T * 1e3
    return Arrivals(_middle_mean(mouth), _middle_mean(voice), float(np.median(told)), len(both))


def compare(before: Arrivals, after: Arrivals, mouth_s: float, voice_s: float) -> Finding:
    """The difference of two calls, less what the server says of its own."""
    server_ms = after.server_ms - before.server_ms
    return Finding(
        mouth_ms=round(after.mouth_ms - before.mouth_ms - server_ms, 1),
        voice_ms=round(after.voice_ms - before.voice_ms - server_ms, 1),
        expected_mouth_ms=1e3 * mouth_s,
        expected_voice_ms=1e3 * voice_s,
    )


def as_figures(findings: Mapping[str, Finding]) -> dict[str, Any]:
    """As JSON values."""
    return {
        place: {
            "mouth_ms": found.mouth_ms,
            "voice_ms": found.voice_ms,
            "expected_mouth_ms": found.expected_mouth_ms,
            "expected_voice_ms": found.expected_voice_ms,
            "holds": found.holds,
        }
        for place, found in findings.items()
    }


def _middle_mean(values: np.ndarray) -> float:
    """Mean without the largest and smallest fifth: one held-up packet must not count."""
    ordered = np.sort(values)
    cut = len(ordered) // 5
    return float(ordered[cut : len(ordered) - cut].mean())
