"""Whisper's encoder as a source of tokens: every video frame gets the hidden states around its own moment.

In: 16 kHz samples. Out: (B, T, positions * 5, 384). whisper-tiny has four blocks and so five hidden states (the
embedded sound and what each block leaves); 50 positions a second. Key names are those of the public weights; the
text decoder is not needed and not built.

Source: Radford et al. 2212.04356; which states and positions make a frame's tokens: the public EchoMimic code.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.attention import attention
from models.face import FPS, SAMPLE_RATE_HZ
from models.modules.blocks import join_heads, split_heads
from models.presets import AudioConfig

HEADS: Final = 6
BLOCKS: Final = 4
CHUNK_COLUMNS: Final = 3000
"""Mel columns (10 ms each) that Whisper reads at a time; shorter sound is filled up with zeros."""
POSITIONS: Final = CHUNK_COLUMNS // 2
POSITIONS_HZ: Final = 50
WINDOW_SAMPLES: Final = 400
STEP_SAMPLES: Final = 160
BEFORE: Final = 4
"""Positions before a frame's own; the rest of its window is its own and those after it."""


def long_sinusoids(positions: int, width: int) -> Tensor:
    """Sines, then cosines, (positions, width), wavelengths up to 10,000 * 2 pi."""
    half = width // 2
    rate = torch.exp(-math.log(10000.0) / (half - 1) * torch.arange(half, dtype=torch.float32))
    angle = torch.arange(positions, dtype=torch.float32)[:, None] * rate
    return torch.cat((angle.sin(), angle.cos()), dim=1)


class WhisperMel(nn.Module):
    """Whisper's log-mel columns: samples (B, N) -> (B, 80, N // 160), about -1..1.

    The loudest column of the whole input sets the floor, 8 decades of power below it.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        with torch.device("cpu"):  # tables that no file holds: real even where the model is built on "meta"
            filters = melscale_fbanks(
                WINDOW_SAMPLES // 2 + 1,
                0.0,
                SAMPLE_RATE_HZ / 2,
                bins,
                SAMPLE_RATE_HZ,
                norm="slaney",
                mel_scale="slaney",
            )
            window = torch.hann_window(WINDOW_SAMPLES)
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("window", window, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(
            audio, WINDOW_SAMPLES, STEP_SAMPLES, window=self.window, center=True, return_complex=True
        )
        power = spectrum[..., :-1].abs().square()
        level = (self.filters @ power).clamp_min(1e-10).log10()
        level = torch.maximum(level, level.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (level + 4.0) / 4.0


class WhisperAttention(nn.Module):
    """Self-attention; keys have no bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(layer(x), HEADS) for layer in (self.query, self.key, self.value))
        return self.out(join_heads(attention(q, k, v)))


class WhisperBlock(nn.Module):
    """Pre-norm attention and perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = WhisperAttention(width)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp(self.mlp_ln(x))


class WhisperEncoder(nn.Module):
    """Log-mel columns to hidden states. ``ln_post`` is in the files and not used for these tokens."""

    positional_embedding: Tensor

    def __init__(self, bins: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(bins, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", long_sinusoids(POSITIONS, width))
        self.blocks = nn.ModuleList(WhisperBlock(width) for _ in range(BLOCKS))
        self.ln_post = nn.LayerNorm(width)

    def reset_table(self) -> None:
        """Write the table again, for a module that was built on "meta"."""
        self.positional_embedding.copy_(long_sinusoids(*self.positional_embedding.shape))

    def forward(self, mel: Tensor) -> Tensor:
        """(B, bins, columns <= 3000) -> hidden states (B, columns / 2, 5, width)."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]].to(x.dtype)
        states = [x]
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return torch.stack(states, dim=2)

    def whole(self, mel: Tensor) -> Tensor:
        """Log-mel of any length, (B, bins, columns), in chunks of 30 s, the last one filled up with zeros."""
        states = []
        for chunk in mel.split(CHUNK_COLUMNS, dim=2):
            columns = chunk.shape[2]
            filled = F.pad(chunk, (0, CHUNK_COLUMNS - columns))
            states.append(self(filled)[:, : columns // 2])
        return torch.cat(states, dim=1)


def frame_positions(frames: int, fps: float, available: int, width: int = 10) -> Tensor:
    """Which positions make each frame's tokens: (frames, width), kept inside 0 .. available - 1."""
    centre = torch.tensor([int(frame * POSITIONS_HZ / fps) for frame in range(frames)])
    return (centre[:, None] + torch.arange(-BEFORE, width - BEFORE)).clamp(0, available - 1)


def frame_count(positions: int, fps: float) -> int:
    """Frames that EchoMimic makes of a sound: up to the first whose moment lies behind the last position."""
    frame = 0
    while int(frame * POSITIONS_HZ / fps) <= positions:
        frame += 1
    return frame + 1


def frame_tokens(states: Tensor, rows: Tensor) -> Tensor:
    """Hidden states (B, P, S, W) and rows (T, K) -> (B, T, K * S, W), position by position."""
    return states[:, rows.to(states.device)].flatten(2, 3)


class WhisperAudio(nn.Module):
    """The stream's sound encoder on Whisper."""

    def __init__(self, cfg: AudioConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.mel = WhisperMel(cfg.mel_bins)
        self.encoder = WhisperEncoder(cfg.mel_bins, cfg.channels)

    def spectrum(self, audio: Tensor) -> Tensor:
        """What has to be computed in fp32: samples (B, N) -> log-mel."""
        return self.mel(audio)

    def tokens(self, mel: Tensor) -> Tensor:
        """Log-mel of a window -> (B, T, K, width) for the frames between its context and its look-ahead."""
        before = self.cfg.context_frames * POSITIONS_HZ // FPS
        frames = self.cfg.frames_in(mel.shape[2] * STEP_SAMPLES)
        states = self.encoder.whole(mel)
        every = frame_positions(self.cfg.context_frames + frames, FPS, states.shape[1], self.cfg.positions)
        assert int(every[self.cfg.context_frames, BEFORE]) == before
        return frame_tokens(states, every[self.cfg.context_frames :])

    def forward(self, audio: Tensor) -> Tensor:
        """Windows (B, context + T * 640 + look-ahead) -> (B, T, positions * 5, width)."""
        return self.tokens(self.spectrum(audio))
