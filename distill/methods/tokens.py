"""Learnable CFG tokens: one branch that takes both guidance scales as inputs.

Random scales weight the teacher's three outputs and the student's three learnable tokens alike:

    x_T(s) = x_base + s_ref (x_ref - x_base) + s_aud (x_audio - x_ref)
    T(s)   = T_base + s_ref (T_ref - T_base) + s_aud (T_audio - T_ref)
    L_distill = || x_student(x_t, t, c, T(s)) - x_T(s) ||^2

Every block of the student's denoiser reads T(s) through a zero-initialised control layer (`models.modules.blocks`).
Source: FADA's method figure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from torch import Tensor

from distill.methods.sample import Sample, tell
from models.avatar_model import AvatarModel

RATES: Final = (("tokens.", 10.0), (".control.", 10.0))
"""Tokens and control layers are new beside weights that start as the teacher's: they learn ten times as fast.
At the teacher's pace a short run ends before the guidance has moved in."""


def student_from(teacher: AvatarModel) -> AvatarModel:
    """A student that starts as its teacher; control layers start at zero, tokens at random."""
    student = AvatarModel(teacher.preset, "student")
    missing, unexpected = student.load_state_dict(teacher.state_dict(), strict=False)
    strange = [key for key in missing if "control" not in key and not key.startswith("tokens.")]
    if strange or unexpected:
        raise ValueError(
            f"Teacher and student differ beyond the control layers: {strange[:3]}, {unexpected[:3]}."
        )
    return student


def controlled(student: AvatarModel, sample: Sample) -> Tensor:
    """The student's x_0 under the mixed tokens of the sample's scales: one evaluation."""
    control = student.control(sample.s_ref, sample.s_aud)
    x_0: Tensor = student.denoiser(sample.x_t, sample.t, replace(tell(student, sample), control=control))
    return x_0
