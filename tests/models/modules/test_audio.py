"""The audio encoder sees exactly its slice of sound."""

from __future__ import annotations

import pytest
import torch

from models.face import SAMPLES_PER_FRAME
from models.modules.audio import AudioEncoder, LogMel
from models.presets import AudioConfig
from tests.tolerances import STREAM_EQUALS_OFFLINE

CFG = AudioConfig(channels=16, width=32)


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(CFG).eval()


def _window(frames: int, seed: int = 0) -> torch.Tensor:
    samples = CFG.context_samples + frames * SAMPLES_PER_FRAME + CFG.lookahead_samples
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@torch.no_grad()
def test_chunks_equal_the_whole(encoder: AudioEncoder) -> None:
    sound = _window(12)
    whole = encoder(sound)
    for first, frames in ((0, 5), (4, 5), (8, 4), (3, 1)):
        begin = first * SAMPLES_PER_FRAME
        length = CFG.context_samples + frames * SAMPLES_PER_FRAME + CFG.lookahead_samples
        part = encoder(sound[:, begin : begin + length])
        difference = (part - whole[:, first : first + frames]).norm() / whole.norm()
        assert difference <= STREAM_EQUALS_OFFLINE


@torch.no_grad()
def test_a_frame_hears_no_further_than_its_lookahead(encoder: AudioEncoder) -> None:
    sound = _window(6)
    changed = sound.clone()
    changed[:, CFG.context_samples + 1 * SAMPLES_PER_FRAME + CFG.lookahead_samples :] += 1.0
    before, after = encoder(sound), encoder(changed)
    torch.testing.assert_close(before[:, 0], after[:, 0])
    assert (before[:, -1] - after[:, -1]).abs().max() > 1e-3


def test_log_mel_agrees_with_torchaudio() -> None:
    from torchaudio.transforms import MelSpectrogram

    sound = _window(3)
    theirs = MelSpectrogram(
        16000, n_fft=400, win_length=400, hop_length=160, f_min=60.0, f_max=7600.0, n_mels=64, center=False
    )(sound)
    torch.testing.assert_close(LogMel(CFG)(sound), (torch.log(theirs + 1e-4) + 4) / 4, atol=2e-4, rtol=1e-3)


def test_a_window_of_no_whole_frames_is_refused(encoder: AudioEncoder) -> None:
    with pytest.raises(ValueError, match="whole number of frames"):
        encoder(_window(2)[:, :-1])
