"""Balanced: a student that keeps its three branches and saves steps alone (6 x 3 = 18 NFE).

Each row trains one branch, drawn at random, against the teacher's same branch; where that is the audio branch,
the mixed-supervised loss holds. The mix by scales happens at inference, as for the teacher.

Source: FADA's 4.17x = 75 / 18 evaluations; that Balanced keeps the branches is inferred.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from distill.data.draws import Generators, rand
from distill.methods.sample import Sample, tell
from models.avatar_model import AvatarModel

AUDIO_SHARE = 0.5
"""Share of rows that train the audio branch, which says most; base and reference share the rest."""


def draw_branches(generators: Generators, device: str) -> tuple[Tensor, Tensor]:
    """(keep_audio, keep_reference), each (B,) bool: audio branch, reference branch or base."""
    u = rand(generators).to(device)
    return u < AUDIO_SHARE, u < (1 + AUDIO_SHARE) / 2


def branch(
    model: AvatarModel,
    sample: Sample,
    keep_audio: Tensor,
    keep_reference: Tensor,
) -> Tensor:
    """The x_0 of each row's own branch."""
    cond = replace(tell(model, sample), keep_audio=keep_audio, keep_reference=keep_reference)
    x_0: Tensor = model.denoiser(sample.x_t, sample.t, cond)
    return x_0


def same_branch(answers: tuple[Tensor, Tensor, Tensor], keep_audio: Tensor, keep_reference: Tensor) -> Tensor:
    """Of the teacher's base, reference and audio answers, each row's own."""
    base, ref, audio = answers
    shape = (-1, *([1] * (base.ndim - 1)))
    return torch.where(keep_audio.view(shape), audio, torch.where(keep_reference.view(shape), ref, base))
