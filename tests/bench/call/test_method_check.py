"""The measuring itself: 100 ms put in anywhere between microphone and frame show as 100 ms.

With a real server on an engine without networks, real WebRTC and the measuring client; see
`bench.call.method_check`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from bench.call.bursts import BurstPlan
from bench.call.call_plan import CallPlan
from bench.call.e2e import record_call
from bench.call.method_check import (
    CALLS_AT_MOST,
    ROUNDS_AT_MOST,
    SYLLABLES,
    Arrivals,
    Finding,
    Pair,
    _middle,
    check_method,
    check_places,
    check_plan,
    compare,
    measure_steady,
    read_arrivals,
)
from bench.call.plain_engine import PlainEngine
from bench.call.recording import Recording
from models.face import CANVAS_PX, FPS, MOUTH_LINE_Y
from stream.engine.protocol import StepRequest
from tests.bench.call.test_latency import synthetic_call

PLACES = ["mic", "up", "down", "engine"]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    folder = tmp_path_factory.mktemp("method")

    def make_call(url: str, plan: CallPlan) -> Recording:
        return record_call(url, plan, folder / "call.npz", quiet=True)

    return check_method(make_call, folder, check_plan())  # which makes disturbed calls again by itself


@pytest.mark.timed
@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_hundred_milliseconds_show_as_a_hundred(findings: dict[str, Finding], place: str) -> None:
    assert findings[place].holds, findings


def with_told(recording: Recording, latencies_ms: list[float]) -> Recording:
    """The call, in which the server told these delays, one a second."""
    stats = [{"at_s": 1.0 + second, "latency_ms": told} for second, told in enumerate(latencies_ms)]
    return dataclasses.replace(recording, stats=stats)


def test_what_the_server_says_of_its_own_is_taken_out() -> None:
    arrivals = read_arrivals(with_told(synthetic_call(0.3, 0.3), [280.0] * 25))
    assert arrivals.voice_ms == pytest.approx(20, abs=2)
    assert arrivals.mouth_ms == pytest.approx(40, abs=10)  # half a frame of the grid
    assert arrivals.steady


def test_a_delay_that_the_server_moves_within_a_call_is_taken_out_where_it_moved() -> None:
    early, late = synthetic_call(0.3, 0.3), synthetic_call(0.34, 0.34)
    half = 12 * 50  # packets
    moved = dataclasses.replace(
        early, audio=np.concatenate([early.audio[: half * 960], late.audio[half * 960 :]])
    )
    arrivals = read_arrivals(with_told(moved, [300.0] * 12 + [340.0] * 13))
    assert arrivals.voice_ms == pytest.approx(0, abs=2)
    assert arrivals.scatter_ms < 2
    blind = read_arrivals(with_told(moved, [300.0] * 25))
    assert not blind.steady


def test_a_call_without_the_servers_figures_says_so() -> None:
    with pytest.raises(ValueError, match="too busy"):
        read_arrivals(synthetic_call(0.3, 0.3))


def test_a_call_of_which_little_is_found_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Arrivals | ValueError] = [ValueError("too busy"), Arrivals(100, 100)]
    heard += [ValueError("too busy")] * CALLS_AT_MOST

    def read(_: Recording) -> Arrivals:
        found = heard.pop(0)
        if isinstance(found, ValueError):
            raise found
        return found

    monkeypatch.setattr("bench.call.method_check.read_arrivals", read)
    recording, plan = synthetic_call(0.3, 0.3), CallPlan(check_plan())
    assert measure_steady(lambda *_: recording, "", plan).mouth_ms == 100
    with pytest.raises(ValueError, match="too busy"):
        measure_steady(lambda *_: recording, "", plan)
    assert heard == []


class Server:
    """Answers calls with arrivals of which one in three lies `astray_ms` beside the truth."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, astray_ms: float, later_ms: float) -> None:
        self.calls: Counter[str] = Counter()
        self.astray_ms, self.later_ms = astray_ms, later_ms
        monkeypatch.setattr("bench.call.method_check.measure_steady", self.answer)

    def answer(self, _: object, url: str, plan: CallPlan) -> Arrivals:
        self.calls[url] += 1
        at_ms = 40 + (self.astray_ms if self.calls[url] == 1 and url == "before" else 0)
        at_ms += self.later_ms if url != "before" else 0
        return Arrivals(at_ms, at_ms)

    def check(self) -> dict[str, Finding]:
        plan = CallPlan(check_plan())
        pairs = {place: Pair(("before", plan), (place, plan)) for place in ("up", "down")}
        return check_places(lambda *_: pytest.fail("no call is made here"), pairs)


