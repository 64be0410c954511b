"""Stage "vae": the autoencoder, on pairs of one identity's pictures.

In: pictures of the corpus. Out: a VAE whose decoder paints, over the reference picture, what the latents say
has changed. Crops keep a step cheap: most lie on mouth and eyes, where the change is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.data.draws import Generators, StepDraw, rand, randint, randn
from distill.data.pictures import PictureSet
from distill.data.regions import eyes_at, mouth_at, weight_map
from distill.training.sheets import save_grid
from models.avatar_model import channels_last
from models.checkpoint import save_tensors
from models.modules.vae import VAE
from models.presets import Preset

CROP_PX = 96
ALONE_STEPS = 1000
"""Steps without reference, a plain autoencoder."""


class VAEStage:
    """L1 and gradient loss with extra weight on mouth and eyes, a small KL term, noise on the latents.

    With ``trained`` (an autoencoder from an earlier run) only its decoder learns on: latents, and all that was
    trained on them, stay valid. That is stage "decoder".
    """

    def __init__(
        self,
        preset: Preset,
        data: PictureSet,
        validation: PictureSet,
        batch: int,
        device: str,
        trained: VAE | None = None,
    ) -> None:
        self.preset, self.data, self.validation = preset, data, validation
        self.batch, self.device = batch, device
        self.name = "vae" if trained is None else "decoder"
        self.vae = channels_last(trained or VAE(preset.vae)).to(device)
        if trained is not None:
            self.vae.tower.requires_grad_(False)
            self.vae.to_latent.requires_grad_(False)
        box = preset.face_box
        self.centres = (mouth_at(box), *eyes_at(box))
        self.weights = weight_map(box[3], box[2], mouth=2.0, eyes=3.0, box=box).to(device)

    def trainable(self) -> nn.Module:
        return self.vae

    def _crop(self, generator: torch.Generator) -> tuple[int, int]:
        draw = torch.rand(3, generator=generator)
        x, y = (float(d) * self.preset.face_box[2] for d in draw[1:])
        if draw[0] < 0.85:
            x, y = self.centres[0 if draw[0] < 0.45 else 1 + int(draw[0] > 0.65)]
            x, y = x + 40 * float(draw[1] - 0.5), y + 40 * float(draw[2] - 0.5)
        limit = self.preset.face_box[2] - CROP_PX
        left, top = (int(min(max(v - CROP_PX / 2, 0.0), limit)) // 8 * 8 for v in (x, y))
        return left, top

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        generators, step = draw.generators(), draw.step
        targets, references, weights = [], [], []
        for generator, index in zip(generators, randint(generators, len(self.data)), strict=True):
            item = self.data[index]
            pick = torch.randperm(self.data.frames, generator=generator)
            source = 0 if torch.rand(1, generator=generator) < 0.7 else int(pick[1])
            left, top = self._crop(generator)
            window = (..., slice(top, top + CROP_PX), slice(left, left + CROP_PX))
            targets.append(item.frames[int(pick[0])][window])
            references.append(item.frames[source][window])
            weights.append(self.weights[window])
        target = torch.stack(targets).to(self.device).float() / 255
        reference = torch.stack(references).to(self.device).float() / 255
        weight = torch.stack(weights).unsqueeze(1)
        # with the reference there from the start, the decoder never learns to read the latents: hide it first
        alone = self.name == "vae" and step < ALONE_STEPS
        if not alone:
            hidden = rand(generators) < 0.1
            reference[hidden.to(self.device)] = 0.5
        return self._objective(target, None if alone else reference, weight, generators, self._settled(step))

    def _settled(self, step: int) -> float:
        """Share 0..1 of the KL term and of the extra noise: they come in slowly."""
        return min(1.0, step / 1500) if self.name == "vae" else 1.0

    def _objective(
        self,
        target: Tensor,
        reference: Tensor | None,
        weight: Tensor,
        generators: Generators,
        settled: float,
    ) -> tuple[Tensor, dict[str, float]]:
        last = {"memory_format": torch.channels_last}
        mean, logvar = self.vae.moments(target.contiguous(**last))
        mean, logvar = mean.float(), logvar.float()
        noise = randn(generators, *mean.shape[1:]).to(mean.device)
        extra = 0.15 * settled * rand(generators, 1, 1, 1).to(mean.device)
        z = mean + noise * ((0.5 * logvar).exp() + extra)
        seen = None if reference is None else self.vae.reference(reference.contiguous(**last))
        out = self.vae.decoder(z, seen).float()
        pixel = ((out - target).abs() * weight).mean()
        edges = sum(
            (torch.diff(out - target, dim=d).abs() * weight.narrow(d, 1, weight.shape[d] - 1)).mean()
            for d in (2, 3)
        )
        coarse = (F.avg_pool2d((out - target) * weight, 4)).abs().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = pixel + edges + coarse + 2e-5 * settled * kl
        mse = (out.detach() - target).square().mean()
        return loss, {
            "pixel": float(pixel.detach()),
            "kl": float(kl.detach()),
            "z_std": float(mean.detach().std()),
            "psnr": float(-10 * mse.log10()),
        }

    @torch.no_grad()
    def calibrate(self, identities: int = 64) -> None:
        """Measure the latents' mean and deviation over the corpus, so that they enter the denoiser normalised."""
        moments = []
        for index in range(min(identities, len(self.data))):
            picture = self.data[index].frames.to(self.device).float() / 255
            moments.append(self.vae.moments(picture)[0].float())
        stacked = torch.cat(moments)
        self.vae.mean.copy_(stacked.mean(dim=(0, 2, 3)))
        self.vae.std.copy_(stacked.std(dim=(0, 2, 3)).clamp_min(1e-3))

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        if self.name == "vae":
            self.calibrate()
        save_tensors(path, self.vae.state_dict(), {"preset": self.preset.to_dict(), "notes": notes})

    def sheet(self, path: Path) -> None:
        rows = []
        for index in range(4):
            picture = self.validation[index].frames.to(self.device).float() / 255
            reference = self.vae.reference(picture[:1])
            assert reference is not None
            out = self.vae.decode(self.vae.encode(picture), reference.expand(picture.shape[0]))
            rows += [picture, out]
        save_grid(path, rows)
