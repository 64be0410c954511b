"""wav2vec2-base as a source of tokens: every video frame gets hidden states around its own moment.

In: 16 kHz samples. Out: (B, T, positions * 4, width). The network is torchaudio's; four of its twelve layers are
taken and projected to the denoiser's width, since early layers hold sound and late ones words.

Source: Baevski et al. 2006.11477; several layers as features: Loopy 2409.02634. The projection is our own.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from models.face import FPS
from models.presets import AudioConfig
from models.sd15.whisper import POSITIONS_HZ, frame_tokens

LAYERS: Final = (2, 5, 8, 11)
HIDDEN: Final = 768


class Wav2VecAudio(nn.Module):
    """The stream's sound encoder on wav2vec2."""

    def __init__(self, cfg: AudioConfig) -> None:
        super().__init__()
        from torchaudio.models import wav2vec2_base

        if cfg.channels != HIDDEN:
            raise ValueError(f"wav2vec2-base has {HIDDEN} channels, the preset asks for {cfg.channels}.")
        self.cfg = cfg
        # Training's masking and dropout draws stay out: the stream's features are a function of the sound.
        self.network: Any = wav2vec2_base(0.0, 0.0, 0.0, 0.0, 0.0)
        self.norm = nn.LayerNorm(HIDDEN)
        self.project = nn.Linear(HIDDEN, cfg.width)

    def spectrum(self, audio: Tensor) -> Tensor:
        """The samples themselves, at zero mean and unit variance (as the network was trained)."""
        centred = audio - audio.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()

    def tokens(self, audio: Tensor) -> Tensor:
        """Normalised samples of a window -> (B, T, K, width)."""
        frames = self.cfg.frames_in(audio.shape[1])
        hidden, _ = self.network.extract_features(audio, num_layers=LAYERS[-1] + 1)
        states = torch.stack([hidden[layer] for layer in LAYERS], dim=2)  # (B, P, 4, HIDDEN)
        first = self.cfg.context_frames * POSITIONS_HZ // FPS
        centre = first + torch.arange(frames) * (POSITIONS_HZ // FPS)
        half = self.cfg.positions // 2
        rows = (centre[:, None] + torch.arange(1 - half, self.cfg.positions - half + 1)).clamp(
            0, states.shape[1] - 1
        )
        return frame_tokens(self.project(self.norm(states)), rows)

    def forward(self, audio: Tensor) -> Tensor:
        """Windows (B, context + T * 640 + look-ahead) -> (B, T, positions * 4, width)."""
        return self.tokens(self.spectrum(audio))
