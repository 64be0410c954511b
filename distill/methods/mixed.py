"""The mixed-supervised loss: where the teacher explains a sample poorly but hears it right, the truth supervises.

Per sample, with e_T = ||x_teacher,audio - x_0||^2 the teacher's own unguided error at this noise level, r its
running mean over high-quality data, and e_R the error of its reference branch, which hears nothing:

    lambda = clip(r / e_T, 0, 1) where e_T < e_R, else 1
    L      = lambda ||x_student - x_T(s)||^2 + (1 - lambda) ||x_student - (x_0 + x_T(s) - x_teacher,audio)||^2

The truth corrects the plain prediction; what guidance adds to it, x_T(s) - x_teacher,audio, is the teacher's
to say: a picture knows no scale. Held against the picture alone, students lost half of it (docs/training.md).
Where hearing the sound takes the teacher away from the picture (e_T >= e_R), the lips belong to another sound or
come late: there the teacher is right and the "truth" is not. Without this clause the mixer learnt from wrong lips.
Source: FADA's method figure (two losses, an adaptive mixer, moderate data for the student alone); the rule for
lambda and the guided truth are our own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill.training.parallel import gather_rows

NOISE_BINS = 10
MEMORY = 0.99
MODERATE_SHARE = 0.25


class Mixer(nn.Module):
    """Running means of the teacher's error per noise level; they travel with the checkpoint."""

    teacher_error: Tensor  # (NOISE_BINS,), 0 = not seen yet

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("teacher_error", torch.zeros(NOISE_BINS))

    @torch.no_grad()
    def forward(self, error: Tensor, deaf: Tensor, t: Tensor, high: Tensor) -> Tensor:
        """lambda (B,).

        Args:
            error: (B,) of the teacher's audio branch against the picture.
            deaf: (B,) of a branch that hears nothing.
            t: (B,) times.
            high: (B,) bool, rows of high quality.
        """
        bins = (t * NOISE_BINS).long().clamp(max=NOISE_BINS - 1)
        seen = zip(
            gather_rows(bins).tolist(),
            gather_rows(error).tolist(),
            gather_rows(high.long()).tolist(),
            strict=True,
        )
        for index, value, good in seen:
            if good:
                old = self.teacher_error[index]
                self.teacher_error[index] = value if old == 0 else old * MEMORY + value * (1 - MEMORY)
        mean = self.teacher_error[bins]
        share = (mean / error.clamp_min(1e-8)).clamp(0, 1)
        return torch.where((mean > 0) & (error < deaf), share, torch.ones_like(share))


def guided_truth(x_0: Tensor, target: Tensor, plain: Tensor) -> Tensor:
    """The picture's latents with what guidance adds to the teacher's plain prediction; all (B, T, C, h, w)."""
    return x_0 + (target - plain)


def mixed_loss(distilled: Tensor, true: Tensor, share: Tensor) -> Tensor:
    """lambda L_distill + (1 - lambda) L_GT, row by row (B,)."""
    return share * distilled + (1 - share) * true
