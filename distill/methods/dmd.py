"""Step stage "dmd": distribution matching between the student's samples and the guided teacher's.

The student's few-step output x is noised again to x_tau; a network mu that is trained along on the student's own
outputs says what such samples look like, the frozen Fast student phi (the guided teacher in one branch) what they
should look like:

    grad = (x_mu(x_tau) - x_phi(x_tau)) / mean|x - x_phi(x_tau)|,    L = 1/2 || x - sg(x - grad) ||^2
    L_mu = || x_mu(x_tau) - sg(x) ||^2

and the truth keeps it on the sound (the regression term of DMD; without the paper's GAN term). Inputs are the
student's own roll-out in a quarter of the rows. Source: Yin et al. 2405.14867, eq. 3 and 6.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from distill.data.draws import StepDraw, rand, randn
from distill.methods.consistency import StepStage, StepTrunk
from distill.stages.teacher import DiffusionTrunk, weighted_error
from models.avatar_model import AvatarModel
from models.diffusion.schedules import add_noise

MATCH_WEIGHT = 0.25
NOISE_SPAN = (0.1, 0.95)


class DMDTrunk(StepTrunk):
    """Adds mu, the network of the student's own distribution; trained along."""

    def __init__(self, model: AvatarModel) -> None:
        super().__init__(model)
        self.mu = copy.deepcopy(DiffusionTrunk(model))


class DMDStage(StepStage):
    """Distribution matching distillation."""

    method = "dmd"

    def make_trunk(self) -> nn.Module:
        self.mu = copy.deepcopy(self.model)
        trunk = DMDTrunk(self.model)
        self.mu.reference_net = trunk.mu.reference_net
        self.mu.denoiser = trunk.mu.denoiser
        self.mu.tokens = trunk.mu.tokens
        return trunk

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        sample, cond, fast_cond = self.draw(draw)
        generators = draw.generators()
        x_0 = self.model.denoiser(sample.x_t, sample.t, cond).float()
        low, high = NOISE_SPAN
        tau = low + (high - low) * rand(generators).to(self.device)
        noise = randn(generators, *x_0.shape[1:]).to(self.device)
        x_tau = add_noise(x_0.detach(), noise, tau)
        with torch.no_grad():
            by_fast = self.fast.denoiser(sample.x_t, sample.t, fast_cond).float()
            wanted = self.fast.denoiser(x_tau, tau, fast_cond).float()
        own = self.mu.denoiser(x_tau, tau, self.told(self.mu, sample)).float()
        scale = (x_0.detach() - wanted).abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-3)
        aim = x_0.detach() - (own.detach() - wanted) / scale * MATCH_WEIGHT
        matched = 0.5 * weighted_error(x_0, aim, self.weights)
        anchored, true = self.anchored(sample, x_0, by_fast, by_fast)
        fitted = weighted_error(own, x_0.detach(), self.weights)
        loss = (anchored + matched + fitted).mean()
        return loss, {"fit": float(fitted.detach().mean()), "truth": float(true.detach().mean())}
