"""Step stage "consistency": a few-step student learns to jump to where many small steps would end.

The frozen Fast student phi walks its guided ODE one small DDIM step from t to u = t - 1/6; the student must say
at t what its own average theta- says at u:

    x_u = DDIM(x_t, x_phi(x_t, t, T(s)); t -> u),    L = || x_theta(x_t, t, T(s)) - x_theta-(x_u, u, T(s)) ||^2

and at the last step what phi says. A share of the truth keeps the mouth on the sound. Guidance travels in the
tokens, as LCM's embedding of the scale does. Source: Luo et al. 2310.04378, eq. 13; Song et al. 2303.01469.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.batches import Clips
from distill.data.draws import StepDraw
from distill.methods.mixed import MODERATE_SHARE, Mixer, guided_truth, mixed_loss
from distill.methods.rollout import lead_frames, rolled, rolled_rows
from distill.methods.sample import Drawing, Sample, draw_sample, tell
from distill.stages.teacher import DiffusionTrunk, latent_weights, weighted_error
from models.avatar_model import AvatarModel
from models.diffusion.schedules import ddim_step
from models.modules.unet import Conditions
from models.weights import save_model

GRIDS = (1, 2, 4)
SMALL_STEP = 1 / 6
TARGET_DECAY = 0.95
TRUTH_SHARE = 0.3
HEARS = 0.5
"""Audio scales below this are too small to divide by."""


class StepTrunk(DiffusionTrunk):
    """The trained parts; beside them the mixer."""

    def __init__(self, model: AvatarModel) -> None:
        super().__init__(model)
        self.mixer = Mixer()


class StepStage:
    """What the step stages share: a student, the Fast student that it learns from, and the samples."""

    name = "steps"
    method = "regression"

    def __init__(
        self,
        student: AvatarModel,
        fast: AvatarModel,
        high: Clips,
        moderate: Clips | None,
        batch: int,
        frames: int,
        device: str,
    ) -> None:
        """``student`` starts as a copy of ``fast``, which stays as it is."""
        if student.role != "student" or fast.role != "student":
            raise ValueError("The step stage needs a student with CFG tokens (method 'fast' or 'tokens').")
        self.model, self.fast = student, fast.eval().requires_grad_(False)
        self.high, self.batch, self.device = high, batch, device
        sets = [(high, 1.0)]
        if moderate is not None:
            sets = [(high, 1 - MODERATE_SHARE), (moderate, MODERATE_SHARE)]
        self.drawing = Drawing(sets, frames, GRIDS, True, device)
        self.lead = lead_frames(student.preset, frames)
        self.trunk: nn.Module = self.make_trunk().to(device)
        self.weights = latent_weights(student.preset, device)

    def make_trunk(self) -> nn.Module:
        """The module that the loop trains and keeps."""
        return StepTrunk(self.model)

    def trainable(self) -> nn.Module:
        return self.trunk

    def draw(self, draw: StepDraw) -> tuple[Sample, Conditions, Conditions]:
        """A sample, own motion frames in a quarter of its rows; what the student is told and what phi is told."""
        sample, long = draw_sample(self.model, self.drawing, draw, self.lead)
        sample = rolled(self.model, sample, long, self.lead, rolled_rows(draw.first, draw.rows))
        return sample, self.told(self.model, sample), self.told(self.fast, sample)

    def told(self, model: AvatarModel, sample: Sample) -> Conditions:
        """Conditions with the tokens of the sample's scales."""
        return replace(tell(model, sample), control=model.control(sample.s_ref, sample.s_aud))

    @torch.no_grad()
    def unheard(self, sample: Sample) -> Tensor:
        """What phi would show without hearing: its x_0 (B, T, C, h, w) with the audio scale at 0."""
        silent = replace(sample, s_aud=torch.zeros_like(sample.s_aud))
        x_0: Tensor = self.fast.denoiser(sample.x_t, sample.t, self.told(self.fast, silent)).float()
        return x_0

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        """Plain regression to phi and the truth; the methods put more in its place."""
        sample, cond, fast_cond = self.draw(draw)
        with torch.no_grad():
            by_fast = self.fast.denoiser(sample.x_t, sample.t, fast_cond).float()
        loss, true = self.anchored(sample, self.model.denoiser(sample.x_t, sample.t, cond), by_fast, by_fast)
        return loss.mean(), {"truth": float(true.detach().mean())}

    def anchored(self, sample: Sample, x_0: Tensor, target: Tensor, by_fast: Tensor) -> tuple[Tensor, Tensor]:
        """(loss (B,), error against the truth (B,)): the target, and the truth by the mixer and a fixed share.

        The truth carries phi's guidance (see `distill.methods.mixed`): tokens mix linearly, so what hearing adds
        at scale s is s times what it adds at 1. Rows that hardly hear have no truth.
        """
        silent = self.unheard(sample)
        error, deaf = (weighted_error(x, sample.batch.x_0, self.weights) for x in (by_fast, silent))
        share: Tensor = self.trunk.mixer(error, deaf, sample.t, sample.batch.high_quality)  # type: ignore[operator]
        hears = (error < deaf) & (sample.s_aud >= HEARS)
        share = torch.where(hears, share * (1 - TRUTH_SHARE), torch.ones_like(share))
        part = (1 / sample.s_aud.clamp_min(HEARS)).view(-1, 1, 1, 1, 1)
        plain = silent + (by_fast - silent) * part
        truth = guided_truth(sample.batch.x_0, by_fast, plain)
        true = weighted_error(x_0, truth, self.weights)
        return mixed_loss(weighted_error(x_0, target, self.weights), true, share), true

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        save_model(path, self.model, **notes, method=self.method, branches=1)

    def sheet(self, path: Path) -> None:
        from distill.stages.samples import sample_sheet

        sample_sheet(path, self.model, self.high, steps=2)


