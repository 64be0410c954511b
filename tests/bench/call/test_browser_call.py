"""The browser's client without a browser: what it finds in a tapped microphone, what it says where none is."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from bench.call.browser import chromium
from bench.call.browser.figures import browser_figures
from bench.call.bursts import MIC_RATE_HZ, BurstPlan
from bench.call.microphone import SilentMicrophoneError, find_onsets, write_microphone
from bench.call.recording import MOUTH_VIEW, Recording

PLAN = BurstPlan(14.0, interruptions=2)


@pytest.mark.parametrize("lead_samples", [0, 12_345, 96_000])
def test_syllables_are_found_in_the_tap_and_vowels_are_not(lead_samples: int) -> None:
    said = np.concatenate([np.zeros(lead_samples), 0.6 * PLAN.render()]).astype(np.float32)
    onsets = find_onsets(said, PLAN)
    np.testing.assert_allclose(onsets, PLAN.onset_samples() + lead_samples, atol=5)


def test_a_tap_that_was_held_up_keeps_what_is_there() -> None:
    said = PLAN.render()
    third = int(PLAN.onset_samples()[2])
    late = np.concatenate([said[: third - 9000], np.zeros(30_000, np.float32), said[third - 9000 :]])
    assert len(find_onsets(late, PLAN)) == len(PLAN.onset_samples())


def test_a_silent_tap_is_told() -> None:
    with pytest.raises(SilentMicrophoneError, match="found 0"):
        find_onsets(np.zeros(10 * MIC_RATE_HZ, np.float32), PLAN)


def test_the_microphone_is_written_with_its_lead(tmp_path: Path) -> None:
    with wave.open(str(write_microphone(tmp_path / "mic.wav", PLAN, 2.0))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (MIC_RATE_HZ, 1, 2)
        assert file.getnframes() == round((2.0 + PLAN.total_s) * MIC_RATE_HZ)


def test_a_missing_browser_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(chromium.ChromiumError, match="apt-get install chromium"):
        chromium.find_chromium()


def test_the_browsers_counters_become_figures() -> None:
    frames = 50
    height, width = MOUTH_VIEW[3], MOUTH_VIEW[2]
    video = {
        "type": "inbound-rtp", "kind": "video", "totalDecodeTime": 0.1, "framesDecoded": 50, "freezeCount": 1,
        "totalFreezesDuration": 0.196, "jitterBufferDelay": 2.0, "jitterBufferEmittedCount": 50, "packetsLost": 3,
    }  # fmt: skip
    recording = Recording(
        onset_samples=np.zeros(0, np.int64),
        mic_times_s=np.arange(100) * 0.02,
        video_times_s=np.arange(frames) * 0.04 + 0.05,
        mouths=np.zeros((frames, height, width), np.uint8),
        repeated=np.zeros(frames, bool),
        audio_times_s=np.zeros(0),
        audio_starts=np.zeros(0, np.int64),
        audio=np.zeros(0, np.float32),
        received_s=np.arange(frames) * 0.04,
        told={
            "counts": [video, {"type": "candidate-pair", "nominated": True, "currentRoundTripTime": 0.002}]
        },
    )
    # The first frame came at 0, which stands for "not told".
    found = browser_figures(recording)
    assert (
        found["arrival_to_display_ms"]["p50"] == pytest.approx(50)
        and found["arrival_to_display_ms"]["n"] == 49
    )
    assert found["decode_ms"] == 2.0 and found["picture_jitter_buffer_ms"] == 40.0
    assert found["frozen_ratio"] == pytest.approx(0.1) and found["rtt_ms"] == 2.0
    assert found["packets_lost"] == {"picture": 3, "voice": None} and found["voice_concealed_ratio"] is None
