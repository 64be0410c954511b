"""Interruptions whose true times are known show as those times."""

from __future__ import annotations

import numpy as np
import pytest

from bench.call.bursts import MIC_RATE_HZ, PACKET_SAMPLES, VOWEL_PERIOD_S, VOWEL_S, BurstPlan, make_syllable
from bench.call.interruption import analyse_interruptions, find_interruptions
from bench.call.recording import MOUTH_VIEW, Recording

PLAN = BurstPlan(6.0, interruptions=3)
DELAY_S = 0.35


def interrupted_call(silent_after_s: float, rest_after_s: float, clears: bool = True) -> Recording:
    """A call in which each long vowel, heard and seen `DELAY_S` late, is cut short so long after its `clear`."""
    samples = round(PLAN.total_s * MIC_RATE_HZ)
    ends_s = PLAN.vowel_spans()[:, 1] / MIC_RATE_HZ
    audio = np.zeros(samples, np.float32)
    video_s = np.arange(round(PLAN.total_s * 25)) / 25 + 0.007
    opened = np.zeros(len(video_s))
    vowel = make_syllable(VOWEL_S)
    for end_s in ends_s:
        start_s = end_s - VOWEL_S + DELAY_S
        kept = vowel[: round((end_s + silent_after_s - start_s) * MIC_RATE_HZ)]
        at = round(start_s * MIC_RATE_HZ)
        audio[at : at + kept.size] = kept
        opened[(video_s >= start_s) & (video_s < end_s + rest_after_s)] = 1.0
    height, width = MOUTH_VIEW[3], MOUTH_VIEW[2]
    texture = np.random.default_rng(0).integers(60, 200, (height, width))
    mouths = np.repeat(texture[None], len(video_s), axis=0)
    mouths[:, height // 2 : height // 2 + 12, 20:60] -= (50 * opened[:, None, None]).astype(int)
    packets = samples // PACKET_SAMPLES
    return Recording(
        onset_samples=PLAN.onset_samples(),
        mic_times_s=np.arange(packets) * PACKET_SAMPLES / MIC_RATE_HZ,
        video_times_s=video_s,
        mouths=mouths.astype(np.uint8),
        repeated=np.zeros(len(video_s), bool),
        audio_times_s=np.arange(packets) * PACKET_SAMPLES / MIC_RATE_HZ,
        audio_starts=np.arange(packets, dtype=np.int64) * PACKET_SAMPLES,
        audio=audio,
        clear_times_s=ends_s if clears else np.zeros(0),
    )


@pytest.mark.parametrize(("silent_s", "rest_s"), [(0.05, 0.1), (0.12, 0.06), (0.3, 0.2)])
def test_known_times_show(silent_s: float, rest_s: float) -> None:
    found = find_interruptions(interrupted_call(silent_s, rest_s))
    assert len(found) == 3
    for one in found:
        assert one.silent_s == pytest.approx(silent_s, abs=0.01)
        assert one.rest_s is not None and rest_s - 0.001 <= one.rest_s <= rest_s + 0.041  # never rounded down


def test_both_counts_the_later_one() -> None:
    figures = analyse_interruptions(interrupted_call(0.1, 0.2))
    assert figures["sent"] == figures["found"] == 3
    assert figures["clear_to_both_ms"]["p50"] == pytest.approx(220, abs=22)


def test_a_call_without_interruptions_says_nothing() -> None:
    assert analyse_interruptions(interrupted_call(0.1, 0.1, clears=False)) == {}


def test_the_plan_ends_with_its_vowels() -> None:
    track = PLAN.render()
    assert len(track) == round((6.0 + 3 * VOWEL_PERIOD_S) * MIC_RATE_HZ)
    for start, end in PLAN.vowel_spans():
        assert end - start == round(VOWEL_S * MIC_RATE_HZ)
        assert (
            np.abs(track[start - 2400 : start]).max() == 0.0 and np.abs(track[end : end + 2400]).max() == 0.0
        )
        assert np.abs(track[end - 9600 : end - 4800]).max() > 0.1
