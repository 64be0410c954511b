"""Tokens of the sound: which positions a frame sees, and that a window knows nothing beyond itself."""

from __future__ import annotations

import pytest
import torch

from models.presets import WAV2VEC2, WHISPER, AudioConfig
from models.sd15.wav2vec import Wav2VecAudio
from models.sd15.whisper import POSITIONS, WhisperAudio, WhisperEncoder, frame_positions

FRAMES = 4


def _window(cfg: AudioConfig, seed: int = 0) -> torch.Tensor:
    samples = cfg.context_samples + FRAMES * 640 + cfg.lookahead_samples
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@torch.inference_mode()
def test_a_frames_tokens_are_those_of_its_moment() -> None:
    torch.manual_seed(0)
    encoder = WhisperAudio(WHISPER).eval()
    sound = _window(WHISPER)
    tokens = encoder(sound)
    assert tokens.shape == (1, FRAMES, 50, 384)
    states = encoder.encoder.whole(encoder.mel(sound))  # (1, P, 5, 384)
    first = WHISPER.context_frames * 2  # two positions a frame
    for frame in range(FRAMES):
        rows = states[0, first + 2 * frame - 4 : first + 2 * frame + 6]
        torch.testing.assert_close(tokens[0, frame], rows.flatten(0, 1))


def test_the_look_ahead_holds_every_position_that_is_asked_for() -> None:
    cfg, last = WHISPER, WHISPER.context_frames + FRAMES - 1
    available = (cfg.context_frames + FRAMES + cfg.lookahead_frames) * 2
    assert int(frame_positions(last + 1, 25, POSITIONS)[last, -1]) < available


@torch.inference_mode()
def test_more_than_thirty_seconds_are_read_in_chunks() -> None:
    torch.manual_seed(0)
    encoder = WhisperEncoder(80, 384).eval()
    mel = torch.randn(1, 80, 3100)
    states = encoder.whole(mel)
    assert states.shape == (1, 1550, 5, 384)
    torch.testing.assert_close(states[:, :1500], encoder(mel[:, :, :3000]))
    again = encoder.whole(mel[:, :, 3000:])
    torch.testing.assert_close(states[:, 1500:], again)


@torch.inference_mode()
def test_wav2vec2_gives_tokens_and_draws_nothing() -> None:
    torch.manual_seed(0)
    encoder = Wav2VecAudio(WAV2VEC2).eval()
    sound = _window(WAV2VEC2)
    tokens = encoder(sound)
    assert tokens.shape == (1, FRAMES, 32, 384) and tokens.isfinite().all()
    torch.testing.assert_close(encoder(sound), tokens, rtol=0, atol=0)
    torch.testing.assert_close(encoder(sound * 0.5), tokens, rtol=1e-2, atol=1e-3)  # loudness is taken out
    assert not torch.allclose(encoder(_window(WAV2VEC2, seed=1)), tokens, atol=1e-2)


@pytest.mark.parametrize("cfg", [WHISPER, WAV2VEC2])
def test_a_window_holds_whole_frames(cfg: AudioConfig) -> None:
    assert cfg.frames_in(_window(cfg).shape[1]) == FRAMES
    with pytest.raises(ValueError, match="whole number of frames"):
        cfg.frames_in(_window(cfg).shape[1] + 1)
