"""Naive guided distillation: the baseline that the paper rejects.

One branch copies the teacher's guided prediction at fixed scales, on high-quality data alone:

    L = E || x_theta(x_t, t, c) - x_teacher^cfg(x_t, t, c; s_ref, s_aud) ||^2,   s fixed

Source: Meng et al. 2210.03142, eq. 4 at one guidance scale; three branches by FADA's method figure.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.methods.sample import Sample, tell
from models.avatar_model import AvatarModel
from models.diffusion.guidance import branches, multi_cfg


@torch.no_grad()
def teacher_branches(teacher: AvatarModel, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """The teacher's base, reference and audio branch, fp32, like x_t."""
    base, ref, audio = branches(teacher.denoiser, sample.x_t, sample.t, tell(teacher, sample))
    return base.float(), ref.float(), audio.float()


def guided_target(teacher: AvatarModel, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """The teacher's guided x_0 at the sample's scales, its audio branch, its reference branch; fp32, like x_t."""
    base, ref, audio = teacher_branches(teacher, sample)
    return multi_cfg(base, ref, audio, sample.s_ref, sample.s_aud), audio, ref


def one_branch(student: AvatarModel, sample: Sample) -> Tensor:
    """The student's own x_0, one evaluation, without tokens."""
    x_0: Tensor = student.denoiser(sample.x_t, sample.t, tell(student, sample))
    return x_0
