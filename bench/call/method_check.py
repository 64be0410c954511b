"""`fada bench e2e --check-method`: does a known extra delay show as that delay, wherever it is put in?

In flow a client; out flow, for every place, what the measurement made of 100 ms more. A real server on the plain
engine (`bench.call.plain_engine`) and the client as it measures; one call without the delay and one with
it per place:
before the sending (mic), in the relay on the way there (up) and back (down), and in the engine, whose mouth then
follows the sound later (engine). The first three must move mouth and voice alike; the last moves the mouth alone.

The pacer shows frames on a grid of 40 ms that lies anew in every call, and within a call gives back delay that is
not needed, so two calls differ by up to a slot of true delay. That share the server tells itself once a second
(`latency_ms`, from arrival to sending), and it is taken out, syllable by syllable: what is left is everything
outside of what the server knows of, and that must have grown by the extra delay.

A call in which the voice's remainder, a constant, scatters by more than `STEADY_MS` was disturbed by other work on
the machine; it is made again, whatever it says of the delay.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.call.bursts import BurstPlan
from bench.call.call_plan import CallPlan
from bench.call.latency import find_events
from bench.call.recording import Recording
from bench.call.relay import Impairment
from bench.call.server_process import running_server
from models.face import FPS

EXTRA_S: Final = 0.1
TOLERANCE_MS: Final = 10.0
MIN_SYLLABLES: Final = 4
"""Fewer say nothing."""
CALLS_AT_MOST: Final = 4
STEADY_MS: Final = 6.0
"""Between the voice's largest and smallest remainder, those that a mean leaves out apart."""
WARM_UP_S: Final = 0.5

MakeCall = Callable[[str, CallPlan], Recording]
"""Makes one call to a server at an address."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One call's means in ms, without what the server says of its own delay.

    Attributes:
        mouth_ms: the mouth's beginning, after the syllable.
        voice_ms: the returned syllable, after the one that was sent.
        scatter_ms: how far the voice's values lie apart, those apart that a mean leaves out.
        moved: the server moved its delay by a slot.
    """

    mouth_ms: float
    voice_ms: float
    scatter_ms: float = 0.0
    moved: bool = False

    @property
    def steady(self) -> bool:
        """Whether one delay was measured, and not several."""
        return not self.moved and self.scatter_ms <= STEADY_MS


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
                seen[plan] = measure_steady(make_call, url, plan)
            return seen[plan]

        findings = {
            place: compare(measure(before), measure(after), EXTRA_S, EXTRA_S)
            for place, (before, after) in pairs.items()
        }
        late = measure_steady(make_call, late_url, pairs["mic"][0])
        findings["engine"] = compare(measure(pairs["mic"][0]), late, EXTRA_S, 0.0)
    return findings


def measure_steady(make_call: MakeCall, url: str, plan: CallPlan) -> Arrivals:
    """One steady call's means; where none is, those of the steadiest."""
    tried: list[Arrivals] = []
    while len(tried) < CALLS_AT_MOST and not (tried and tried[-1].steady):
        tried.append(read_arrivals(make_call(url, plan)))
    return min(tried, key=lambda arrivals: (arrivals.moved, arrivals.scatter_ms))


def read_arrivals(recording: Recording) -> Arrivals:
    """Means of one call.

    Raises:
        ValueError: too few syllables were found again while the server told its delay.
    """
    told = [stats for stats in recording.stats if stats.get("latency_ms") is not None]
    told_s = [stats["at_s"] for stats in told]
    rest: list[tuple[float, float]] = []
    for event in find_events(recording, WARM_UP_S):
        if event.mouth_s is None or event.returned_s is None:
            continue
        after = bisect.bisect_left(told_s, event.mouth_s)  # the message that tells of the second before it
        if after < len(told):
            own_ms = told[after]["latency_ms"]
            rest.append(
                (
                    1e3 * (event.mouth_s - event.sent_s) - own_ms,
                    1e3 * (event.returned_s - event.sent_s) - own_ms,
                )
            )
    if len(rest) < MIN_SYLLABLES:
        raise ValueError(
            f"expected {MIN_SYLLABLES} syllables or more found again while the server told its delay, got "
            f"{len(rest)}; the machine may be too busy to measure on."
        )
    mouth, voice = (_middle(column) for column in np.asarray(rest).T)
    return Arrivals(
        mouth_ms=float(mouth.mean()),
        voice_ms=float(voice.mean()),
        scatter_ms=float(np.ptp(voice)),
        moved=any(stats.get("moves") for stats in recording.stats),
    )


def compare(before: Arrivals, after: Arrivals, mouth_s: float, voice_s: float) -> Finding:
    """The difference of two calls, beside what it must be."""
    return Finding(
        mouth_ms=round(after.mouth_ms - before.mouth_ms, 1),
        voice_ms=round(after.voice_ms - before.voice_ms, 1),
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


def _middle(values: np.ndarray) -> np.ndarray:
    """In order, without the largest and smallest fifth: one held-up packet must not count."""
    ordered = np.sort(values)
    cut = len(ordered) // 5
    return ordered[cut : len(ordered) - cut]
