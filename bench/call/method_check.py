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

A mouth is seen on that grid too, and a call's mean over it depends on where the grid lies, the less the more
syllables there are (`check_plan`). A place whose finding does not hold is measured anew, both its calls,
`ROUNDS_AT_MOST` times in all; what counts is the median over a kind's calls. A delay that is there stays in all.
"""

from __future__ import annotations

import bisect
import contextlib
import statistics
from collections.abc import Callable, Mapping, Sequence
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
SYLLABLES: Final = 13
"""In a call; a Fibonacci number, see `check_plan`."""
CALLS_AT_MOST: Final = 3
"""Until one is steady."""
ROUNDS_AT_MOST: Final = 3
"""Of calls without and with the delay, where the finding does not hold."""
STEADY_MS: Final = 6.0
"""Between the voice's largest and smallest remainder, those that a mean leaves out apart."""
WARM_UP_S: Final = 0.5

MakeCall = Callable[[str, CallPlan], Recording]
"""Makes one call to a server at an address."""


Call = tuple[str, CallPlan]
"""A server's address and a kind of call to it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A call without the extra delay and one with it, and by how much mouth and voice must be later, in seconds."""

    before: Call
    after: Call
    mouth_s: float = EXTRA_S
    voice_s: float = EXTRA_S


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


def check_plan(syllables: int = SYLLABLES) -> BurstPlan:
    """Syllables a second apart; each begins 0.618 of a frame later in the frames' grid than the one before.

    So any few of them meet its phases evenly (the golden ratio's multiples do), and a mean over them is nearly free
    of it. On a grid that stands still two calls' means differ by 4.3 ms (standard deviation) with 6 syllables, 2.9
    with 9, 1.6 with 13; 13.4, 9.5 and 5.5 at most. As many as a Fibonacci number says lie most evenly.
    """
    period_s = 1.0 + 0.618034 / FPS
    length_s = 1.5 + (syllables + 0.5) * period_s
    return BurstPlan(length_s, lead_in_s=1.5, period_s=period_s, jitter_s=0.0, grid_samples=1)


def check_method(make_call: MakeCall, folder: Path, bursts: BurstPlan) -> dict[str, Finding]:
    """Measure every place: six calls, and more where one was disturbed or a finding does not hold.

    Args:
        make_call: the client.
        folder: for the servers' logs.
        bursts: what is said in each call.

    Raises:
        ValueError: a kind of call in which too few syllables were found again, however often it was made.
    """
    none, extra = Impairment(), Impairment(delay_s=EXTRA_S)
    relayed = CallPlan(bursts, up=none, down=none)
    direct = CallPlan(bursts, mic_delay_s=0.0)
    lag = ["--lag-ms", str(1e3 * EXTRA_S)]
    with contextlib.ExitStack() as stack:
        url, _ = stack.enter_context(running_server(folder / "plain.log", "plain"))
        late_url, _ = stack.enter_context(running_server(folder / "late.log", "plain", lag))
        return check_places(
            make_call,
            {
                "mic": Pair((url, direct), (url, CallPlan(bursts, mic_delay_s=EXTRA_S))),
                "up": Pair((url, relayed), (url, replace(relayed, up=extra))),
                "down": Pair((url, relayed), (url, replace(relayed, down=extra))),
                "engine": Pair((url, direct), (late_url, direct), voice_s=0.0),
            },
        )


def check_places(make_call: MakeCall, pairs: Mapping[str, Pair]) -> dict[str, Finding]:
    """Every place's finding, from the medians of as many calls as it took.

    A kind of call that two places share is made once in a round; the other place has its median as well.
    """
    made: dict[Call, list[Arrivals]] = {}
    findings: dict[str, Finding] = {}
    for _ in range(ROUNDS_AT_MOST):
        open_pairs = [
            pair for place, pair in pairs.items() if place not in findings or not findings[place].holds
        ]
        for call in dict.fromkeys(call for pair in open_pairs for call in (pair.before, pair.after)):
            made.setdefault(call, []).append(measure_steady(make_call, *call))
        findings = {
            place: compare(
                median_of(made[pair.before]), median_of(made[pair.after]), pair.mouth_s, pair.voice_s
            )
            for place, pair in pairs.items()
        }
    return findings


def median_of(calls: Sequence[Arrivals]) -> Arrivals:
    """What calls of one kind say together."""
    return Arrivals(
        mouth_ms=statistics.median(call.mouth_ms for call in calls),
        voice_ms=statistics.median(call.voice_ms for call in calls),
    )


def measure_steady(make_call: MakeCall, url: str, plan: CallPlan) -> Arrivals:
    """One steady call's means; where none is, those of the steadiest.

    Raises:
        ValueError: too few syllables were found again in every one.
    """
    tried: list[Arrivals] = []
    problem = None
    for _ in range(CALLS_AT_MOST):
        recording = make_call(url, plan)
        try:
            tried.append(read_arrivals(recording))
        except ValueError as error:
            problem = error
        else:
            if tried[-1].steady:
                break
    if problem and not tried:
        raise problem
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
