"""Batches of talking clips for the diffusion stages.

In: sets of clips. Out: tensors of one training step: clean latents of a window, the motion frames before it,
the reference, sound and expression; and the noise at which the step trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from distill.data.draws import Generators, rand, randn
from distill.data.latents import ClipItem
from models.diffusion.samplers import window_noise
from models.face import SAMPLES_PER_FRAME
from models.presets import Preset

MOTION_DROPOUT = 0.15
MOTION_NOISE = 0.15


class Clips(Protocol):
    """Talking clips of one quality: drawn ones (`ClipSet`), rendered ones (`TalkingHeads`), both (`MixedClips`) or
    prepared videos (`PreparedClips`)."""

    preset: Preset
    quality: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ClipItem: ...

    def picture(self, index: int) -> Tensor:
        """The picture (3, h, w) in [0, 1] that the first reference of item ``index`` encodes."""
        ...

    def forget(self) -> None:
        """Drop what is kept in memory; the disk keeps it."""
        ...


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """B windows of T frames."""

    x_0: Tensor  # (B, T, C, h, w)
    motion: Tensor  # (B, M, C, h, w): the frames just before, noised a little; or the reference, held still
    reference: Tensor  # (B, C, h, w)
    audio: Tensor  # (B, context + T * 640 + look-ahead)
    mouth: Tensor  # (B, T, 6)
    expression: Tensor  # (B, T, 4)
    high_quality: Tensor  # (B,) bool


def draw_batch(
    sets: Sequence[tuple[Clips, float]],
    frames: int,
    motion: int,
    generators: Generators,
    device: str,
) -> ClipBatch:
    """A batch drawn from sets with the given shares, one row for each generator.

    Motion frames are dropped (replaced by the reference, as at a stream's start) in 15% of rows and carry
    noise of up to 0.15, so that a student's own slightly wrong frames do not throw it off.

    Raises:
        ValueError: a clip is shorter than a window with its motion frames.
    """
    shares = torch.tensor([share for _, share in sets])
    columns: list[list[Tensor]] = [[] for _ in range(6)]
    picks: list[int] = []
    for generator in generators:
        pick = int(torch.multinomial(shares, 1, generator=generator))
        picks.append(pick)
        data = sets[pick][0]
        item = data[int(torch.randint(len(data), (1,), generator=generator))]
        cfg = data.preset.audio
        starts = item.latents.shape[0] - frames - motion + 1
        if starts < 1:
            raise ValueError(
                f"A clip of {item.latents.shape[0]} frames holds no window of {frames} frames after {motion} "
                "motion frames; take shorter windows (--frames)."
            )
        first = int(torch.randint(starts, (1,), generator=generator)) + motion
        draw = torch.rand(3, generator=generator)
        reference = item.references[0 if draw[0] < 0.75 else 1]
        before = item.latents[first - motion : first]
        if draw[1] < MOTION_DROPOUT:
            before = reference.expand_as(before)
        noise = torch.randn(before.shape, generator=generator)
        span = slice(
            first * SAMPLES_PER_FRAME,
            (first + frames) * SAMPLES_PER_FRAME + cfg.context_samples + cfg.lookahead_samples,
        )
        window = slice(first, first + frames)
        row = (
            item.latents[window],
            before + noise * MOTION_NOISE * draw[2],
            reference,
            item.audio[span],
            item.mouth[window],
            item.expression[window],
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    x_0, before_it, reference, audio, mouth, expression = (torch.stack(c).to(device) for c in columns)
    high = torch.tensor([sets[pick][0].quality == "high" for pick in picks], device=device)
    return ClipBatch(x_0, before_it, reference, audio, mouth, expression, high)


def draw_noise(x_0: Tensor, generators: Generators) -> Tensor:
    """Unit noise like x_0 (B, T, ...); its frames share none, some or nearly all of it, by row."""
    draw = rand(generators, 2)
    shared = torch.where(
        draw[:, 0] < 0.3, 0.0, torch.where(draw[:, 0] < 0.6, draw[:, 1], 1 - 0.1 * draw[:, 1])
    )
    base = randn(generators, 1, *x_0.shape[2:])
    own = randn(generators, *x_0.shape[1:])
    mixed = [window_noise(base[i : i + 1], own[i : i + 1], float(shared[i])) for i in range(x_0.shape[0])]
    return torch.cat(mixed).to(x_0.device)
