"""Training on the model's own roll-out: motion frames that it generated itself.

A quarter of the rows first samples the window before, as the stream does (from pure noise, in few steps); its
last frames become the motion frames of the window that trains, for student and teacher alike; where they mislead
the teacher, the mixer hands the row to the truth. (True frames for the teacher alone gave the same sync, r 0.750
against 0.749 on three clips, with an answer that holds what the student cannot know.) Without roll-out, errors feed
on themselves in long streams. Source: Huang et al. 2506.08009 (Self Forcing), here one window deep and without
gradient through it.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from distill.batches import ClipBatch
from distill.methods.sample import Sample
from distill.stages.teacher import audio_features
from models.avatar_model import AvatarModel
from models.face import SAMPLES_PER_FRAME
from models.samplers import ddim
from models.unet import Conditions

STEPS = 2


EVERY = 4


def rolled_rows(first: int, rows: int) -> slice:
    """Every fourth row of the global batch, as a slice of this process's rows, which begin at ``first``."""
    return slice(-first % EVERY, rows, EVERY)


@torch.no_grad()
def rolled(
    student: AvatarModel, sample: Sample, long: ClipBatch, lead: int, rows: slice, steps: int = STEPS
) -> Sample:
    """The sample with the motion frames of ``rows`` replaced by the student's own.

    Args:
        long: the batch that starts ``lead`` frames before the sample's window.
        steps: evaluations of the roll-out, at least 1.
    """
    motion = sample.batch.motion.clone()
    if not long.x_0[rows].shape[0]:
        return sample
    frames, keep = sample.batch.x_0.shape[1], motion.shape[1]
    banks = student.reference_net(long.reference[rows], long.motion[rows])
    cfg = student.preset.audio
    samples = cfg.context_samples + frames * SAMPLES_PER_FRAME + cfg.lookahead_samples
    heard = audio_features(student, long.audio[rows, :samples], frames)
    control = None if student.tokens is None else student.control(sample.s_ref[rows], sample.s_aud[rows])
    cond = Conditions(heard, long.expression[rows, :frames], long.reference[rows], banks, control=control)
    noise = sample.noise[rows]
    made = ddim(lambda x_t, t: student.denoiser(x_t, t, cond).float(), noise, steps)
    motion[rows] = made[:, lead - keep : lead]
    return replace(sample, batch=replace(sample.batch, motion=motion))
