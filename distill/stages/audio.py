"""Stage "audio": the audio encoder learns the mouth track from sound before it meets a picture.

In: speech with known phone timings. Out: an encoder whose features already tell the mouth's shape; the
denoiser then has to learn only what a shape looks like on a face.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.draws import StepDraw, randint
from distill.data.speech_set import SpeechSet, audio_window
from models.checkpoint import save_tensors
from models.face import MOUTH_DIMS
from models.modules.audio import AudioEncoder
from models.presets import Preset

SCALES = (0.25, 0.25, 0.2, 0.3, 0.3, 0.2)
"""Typical spread of each mouth dim over speech, so that all weigh alike."""


def mouth_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """Squared error in units of each dim's spread, averaged; the opening counts twice."""
    scale = torch.tensor(SCALES, device=predicted.device)
    error = ((predicted.float() - truth) / scale).square()
    weight = torch.ones(len(MOUTH_DIMS), device=predicted.device)
    weight[0] = 2.0
    return (error * weight).mean()


def correlations(predicted: Tensor, truth: Tensor) -> Tensor:
    """Pearson r of each column of two (N, D) tensors; 0 where a column is constant."""
    a, b = predicted - predicted.mean(0), truth - truth.mean(0)
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-8)


class AudioStage:
    """Regression of the mouth track from windows of sound."""

    name = "audio"

    def __init__(
        self, preset: Preset, data: SpeechSet, validation: SpeechSet, batch: int, frames: int, device: str
    ) -> None:
        self.preset, self.data, self.validation = preset, data, validation
        self.batch, self.frames, self.device = batch, frames, device
        self.encoder = AudioEncoder(preset.audio).to(device)

    def trainable(self) -> nn.Module:
        return self.encoder

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        cfg, generators = self.preset.audio, draw.generators()
        windows, tracks = [], []
        for generator, index in zip(generators, randint(generators, len(self.data)), strict=True):
            item = self.data[index]
            (first,) = randint([generator], item.mouth.shape[0] - self.frames)
            windows.append(
                audio_window(item.audio, first, self.frames, cfg.context_samples, cfg.lookahead_samples)
            )
            tracks.append(item.mouth[first : first + self.frames])
        truth = torch.stack(tracks).to(self.device)
        with torch.autocast(torch.device(self.device).type, enabled=False):
            mel = self.encoder.logmel(torch.stack(windows).to(self.device))
        features = self.encoder.encode_mel(self.encoder.slices(mel, self.frames))
        predicted = self.encoder.mouth(features).float().unflatten(0, truth.shape[:2])
        loss = mouth_error(predicted, truth)
        r = correlations(predicted.detach().flatten(0, 1), truth.flatten(0, 1))
        return loss, {"r_open": float(r[0]), "r_mean": float(r.mean())}

    @torch.no_grad()
    def evaluate(self, clips: int = 24) -> dict[str, float]:
        """Pearson r of each mouth dim over held-out speech."""
        cfg, predicted, truth = self.preset.audio, [], []
        for index in range(min(clips, len(self.validation))):
            item = self.validation[index]
            frames = item.mouth.shape[0]
            window = audio_window(item.audio, 0, frames, cfg.context_samples, cfg.lookahead_samples)
            predicted.append(self.encoder.mouth(self.encoder(window[None].to(self.device)))[0].cpu())
            truth.append(item.mouth)
        r = correlations(torch.cat(predicted), torch.cat(truth))
        return {f"r_{name}": round(float(v), 4) for name, v in zip(MOUTH_DIMS, r, strict=True)}

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        notes = {**notes, "validation": self.evaluate()}
        save_tensors(path, self.encoder.state_dict(), {"preset": self.preset.to_dict(), "notes": notes})

    def sheet(self, path: Path) -> None:
        """A plot of true and predicted opening of one held-out clip."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        cfg, item = self.preset.audio, self.validation[0]
        window = audio_window(item.audio, 0, item.mouth.shape[0], cfg.context_samples, cfg.lookahead_samples)
        guess = self.encoder.mouth(self.encoder(window[None].to(self.device)))[0].cpu()
        figure, axes = pyplot.subplots(3, 1, figsize=(9, 5), sharex=True)
        for row, dim in enumerate((0, 1, 2)):
            axes[row].plot(item.mouth[:, dim], label="true")
            axes[row].plot(guess[:, dim], label="predicted")
            axes[row].set_ylabel(MOUTH_DIMS[dim])
        axes[0].legend()
        figure.savefig(path, dpi=80)
        pyplot.close(figure)
