"""What a caller in a real Chromium gets from the media path: first picture, flow, lip-sync, interruption.

The server runs `bench.call.plain_engine`, so that the figures are the path's and not the networks'.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.call.browser.call import BrowserCall, call
from bench.call.browser.figures import browser_figures
from bench.call.bursts import BurstPlan
from bench.call.call_plan import CallPlan
from bench.call.interruption import analyse_interruptions
from bench.call.latency import analyse
from bench.call.server_process import running_server
from models.face import FPS
from tests.machine_time import measured_undisturbed

pytestmark = [pytest.mark.timed, pytest.mark.slow]
HALF_FRAME_MS = 500 / FPS
"""The plain engine opens the mouth with the frame in which the sound begins: half a frame early, in the mean."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[BrowserCall, dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("call")
    plan = CallPlan(BurstPlan(13.0, lead_in_s=2.0, period_s=1.3, grid_samples=1, interruptions=2))
    # Called in a thread of its own: Playwright may hold this one already, for the other tests' browser.
    with running_server(folder / "server.log", "plain") as (url, _), ThreadPoolExecutor(1) as pool:

        def take() -> tuple[BrowserCall, dict[str, Any]]:
            done = pool.submit(call, url, plan, folder, starts=2).result()
            return done, analyse(done.recording, warm_up_s=1.0)

        return measured_undisturbed(take)


def test_the_first_picture_comes_within_a_second_of_start(
    measured: tuple[BrowserCall, dict[str, Any]],
) -> None:
    first_frames_ms = measured[0].first_frames_ms
    assert len(first_frames_ms) == 3
    assert float(np.median(first_frames_ms)) <= 1000, first_frames_ms


def test_pictures_flow(measured: tuple[BrowserCall, dict[str, Any]]) -> None:
    done, figures = measured
    assert figures["fps"] >= 24, figures
    assert browser_figures(done.recording)["frozen_ratio"] < 0.005, browser_figures(done.recording)


def test_mouth_and_voice_come_together(measured: tuple[BrowserCall, dict[str, Any]]) -> None:
    done, figures = measured
    assert figures["syllables"]["seen"] >= 5 and figures["syllables"]["heard"] >= 5, figures
    assert abs(figures["av_skew_ms"]["p50"] + HALF_FRAME_MS) <= 40, figures["av_skew_ms"]
    assert figures["mic_to_frame_ms"]["p50"] < 600, figures["mic_to_frame_ms"]
    assert abs(browser_figures(done.recording)["playout_skew_ms"]["p50"]) <= 60


def test_an_interruption_is_seen_and_heard(measured: tuple[BrowserCall, dict[str, Any]]) -> None:
    interruption = analyse_interruptions(measured[0].recording)
    assert interruption["sent"] == 2 and interruption["found"] >= 1, interruption
    assert interruption["clear_to_both_ms"]["p50"] < 350, interruption