class ConsistencyTrunk(StepTrunk):
    """Adds theta-, the average that gives the targets."""

    def __init__(self, model: AvatarModel) -> None:
        super().__init__(model)
        self.target = copy.deepcopy(DiffusionTrunk(model)).requires_grad_(False)


class ConsistencyStage(StepStage):
    """Latent consistency distillation."""

    method = "consistency"

    def make_trunk(self) -> nn.Module:
        self.target = copy.deepcopy(self.model).eval().requires_grad_(False)
        trunk = ConsistencyTrunk(self.model)
        self.target.reference_net = trunk.target.reference_net
        self.target.denoiser = trunk.target.denoiser
        self.target.tokens = trunk.target.tokens
        return trunk

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        self._follow()
        sample, cond, fast_cond = self.draw(draw)
        with torch.no_grad():
            by_fast = self.fast.denoiser(sample.x_t, sample.t, fast_cond).float()
            target = self._target(sample, by_fast)
        x_0 = self.model.denoiser(sample.x_t, sample.t, cond)
        loss, true = self.anchored(sample, x_0, target, by_fast)
        return loss.mean(), {"jump": float(loss.detach().mean()), "truth": float(true.detach().mean())}

    def _target(self, sample: Sample, by_fast: Tensor) -> Tensor:
        """theta- one small step on; phi's own answer where that step would end at the data."""
        later = sample.t - SMALL_STEP
        inside = later > 1e-3
        u = torch.where(inside, later, sample.t)
        x_u = ddim_step(sample.x_t, by_fast, sample.t, u)
        averaged = self.target.denoiser(x_u, u, self.told(self.target, sample)).float()
        return torch.where(inside.view(-1, 1, 1, 1, 1), averaged, by_fast)

    @torch.no_grad()
    def _follow(self) -> None:
        """theta- follows theta."""
        trunk = self.trunk
        assert isinstance(trunk, ConsistencyTrunk)
        mine = [p.detach() for name, p in trunk.named_parameters() if not name.startswith("target.")]
        torch._foreach_lerp_(list(trunk.target.parameters()), mine, 1 - TARGET_DECAY)
