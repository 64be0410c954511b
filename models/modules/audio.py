"""The audio encoder: a window of samples to one feature per video frame.

In: windows of 16 kHz samples with context to the left and look-ahead to the right. Out: (B, T, width).
Every frame's feature is computed from its own fixed slice of the sound, so any chunking of a stream gives
the same features as the whole file does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.face import MEL_HZ, MOUTH_DIMS, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from models.presets import AudioConfig


def mel_filterbank(bins: int, n_fft: int) -> Tensor:
    """Triangular mel filters (n_fft // 2 + 1, bins), HTK scale, 60 Hz to 7.6 kHz, from torchaudio."""
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(n_fft // 2 + 1, 60.0, 7600.0, bins, SAMPLE_RATE_HZ, norm=None, mel_scale="htk")


class LogMel(nn.Module):
    """Log-mel columns at 100 Hz, without padding: samples (B, N) -> (B, bins, (N - window) // step + 1).

    The Fourier transform is a fixed matrix product, so that every export format carries it.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, cfg: AudioConfig) -> None:
        super().__init__()
        self.cfg = cfg
        n = cfg.window_samples
        window = torch.hann_window(n, periodic=True, dtype=torch.float64)
        angle = torch.outer(
            torch.arange(n // 2 + 1, dtype=torch.float64), torch.arange(n, dtype=torch.float64)
        )
        angle = angle * (2 * torch.pi / n)
        basis = torch.cat((torch.cos(angle), torch.sin(angle))) * window
        self.register_buffer("basis", basis.float().unsqueeze(1), persistent=False)  # (2 (n/2 + 1), 1, n)
        self.register_buffer("filters", mel_filterbank(cfg.mel_bins, n).T.contiguous(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            spectrum = F.conv1d(audio.unsqueeze(1), self.basis, stride=self.cfg.step_samples)
        else:  # the same as one matrix product: PyTorch has no fast convolution with one channel in
            columns = audio.unfold(-1, self.cfg.window_samples, self.cfg.step_samples)
            spectrum = torch.matmul(self.basis.squeeze(1), columns.transpose(1, 2))
        real, imaginary = spectrum.chunk(2, dim=1)
        power = real.square() + imaginary.square()  # (B, n/2 + 1, columns)
        mel = torch.matmul(self.filters, power)
        return (torch.log(mel + 1e-4) + 4.0) / 4.0


class AudioEncoder(nn.Module):
    """Convolutions over each frame's slice of log-mel columns, and a head that predicts the mouth track."""

    def __init__(self, cfg: AudioConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.logmel = LogMel(cfg)
        width = cfg.channels
        self.enter = nn.Conv1d(cfg.mel_bins, width, 5, padding=2)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 5, stride=2, padding=2) for _ in range(3))
        columns = cfg.columns
        for _ in range(3):
            columns = (columns + 1) // 2
        self.norm = nn.LayerNorm(width * columns)
        self.leave = nn.Linear(width * columns, cfg.width)
        self.hidden = nn.Linear(cfg.width, cfg.width)
        self.mouth_head = nn.Linear(cfg.width, len(MOUTH_DIMS))

    def slices(self, mel: Tensor, frames: int) -> Tensor:
        """Log-mel (B, bins, columns) -> each frame's own columns (B * frames, bins, slice)."""
        per_frame = MEL_HZ * SAMPLES_PER_FRAME // SAMPLE_RATE_HZ
        parts = [mel[:, :, i * per_frame : i * per_frame + self.cfg.columns] for i in range(frames)]
        return torch.stack(parts, dim=1).flatten(0, 1)

    def frames_in(self, samples: int) -> int:
        """Video frames that a window of that many samples gives.

        Raises:
            ValueError: the window holds no whole number of frames.
        """
        return self.cfg.frames_in(samples)

    def encode_mel(self, slices: Tensor) -> Tensor:
        """Slices (N, bins, slice columns) -> features (N, width)."""
        x = F.gelu(self.enter(slices))
        for conv in self.convs:
            x = F.gelu(conv(x))
        x = F.gelu(self.leave(self.norm(x.flatten(1))))
        return x + F.gelu(self.hidden(x))

    def forward(self, audio: Tensor) -> Tensor:
        """Windows (B, context + T * 640 + look-ahead) -> features (B, T, width)."""
        frames = self.frames_in(audio.shape[-1])
        features = self.encode_mel(self.slices(self.logmel(audio), frames))
        return features.unflatten(0, (audio.shape[0], frames))

    def mouth(self, features: Tensor) -> Tensor:
        """The supervised guess of the mouth track (..., 6) from features (..., width): training only."""
        return self.mouth_head(features)
