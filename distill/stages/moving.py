"""Stages "vae" and "decoder" of a preset that moves pixels: the autoencoder on pairs of reference and frame.

In: `MotionData` sets. Out: a VAE whose latents say what has moved, in whatever light, and whose decoder moves the
reference's pixels accordingly and paints what they do not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.data.draws import Generators, StepDraw, rand, randn
from distill.data.jitter import Jitter
from distill.data.motion_set import MotionBatch, MotionData, draw_pairs
from distill.data.regions import PHOTOGRAPHED_MOUTH_Y
from distill.training.sheets import save_grid
from models.avatar_model import channels_last
from models.checkpoint import save_tensors
from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X
from models.modules.mover import Moves, MovingDecoder, compose
from models.modules.vae import VAE
from models.presets import Preset

SETTLED_STEPS = 2000
"""Steps in which the flow alone gives way to the pictures, and grain and noise on the latents come in."""
TRUST = 0.8
"""Share of rows whose latents are written from the true states instead of what was read off the picture."""
NOISE = 0.12
"""Largest share of noise on the latents, of their deviation: what denoisers make is a little off."""


def motion_weights(box: tuple[int, int, int, int]) -> Tensor:
    """(H, W) weights over a face box: 1, and four more at the mouth and each eye."""
    left, top, width, height = box
    y = torch.arange(height)[:, None] + top + 0.5
    x = torch.arange(width)[None] + left + 0.5 - CANVAS_PX / 2

    def bump(centre_x: float, centre_y: float, radius_x: float, radius_y: float) -> Tensor:
        return torch.exp(-0.5 * (((x - centre_x) / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2))

    eyes = bump(-EYE_SPREAD_X, EYE_LINE_Y, 17, 14) + bump(EYE_SPREAD_X, EYE_LINE_Y, 17, 14)
    return 1 + 4 * (bump(0, PHOTOGRAPHED_MOUTH_Y, 26, 20) + eyes)


class MovingStage:
    """Weighted L1, edges and means of the frame; the true flow, hole and paint where they are known.

    The latents' state is known of every picture: it is told to the reader, and in most rows the decoder gets
    latents written from the truth. So decoder and encoder learn side by side instead of waiting for each other
    (latents of a plain encoder shrank to an unread noise within 500 steps).

    Args:
        preset: its autoencoder must have the decoder "move".
        data: what is learnt from; each set equally often.
        validation: what sheets show.
        batch: rows a step, over all processes.
        device: where.
        trained: an autoencoder from an earlier run, whose decoder alone learns on: latents, and all that was
            trained on them, stay valid. That is stage "decoder".
    """

    def __init__(
        self,
        preset: Preset,
        data: Sequence[MotionData],
        validation: Sequence[MotionData],
        batch: int,
        device: str,
        trained: VAE | None = None,
    ) -> None:
        self.preset, self.data, self.validation = preset, data, validation
        self.batch, self.device = batch, device
        self.name = "vae" if trained is None else "decoder"
        self.vae = channels_last(trained or VAE(preset.vae)).to(device)
        if trained is not None:
            self.vae.reader.requires_grad_(False)
            self.vae.writer.requires_grad_(False)
        self.weights = motion_weights(preset.face_box).to(device)[None, None]

    def trainable(self) -> nn.Module:
        return self.vae

    def loss(self, draw: StepDraw) -> tuple[Tensor, dict[str, float]]:
        generators, settled = draw.generators(), self._settled(draw.step)
        with torch.autocast("cpu", enabled=False):  # places and light need their precision
            batch = draw_pairs(self.data, generators, self.preset.face_box, grain=settled)
        moved = MotionBatch(*(getattr(batch, name).to(self.device) for name in MotionBatch.__slots__))
        return self._objective(moved, generators, settled)

    def _settled(self, step: int) -> float:
        """Share 0..1 of grain, noise and pictures' terms: they come in slowly."""
        return min(1.0, step / SETTLED_STEPS) if self.name == "vae" else 1.0

    def _objective(
        self, batch: MotionBatch, generators: Generators, settled: float
    ) -> tuple[Tensor, dict[str, float]]:
        last, size = {"memory_format": torch.channels_last}, batch.target.shape[-2:]
        before, after = batch.states.unbind(1)
        pictures = torch.cat((batch.reference, batch.seen)).contiguous(**last)
        own, read = self.vae.reader(pictures).float().chunk(2)
        trusted = rand(generators, 2) < TRUST
        before = torch.where(trusted[:, :1].to(own.device), before, own.detach())
        state = torch.where(trusted[:, 1:].to(own.device), after, read)
        z = self.vae.written(state, size).float()
        rough = NOISE * settled * rand(generators, 1, 1, 1) * randn(generators, *z.shape[1:])
        decoder = self.vae.decoder
        assert isinstance(decoder, MovingDecoder)
        reference = self.vae.reference(batch.reference.contiguous(**last), before)
        assert reference is not None
        moves = decoder.moves(z + rough.to(z.device) * z.detach().std(), reference)
        frame = compose(batch.reference, moves)
        shown = self._picture_terms(frame - batch.target)
        terms = {name: (0.3 + 0.7 * settled) * term for name, term in shown.items()}
        terms.update(self._truth_terms(moves, batch, settled))
        if self.name == "vae":
            terms["told"] = F.smooth_l1_loss(torch.stack((own, read), 1), batch.states, beta=0.1)
        loss = torch.stack(list(terms.values())).sum()
        figures = {name: float(term.detach()) for name, term in terms.items()}
        mse = (frame.detach() - batch.target).square().mean()
        moved_px = moves.flow.detach().abs().mean()
        return loss, {**figures, "psnr": float(-10 * mse.log10()), "flow_px": float(moved_px)}

    def _picture_terms(self, error: Tensor) -> dict[str, Tensor]:
        weights = self.weights
        edges = [
            (torch.diff(error, dim=d).abs() * weights.narrow(d, 1, weights.shape[d] - 1)).mean()
            for d in (2, 3)
        ]
        return {
            "pixel": (error.abs() * weights).mean(),
            "edges": edges[0] + edges[1],
            "coarse": F.avg_pool2d(error * weights, 4).abs().mean(),
        }

    def _truth_terms(self, moves: Moves, batch: MotionBatch, settled: float) -> dict[str, Tensor]:
        """What the renderer knows; where it knows nothing the matte is paid for, so that pixels move first."""
        known, hole = batch.known, batch.hole
        visible = (1 - F.max_pool2d(hole, 3, 1, 1)) * known
        seen = F.avg_pool2d(visible, 2)
        flow = (moves.flow - batch.flow).abs() * seen * F.avg_pool2d(self.weights, 2)
        spread = torch.stack([torch.diff(moves.flow, dim=d).abs().mean() for d in (2, 3)]).sum()
        matte = F.binary_cross_entropy_with_logits(moves.matte, hole, reduction="none") * (1 + 3 * hole)
        open_matte = torch.sigmoid(moves.matte)
        painted = (moves.paint - batch.target).abs() * hole * known
        return {
            "flow": (0.03 + 0.27 * (1 - settled) ** 2) * flow.mean(),
            "spread": 0.002 * spread,
            "matte": 0.15 * (matte * known).mean() + 0.05 * (open_matte * (1 - known)).mean(),
            "paint": 0.1 * painted.sum() / (3 * (hole * known).sum() + 100),
        }

    @torch.no_grad()
    def calibrate(self, rows: int = 256) -> None:
        """Measure the latents' mean and deviation, so that they enter the denoiser normalised."""
        generators = [torch.Generator().manual_seed(row) for row in range(rows)]
        moments = []
        for first in range(0, rows, 16):
            batch = draw_pairs(self.data, generators[first : first + 16], self.preset.face_box)
            moments.append(self.vae.moments(batch.target.to(self.device))[0].float())
        stacked = torch.cat(moments)
        self.vae.mean.copy_(stacked.mean(dim=(0, 2, 3)))
        self.vae.std.copy_(stacked.std(dim=(0, 2, 3)).clamp_min(1e-3))

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        if self.name == "vae":
            self.calibrate()
        save_tensors(path, self.vae.state_dict(), {"preset": self.preset.to_dict(), "notes": notes})

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Rows of reference, truth, frame and matte."""
        generators = [torch.Generator().manual_seed(row) for row in range(8)]
        batch = draw_pairs(self.validation, generators, self.preset.face_box, Jitter(0.0, 0.0, 0.0, 0.0, 0.0))
        decoder = self.vae.decoder
        assert isinstance(decoder, MovingDecoder)
        picture = batch.reference.to(self.device)
        reference = self.vae.reference(picture)
        assert reference is not None
        moves = decoder.moves(self.vae.moments(batch.seen.to(self.device))[0], reference)
        frame = compose(picture, moves, "bicubic").clamp(0, 1)
        matte = torch.sigmoid(moves.matte).expand(-1, 3, -1, -1)
        save_grid(path, [part.cpu().float() for part in (batch.reference, batch.target, frame, matte)])
