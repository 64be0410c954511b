"""The measuring itself: 100 ms put in anywhere between microphone and frame show as 100 ms.

With a real server on an engine without networks, real WebRTC and the measuring client; see `bench.method_check`.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from bench.bursts import BurstPlan
from bench.method_check import Arrivals, Finding, check_method, check_plan, compare
from bench.peer import call
from bench.plain_engine import PlainEngine
from models.face import FPS, MOUTH_LINE_Y
from stream.engine_protocol import StepRequest

PLACES = ["mic", "up", "down", "engine"]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    folder = tmp_path_factory.mktemp("method")
    return check_method(lambda url, plan: asyncio.run(call(url, plan)), folder, check_plan(6))


@pytest.mark.parametrize("place", PLACES)
def test_a_hundred_milliseconds_show_as_a_hundred(findings: dict[str, Finding], place: str) -> None:
    assert findings[place].holds, findings


def test_what_the_server_says_of_its_own_is_taken_out() -> None:
    found = compare(Arrivals(300, 320, 310, 9), Arrivals(425, 445, 335, 9), 0.1, 0.1)
    assert (found.mouth_ms, found.voice_ms, found.holds) == (100, 100, True)
    assert not compare(Arrivals(300, 320, 310, 9), Arrivals(415, 420, 310, 9), 0.1, 0.1).holds


def test_a_few_syllables_meet_all_of_a_frame() -> None:
    plan = check_plan(9)
    assert isinstance(plan, BurstPlan) and len(plan.onset_samples()) == 9
    phases = np.sort(plan.onset_samples()[2:8] / 48_000 % (1 / FPS))
    assert np.diff(phases).max() < 0.5 / FPS


def test_the_plain_engines_mouth_follows_the_sound_as_late_as_told() -> None:
    picture = np.full((256, 256, 3), 200, np.uint8)
    spec = PlainEngine().spec
    audio = np.zeros(spec.window_samples, np.float32)
    audio[spec.context_samples : spec.context_samples + spec.samples_per_frame] = 0.2

    def open_frames(lag_s: float) -> list[bool]:
        engine = PlainEngine(lag_s=lag_s)
        (result,) = engine.step([StepRequest(engine.open(picture, 0), audio)])
        return [bool((frame[MOUTH_LINE_Y + 10, 128] < 120).all()) for frame in result.frames]

    assert open_frames(0.0)[:2] == [True, False]
    assert open_frames(0.04)[:2] == [False, True]
    with pytest.raises(ValueError, match="lag"):
        PlainEngine(lag_s=9.0)
