"""What counts as a voice: speech passes whole, rooms without speakers do not, however the sound is cut."""

from __future__ import annotations

import numpy as np
import pytest

from bench.idle import babble, room_noise, speech_and_silence
from models.face import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from models.voice import AHEAD_FRAMES, HOLD_FRAMES, REACH_FRAMES, voice_gains, voice_only, voiced_frames

RNG = np.random.default_rng(5)


def hiss(seconds: float, rms: float) -> np.ndarray:
    return (rms * RNG.standard_normal(round(seconds * SAMPLE_RATE_HZ))).astype(np.float32)


@pytest.mark.parametrize("gain", [0.02, 0.2, 1.0])
def test_speech_passes_untouched_at_any_loudness(gain: float) -> None:
    sound = (gain * babble(4.0)).astype(np.float32)
    gains = voice_gains(sound)
    assert gains[HOLD_FRAMES:-HOLD_FRAMES].min() == 1.0
    np.testing.assert_array_equal(
        voice_only(sound)[10 * SAMPLES_PER_FRAME : -10 * SAMPLES_PER_FRAME],
        sound[10 * SAMPLES_PER_FRAME : -10 * SAMPLES_PER_FRAME],
    )


@pytest.mark.parametrize("rms", [0.0, 0.001, 0.01, 0.1, 0.5])
def test_hiss_and_silence_are_no_voice(rms: float) -> None:
    assert voice_only(hiss(4.0, rms)).max() == 0.0


def test_breath_is_no_voice_and_typing_rarely_looks_like_one() -> None:
    sound = room_noise(40.0)
    assert voice_gains(sound).mean() < 0.45
    loud = np.sqrt(np.mean(sound.reshape(-1, SAMPLES_PER_FRAME) ** 2, axis=1)) > 0.02
    assert voiced_frames(sound)[loud].mean() < 0.12


def test_speech_is_found_in_a_noisy_room() -> None:
    sound = babble(4.0)
    level = float(np.sqrt(np.mean(sound**2)))
    for snr_db in (20, 10):
        noisy = sound + hiss(4.0, level * 10 ** (-snr_db / 20))
        assert voice_gains(noisy)[HOLD_FRAMES:-HOLD_FRAMES].min() == 1.0


def test_hisses_beside_a_voice_pass_and_the_gain_ends_when_they_would() -> None:
    sound, speaking = speech_and_silence(2, 1.0)
    gains = voice_gains((sound + hiss(3.0, 0.003)).astype(np.float32))
    first, last = np.flatnonzero(speaking)[[0, -1]]
    assert gains[first - AHEAD_FRAMES + 1 : last + 4].min() == 1.0
    assert gains[: first - AHEAD_FRAMES - 2].max() == 0.0
    assert gains[last + REACH_FRAMES + 2 :].max() == 0.0


def test_a_frame_depends_on_its_reach_alone() -> None:
    sound = np.concatenate([babble(1.0), hiss(0.8, 0.02), babble(1.2, seed=3)]).astype(np.float32)
    whole = voice_gains(sound)
    frames = len(whole)
    before, after = REACH_FRAMES + 2, AHEAD_FRAMES
    for frame in range(before, frames - after):
        piece = sound[(frame - before) * SAMPLES_PER_FRAME : (frame + after + 1) * SAMPLES_PER_FRAME]
        assert voice_gains(piece)[before] == whole[frame]


def test_gains_move_without_a_step() -> None:
    sound, _ = speech_and_silence(4, 0.8)
    constant = np.where(sound == 0, 1e-9, sound).astype(np.float32)
    gain = voice_only(constant) / constant
    assert np.abs(np.diff(gain)).max() < 2 / SAMPLES_PER_FRAME


@pytest.mark.parametrize("shape", [(0,), (639,), (2, 640)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiple of 640"):
        voice_gains(np.zeros(shape, np.float32))
