"""Pairs of a reference and frames of one face with what truly moved between them, and how a batch is drawn of them.

In: sets of `MotionItem` (rendered heads with a true flow, drawn characters without one) and a step's generators.
Out: a `MotionBatch` at the size of the networks' face box, jittered, mirrored and lit alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.draws import Generators, rand, randint, randn
from distill.data.jitter import Jitter, draw_places, sampled
from distill.data.photometric import draw_light, draw_softness, draw_texture, softened
from models.face import EXPRESSION_DIMS, MOUTH_DIMS
from models.modules.mover import warp

GAZE_X = len(MOUTH_DIMS) + EXPRESSION_DIMS.index("gaze_x")
"""The only one of the state's dims that a mirror turns."""


@dataclass(frozen=True, slots=True)
class MotionItem:
    """One identity on its canvas: a reference and T frames.

    Attributes:
        reference: (3, S, S) uint8.
        frames: (T, 3, S, S) uint8.
        flow: (T, 2, S/2, S/2) float16, where each of the frame's pixels lies in the reference, (x, y) in canvas
            pixels relative to itself; None where nobody knows.
        hole: (T, S/2, S/2) uint8, 255 where the reference does not show what the frame does; None with the flow.
        states: (1 + T, 10), `MOUTH_DIMS` and `EXPRESSION_DIMS` of the reference and of each frame.
    """

    reference: Tensor
    frames: Tensor
    states: Tensor
    flow: Tensor | None = None
    hole: Tensor | None = None

    def __post_init__(self) -> None:
        if self.states.shape != (1 + len(self.frames), len(MOUTH_DIMS) + len(EXPRESSION_DIMS)):
            raise ValueError(f"MotionItem: expected a state of 10 a picture, got {tuple(self.states.shape)}.")
        if (self.flow is None) != (self.hole is None):
            raise ValueError("MotionItem: a flow comes with its hole, or neither is given.")


class MotionData(Protocol):
    """A set of items; item i is the same whenever it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> MotionItem: ...


@dataclass(frozen=True, slots=True)
class MotionBatch:
    """B rows at the face box's size.

    Attributes:
        reference, target: (B, 3, H, W) in [0, 1].
        seen: (B, 3, H, W), the target in another light: what the encoder looks at, so that latents say what
            moved and not which colour it has.
        flow: (B, 2, H/2, W/2) in pixels of the box.
        hole: (B, 1, H, W) in [0, 1].
        known: (B, 1, 1, 1), 1 where flow and hole are true, 0 where nobody knows.
        states: (B, 2, 10) of reference and target, as they are mirrored.
    """

    reference: Tensor
    target: Tensor
    seen: Tensor
    flow: Tensor
    hole: Tensor
    known: Tensor
    states: Tensor


def draw_pairs(
    sets: Sequence[MotionData],
    generators: Generators,
    box: tuple[int, int, int, int],
    jitter: Jitter | None = None,
    grain: float = 1.0,
) -> MotionBatch:
    """Draw a row for each generator, from a set at random and an item at random.

    Args:
        sets: each is drawn from equally often, however large.
        generators: one a row.
        box: (left, top, width, height) of the face box on the canvas.
        jitter: see `Jitter`.
        grain: strength of textures and of the reference's grain; 0 leaves both out.
    """
    jitter = jitter or Jitter()
    rows = [_row(sets, generator, jitter.still) for generator in generators]
    canvases = torch.stack([torch.stack(pair[:2]) for pair in rows]).float() / 255  # (B, 2, 3, S, S)
    places, linear = draw_places(generators, box, canvases.shape[-1], jitter)
    flow = torch.stack([row[2] for row in rows])
    hole = torch.stack([row[3] for row in rows])[:, None]
    known = torch.tensor([row[4] for row in rows]).view(-1, 1, 1, 1)
    both = sampled(canvases.flatten(1, 2), places).unflatten(1, (2, 3))
    moved = sampled(flow, places)
    moved = torch.einsum("bij,bjhw->bihw", torch.linalg.inv(linear), moved)  # as the box sees it
    states = torch.stack([row[5] for row in rows])
    states[:, :, GAZE_X] *= torch.linalg.det(linear).sign().unsqueeze(1)
    hole = sampled(hole, places)
    lit = _lit(both, moved, hole, known, grain, generators)
    other = draw_light(generators, 0.7).over(lit)
    rough = 0.03 * grain * rand(generators, 1, 1, 1) * (rand(generators, 1, 1, 1) < 0.5)
    reference = (lit[:, 0] + rough * randn(generators, *lit.shape[2:])).clamp(0, 1)
    return MotionBatch(reference, lit[:, 1], other[:, 1], F.avg_pool2d(moved, 2), hole, known, states)


def _row(
    sets: Sequence[MotionData], generator: torch.Generator, still: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, float, Tensor]:
    """(reference, frame, flow, hole, known, both states) of one row, flow and hole at half the canvas' size."""
    data = sets[randint([generator], len(sets))[0]]
    item = data[randint([generator], len(data))[0]]
    side = item.reference.shape[-1] // 2
    frame = randint([generator], len(item.frames))[0]
    nothing = torch.zeros(2, side, side), torch.zeros(side, side)
    if float(rand([generator])) < still:
        return item.reference, item.reference, *nothing, 1.0, item.states[[0, 0]]
    state = item.states[[0, 1 + frame]]
    if item.flow is None or item.hole is None:
        return item.reference, item.frames[frame], *nothing, 0.0, state
    flow, hole = item.flow[frame].float(), item.hole[frame].float() / 255
    return item.reference, item.frames[frame], flow, hole, 1.0, state


def _lit(
    both: Tensor, flow: Tensor, hole: Tensor, known: Tensor, grain: float, generators: Generators
) -> Tensor:
    """Light, texture and softness over reference and target (B, 2, 3, H, W) alike."""
    height, width = both.shape[-2:]
    lit = draw_light(generators).over(both)
    texture = torch.exp(grain * draw_texture(generators, height, width) * known.unsqueeze(-1))
    moved = torch.lerp(warp(texture[:, 0], flow), torch.ones(()), hole)  # new surface brings none along
    lit = (lit * torch.stack((texture[:, 0], moved), dim=1)).clamp(0, 1)
    return softened(lit, draw_softness(generators))
