"""Step stage "adversarial": a critic on latents asks for the detail that squared errors average away.

    L_D = E max(0, 1 - D(x_0)) + E max(0, 1 + D(x_theta)),    L_G = L_anchor - w E D(x_theta)

The critic sees single frames beside the reference latent, patch by patch, so that it judges texture and not
pose. Source: hinge loss of Lim & Ye 1705.02894; adversarial step distillation as in Sauer et al. 2403.12015, here
with a critic of its own on latents in place of the teacher's features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.data.draws import StepDraw
from distill.methods.consistency import StepStage, StepTrunk
from models.avatar_model import AvatarModel

CRITIC_WIDTH = 64
CRITIC_WEIGHT = 0.02


class Critic(nn.Module):
    """Patch critic: latents (N, C, h, w) beside reference latents -> scores (N, 1, h/2, w/2)."""

    def __init__(self, channels: int, width: int = CRITIC_WIDTH) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.layers = nn.Sequential(
            norm(nn.Conv2d(2 * channels, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(2 * width, 1, 3, padding=1)),
        )

    def forward(self, latents: Tensor, reference: Tensor) -> Tensor:
        scores: Tensor = self.layers(torch.cat((latents, reference), dim=1))
        return scores


class AdversarialTrunk(StepTrunk):
    """Adds the critic; trained along."""

    def __init__(self, model: AvatarModel) -> None:
        super().__init__(model)
        self.critic = Critic(model.preset.unet.latent_channels)


class AdversarialStage(StepStage):
    """Regression to the Fast student and the truth, sharpened by a critic."""

    method = "adversarial"

    def make_trunk(self) -> nn.Module:
        return AdversarialTrunk(self.model)

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        sample, cond, fast_cond = self.draw(draw)
        with torch.no_grad():
            by_fast = self.fast.denoiser(sample.x_t, sample.t, fast_cond).float()
        x_0 = self.model.denoiser(sample.x_t, sample.t, cond).float()
        anchored, true = self.anchored(sample, x_0, by_fast, by_fast)
        critic = self.trunk.critic
        assert isinstance(critic, Critic)
        reference = sample.batch.reference.unsqueeze(1).expand_as(x_0).flatten(0, 1)
        fake, real = x_0.flatten(0, 1), sample.batch.x_0.flatten(0, 1)
        critic.requires_grad_(False)  # the student's part moves the student alone
        wanted = -critic(fake, reference).mean()
        critic.requires_grad_(True)
        judged = (
            F.relu(1 - critic(real, reference)).mean() + F.relu(1 + critic(fake.detach(), reference)).mean()
        )
        loss = anchored.mean() + CRITIC_WEIGHT * wanted + judged
        return loss, {"critic": float(judged.detach()), "truth": float(true.detach().mean())}
