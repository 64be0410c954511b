"""Training on the model's own roll-out: motion frames and noisy latents that it generated itself.

A quarter of the rows first samples the window before, as the stream does (from pure noise, in few steps); its
last frames become the motion frames of the window that trains. Then the student says what it hears at pure noise,
and its guess, not the picture, is noised to the row's time: x_t = alpha_t x_theta(x_1, 1) + sigma_t x_1, the state
that its own sampler would be in. Else a step at t < 1 reads the mouth off x_t, where training left the truth, and
in a stream trusts its own first guess as if it were. Student and teacher see the same; where it misleads the
teacher, the mixer hands the row to the truth. Without roll-out, errors feed on themselves in long streams.

Source: Huang et al. 2506.08009 (Self Forcing) and Yin et al. 2405.14867, section 4.5 (backward simulation), here
one window and one step deep, without gradient through them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from distill.data.batches import ClipBatch
from distill.methods.sample import Sample
from distill.stages.conditions import audio_features
from models.avatar_model import AvatarModel
from models.diffusion.samplers import ddim
from models.diffusion.schedules import add_noise
from models.face import SAMPLES_PER_FRAME
from models.modules.unet import Conditions
from models.presets import Preset

STEPS = 2
EVERY = 4


def rolled_rows(first: int, rows: int) -> slice:
    """Every fourth row of the global batch, as a slice of this process's rows, which begin at ``first``."""
    return slice(-first % EVERY, rows, EVERY)


def lead_frames(preset: Preset, frames: int) -> int:
    """Frames from the start of a rolled-out window to the window that trains, as windows follow each other live.

    Raises:
        ValueError: a window is too short to hold the motion frames of the next one.
    """
    keep = preset.unet.motion_frames
    if frames < keep:
        raise ValueError(f"Roll-out needs windows of {keep} frames or more (--frames), got {frames}.")
    return max(keep, min(preset.stream.hop_frames, frames))


@torch.no_grad()
def rolled(
    student: AvatarModel, sample: Sample, long: ClipBatch, lead: int, rows: slice, steps: int = STEPS
) -> Sample:
    """The sample with motion frames and x_t of ``rows`` replaced by the student's own.

    Args:
        long: the batch that starts ``lead`` frames before the sample's window.
        steps: evaluations of the window before, at least 1.
    """
    if not long.x_0[rows].shape[0]:
        return sample
    control = None if student.tokens is None else student.control(sample.s_ref[rows], sample.s_aud[rows])
    noise = sample.noise[rows]
    told = _told_before(student, long, sample.batch.x_0.shape[1], rows, control)
    made = ddim(lambda x_t, t: student.denoiser(x_t, t, told).float(), noise, steps)
    keep = sample.batch.motion.shape[1]
    motion = sample.batch.motion.clone()
    motion[rows] = made[:, lead - keep : lead]
    sample = replace(sample, batch=replace(sample.batch, motion=motion))
    batch = sample.batch
    banks = student.reference_net(batch.reference[rows], motion[rows])
    told = Conditions(
        sample.audio[rows], batch.expression[rows], batch.reference[rows], banks, control=control
    )
    guess = ddim(lambda x_t, t: student.denoiser(x_t, t, told).float(), noise, 1)
    x_t = sample.x_t.clone()
    x_t[rows] = add_noise(guess, noise, sample.t[rows])
    return replace(sample, x_t=x_t)


def _told_before(
    student: AvatarModel, long: ClipBatch, frames: int, rows: slice, control: Tensor | None
) -> Conditions:
    """What the student is told of the window that begins ``long``."""
    banks = student.reference_net(long.reference[rows], long.motion[rows])
    cfg = student.preset.audio
    samples = cfg.context_samples + frames * SAMPLES_PER_FRAME + cfg.lookahead_samples
    heard = audio_features(student, long.audio[rows, :samples], frames)
    return Conditions(heard, long.expression[rows, :frames], long.reference[rows], banks, control=control)
