"""The detection against synthetic calls whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.call.bursts import MIC_RATE_HZ, PACKET_SAMPLES, BurstPlan, make_syllable
from bench.call.latency import analyse, find_events, frozen_ratio, mouth_motion
from bench.call.recording import MOUTH_SEARCH_PX, MOUTH_VIEW, Recording

FRAME_S = 0.04
PLAN = BurstPlan(24.0)


def picture(openness: float, drift: tuple[int, int], noise: np.random.Generator) -> np.ndarray:
    """A mouth on skin with a nose shadow, moved by `drift`, with coding noise."""
    _, _, width, height = MOUTH_VIEW
    y, x = np.mgrid[:height, :width]
    y, x = y - height // 2 - drift[1], x - width // 2 - drift[0]
    skin = 170 + 12 * np.sin(x / 9.0) + 10 * np.cos(y / 7.0)
    lips = ((x / 24.0) ** 2 + (y / 5.0) ** 2 < 1) * -40
    inside = (
        ((x / 20.0) ** 2 + ((y - 5 * openness) / max(0.5, 14 * openness)) ** 2 < 1) * -90 * (openness > 0.05)
    )
    return np.clip(skin + lips + inside + noise.normal(0, 1.0, skin.shape), 0, 255).astype(np.uint8)


def synthetic_call(
    video_delay_s: float, audio_delay_s: float, *, moves: bool = True, seed: int = 0
) -> Recording:
    """A call in which each syllable opens the mouth and returns after exactly these delays.

    Frames arrive on a 40 ms grid; the mouth opens with the first frame due at or after its time.
    """
    noise = np.random.default_rng(seed)
    onsets_s = PLAN.onset_samples() / MIC_RATE_HZ
    frames = int(PLAN.duration_s / FRAME_S)
    video_times_s = 0.013 + np.arange(frames) * FRAME_S
    mouths = []
    for at_s in video_times_s:
        since = at_s - video_delay_s - onsets_s
        speaking = moves and bool(((since >= -1e-9) & (since < 0.25)).any())
        drift = (round(2.4 * np.sin(at_s / 1.7)), round(1.8 * np.cos(at_s / 2.3)))
        mouths.append(picture(0.7 if speaking else 0.0, drift, noise))
    track = PLAN.render()
    delay = round(audio_delay_s * MIC_RATE_HZ)
    audio = np.concatenate([np.zeros(delay, np.float32), track])[: track.size]
    audio = audio * 0.7 + noise.normal(0, 0.003, audio.size).astype(np.float32)
    packets = track.size // PACKET_SAMPLES
    return Recording(
        onset_samples=PLAN.onset_samples(),
        mic_times_s=np.arange(packets) * PACKET_SAMPLES / MIC_RATE_HZ,
        video_times_s=video_times_s,
        mouths=np.array(mouths),
        repeated=np.zeros(frames, dtype=bool),
        audio_times_s=np.arange(packets) * PACKET_SAMPLES / MIC_RATE_HZ,
        audio_starts=np.arange(packets) * PACKET_SAMPLES,
        audio=audio.astype(np.float32),
        marks_s={"offer_sent": 0.0, "answered": 0.2, "first_video": 0.5},
    )


def true_mouth_delays_ms(video_delay_s: float) -> np.ndarray:
    """What the 40 ms grid makes of the delay, for every syllable."""
    shown = PLAN.onset_samples() / MIC_RATE_HZ + video_delay_s
    grid = 0.013 + np.ceil((shown - 0.013) / FRAME_S - 1e-6) * FRAME_S
    return (grid - PLAN.onset_samples() / MIC_RATE_HZ) * 1e3


@pytest.mark.parametrize("video_delay_s", [0.12, 0.333, 0.71])
def test_a_known_video_delay_shows_as_that_delay(video_delay_s: float) -> None:
    events = find_events(synthetic_call(video_delay_s, 0.3))
    truth = true_mouth_delays_ms(video_delay_s)
    assert len(events) >= 8
    for event, true_ms in zip(events, truth, strict=False):
        assert event.mouth_s is not None
        assert (event.mouth_s - event.sent_s) * 1e3 == pytest.approx(true_ms, abs=10)


@pytest.mark.parametrize("audio_delay_s", [0.08, 0.4, 0.9])
def test_a_known_audio_delay_shows_as_that_delay(audio_delay_s: float) -> None:
    for event in find_events(synthetic_call(0.3, audio_delay_s)):
        assert event.returned_s is not None
        assert event.returned_s - event.sent_s == pytest.approx(audio_delay_s, abs=0.002)


def test_skew_is_positive_where_the_sound_leads() -> None:
    late_picture = analyse(synthetic_call(0.5, 0.3))["av_skew_ms"]
    late_sound = analyse(synthetic_call(0.3, 0.5))["av_skew_ms"]
    assert late_picture["p50"] == pytest.approx(200 + 20, abs=20)  # a frame's quantisation: 0..40 ms
    assert late_sound["p50"] == pytest.approx(-200 + 20, abs=20)


def test_figures_of_a_steady_call() -> None:
    figures = analyse(synthetic_call(0.3, 0.3), warm_up_s=1.0)
    assert figures["fps"] == pytest.approx(25.0, abs=0.01)
    assert figures["frozen_ratio"] == 0.0
    assert figures["start_ms"] == {"answered": 200.0, "first_video": 500.0}
    assert figures["syllables"]["seen"] == figures["syllables"]["heard"] == figures["syllables"]["sent"]


def test_a_face_that_does_not_move_is_not_seen() -> None:
    figures = analyse(synthetic_call(0.3, 0.3, moves=False))
    assert figures["syllables"]["seen"] == 0
    assert figures["mic_to_frame_ms"] == {"n": 0}
    assert figures["syllables"]["heard"] == figures["syllables"]["sent"]


def test_silence_is_not_heard() -> None:
    call = synthetic_call(0.3, 0.3)
    call.audio[:] = np.random.default_rng(0).normal(0, 0.01, call.audio.size)
    assert analyse(call)["syllables"]["heard"] == 0


def test_head_motion_alone_is_not_mouth_motion() -> None:
    noise = np.random.default_rng(0)
    margin = MOUTH_SEARCH_PX
    rest = picture(0.0, (0, 0), noise)
    moved = np.array([picture(0.0, (margin - 1, -margin + 1), noise), picture(0.7, (2, 1), noise)])
    still, opened = mouth_motion(moved, rest)
    assert still < 2.0
    assert opened > 4 * still


def test_warm_up_is_left_out() -> None:
    call = synthetic_call(0.3, 0.3)
    assert len(find_events(call, warm_up_s=10.0)) < len(find_events(call))


def test_a_call_without_video_gets_a_sentence() -> None:
    call = synthetic_call(0.3, 0.3)
    empty = Recording(
        call.onset_samples,
        call.mic_times_s,
        call.video_times_s[:3],
        call.mouths[:3],
        call.repeated[:3],
        call.audio_times_s,
        call.audio_starts,
        call.audio,
    )
    with pytest.raises(ValueError, match="got 3 frames"):
        analyse(empty)


def test_frozen_time_follows_the_standard() -> None:
    steady = np.arange(0, 10, FRAME_S)
    assert frozen_ratio(steady) == 0.0
    assert frozen_ratio(steady[:1]) == 0.0
    gap = np.concatenate([steady, steady + steady[-1] + 1.0])
    assert frozen_ratio(gap) == pytest.approx(1.0 / (gap[-1] - gap[0]), rel=1e-6)
    short = np.delete(steady, [50, 51])  # 120 ms: late, not frozen
    assert frozen_ratio(short) == 0.0


def test_a_recording_survives_the_disk(tmp_path: Path) -> None:
    call = synthetic_call(0.3, 0.3)
    call.stats.append({"type": "stats", "fps": 25.0})
    call.save(tmp_path / "call.npz")
    loaded = Recording.load(tmp_path / "call.npz")
    assert loaded.marks_s == call.marks_s
    assert loaded.stats == call.stats
    np.testing.assert_array_equal(loaded.mouths, call.mouths)
    np.testing.assert_array_equal(loaded.audio, call.audio)


def test_a_recording_with_missing_pictures_is_refused() -> None:
    call = synthetic_call(0.3, 0.3)
    with pytest.raises(ValueError, match="one mouth picture"):
        Recording(
            call.onset_samples,
            call.mic_times_s,
            call.video_times_s,
            call.mouths[:-1],
            call.repeated,
            call.audio_times_s,
            call.audio_starts,
            call.audio,
        )


def test_syllables_start_on_packets_and_do_not_overlap() -> None:
    onsets = PLAN.onset_samples()
    assert (onsets % PACKET_SAMPLES == 0).all()
    assert (np.diff(onsets) > make_syllable().size * 2).all()
    assert onsets[0] >= (PLAN.lead_in_s - PLAN.jitter_s) * MIC_RATE_HZ
    track = PLAN.render()
    assert np.abs(track).max() <= 1.0
    assert np.abs(track[: onsets[0]]).max() == 0.0


def test_a_syllable_opens_with_a_click_and_goes_on_as_a_vowel() -> None:
    syllable = make_syllable()
    assert np.abs(syllable[:96]).max() > 0.1  # within 2 ms
    spectrum = np.abs(np.fft.rfft(syllable[4800:9600]))
    frequency_hz = np.fft.rfftfreq(4800, 1 / MIC_RATE_HZ)
    vowel = spectrum[(frequency_hz > 500) & (frequency_hz < 1400)].sum()
    assert vowel > 3 * spectrum[frequency_hz > 2000].sum()


@pytest.mark.parametrize("arguments", [{"duration_s": 2.0}, {"duration_s": 9.0, "period_s": 0.3}])
def test_a_plan_that_cannot_be_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a"):
        BurstPlan(**arguments)