def test_one_call_astray_breaks_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, astray_ms=-25, later_ms=100)
    findings = server.check()
    assert all(finding.holds for finding in findings.values()), findings
    assert set(server.calls.values()) == {ROUNDS_AT_MOST}, (
        "both places' calls, the shared one once in a round"
    )


def test_what_holds_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, astray_ms=0, later_ms=100)
    assert all(finding.holds for finding in server.check().values())
    assert set(server.calls.values()) == {1}


def test_a_delay_that_is_there_is_found_however_often_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, astray_ms=0, later_ms=130)
    assert [finding.mouth_ms for finding in server.check().values()] == [130, 130]
    assert set(server.calls.values()) == {ROUNDS_AT_MOST}


def test_a_calls_mean_is_nearly_free_of_the_frames_grid() -> None:
    onsets_s = check_plan().onset_samples() / 48_000
    assert len(onsets_s) == SYLLABLES
    means_ms = [
        1e3 * _middle((phase - onsets_s) % (1 / FPS)).mean() for phase in np.linspace(0, 1 / FPS, 500)
    ]
    assert np.ptp(means_ms) < 5.5  # TOLERANCE_MS is 10; six syllables: 13


def test_a_finding_holds_within_ten_milliseconds() -> None:
    assert compare(Arrivals(10, 20), Arrivals(105, 125), 0.1, 0.1).holds
    assert not compare(Arrivals(10, 20), Arrivals(121, 125), 0.1, 0.1).holds


def test_a_few_syllables_meet_all_of_a_frame() -> None:
    plan = check_plan(9)
    assert isinstance(plan, BurstPlan) and len(plan.onset_samples()) == 9
    phases = np.sort(plan.onset_samples()[2:8] / 48_000 % (1 / FPS))
    assert np.diff(phases).max() < 0.5 / FPS


def test_the_plain_engines_mouth_follows_the_sound_as_late_as_told() -> None:
    spec = PlainEngine().spec
    picture = np.full((spec.height, spec.width, 3), 200, np.uint8)
    row, column = (MOUTH_LINE_Y + 10) * spec.height // CANVAS_PX, spec.width // 2
    audio = np.zeros(spec.window_samples, np.float32)
    audio[spec.context_samples : spec.context_samples + spec.samples_per_frame] = 0.2

    def open_frames(lag_s: float) -> list[bool]:
        engine = PlainEngine(lag_s=lag_s)
        (result,) = engine.step([StepRequest(engine.open(picture, 0), audio)])
        return [bool((frame[row, column] < 120).all()) for frame in result.frames]

    assert open_frames(0.0)[:2] == [True, False]
    assert open_frames(0.04)[:2] == [False, True]
    with pytest.raises(ValueError, match="lag"):
        PlainEngine(lag_s=9.0)


def test_a_disturbed_call_is_made_again_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = iter([Arrivals(0, 0, scatter_ms=9), Arrivals(0, 0, moved=True), Arrivals(100, 100, scatter_ms=2)])
    monkeypatch.setattr("bench.call.method_check.read_arrivals", lambda _: next(heard))
    recording = synthetic_call(0.3, 0.3)
    assert measure_steady(lambda *_: recording, "", CallPlan(check_plan())).mouth_ms == 100

    never = iter([Arrivals(call, call, scatter_ms=9 - call) for call in range(CALLS_AT_MOST)])
    monkeypatch.setattr("bench.call.method_check.read_arrivals", lambda _: next(never))
    assert measure_steady(lambda *_: recording, "", CallPlan(check_plan())).mouth_ms == CALLS_AT_MOST - 1
