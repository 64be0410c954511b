"""Whole clips offline, as EchoMimic draws them: windows over the clip, averaged; with or without guidance.

In: starting noise of a clip, its audio tokens, what is fixed for the clip. Out: latents of every step's end.
The live stream does not come here (`models.streaming`): it has no whole clip. This is what shows that the networks
are EchoMimic's, and the way to draw a clip as EchoMimic does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diffusion.zero_snr import NOISE_LIMIT, timesteps, v_step
from models.sd15.contexts import context_windows
from models.sd15.unet import Conditions, Denoiser


@dataclass(frozen=True, slots=True)
class ClipStep:
    """One step of a clip: the timestep, the averaged and guided velocity, and the latents after it."""

    timestep: int
    v: Tensor  # (1, T, C, h, w)
    latents: Tensor  # (1, T, C, h, w)


def draw_clip(
    denoiser: Denoiser,
    noise: Tensor,
    audio: Tensor,
    face: Tensor,
    reference: tuple[Tensor, ...],
    steps: int,
    guidance: float,
) -> Iterator[ClipStep]:
    """Sample a clip.

    Args:
        denoiser: the network.
        noise: (1, T, C, h, w), unit normal; clipped here.
        audio: (1, T, K, W) tokens.
        face: (1, C0, h, w) from the face locator.
        reference: keys and values of the reference, (1, L, 2C) per transformer.
        steps: evaluations of each frame; EchoMimic takes 30, its accelerated weights 6.
        guidance: 1 or less takes one evaluation a step (accelerated weights); more also asks the network without
            sound, face and reference, and goes beyond it (2.5 in EchoMimic).

    Yields:
        Every step; the last one holds the clip's latents.
    """
    latents = noise.clamp(-NOISE_LIMIT, NOISE_LIMIT)
    guided = guidance > 1.0
    for index, (now, then) in enumerate(timesteps(steps)):
        total = torch.zeros_like(latents).repeat(2 if guided else 1, 1, 1, 1, 1)
        count = latents.new_zeros(latents.shape[1])
        for window in context_windows(latents.shape[1], index):
            cond = _conditions(audio[:, window], face, reference, guided)
            x = latents[:, window].repeat(len(total), 1, 1, 1, 1)
            t = x.new_full((len(x),), now, dtype=torch.float32)
            total[:, window] += denoiser(x, t, cond)
            count[window] += 1
        v = total / count.view(1, -1, 1, 1, 1)
        if guided:
            plain, full = v.chunk(2)
            v = plain + guidance * (full - plain)
        latents = v_step(latents, v, now, then)
        yield ClipStep(now, v, latents)


def _conditions(audio: Tensor, face: Tensor, reference: tuple[Tensor, ...], guided: bool) -> Conditions:
    """One row, or two of which the first sees neither sound nor face nor reference."""
    if not guided:
        return Conditions(audio, face, reference)
    return Conditions(
        torch.cat((torch.zeros_like(audio), audio)),
        torch.cat((torch.zeros_like(face), face)),
        tuple(part.repeat(2, 1, 1) for part in reference),
        keep_reference=torch.tensor([False, True], device=audio.device),
    )
