"""Pictures of a head with their truth: what a camera would give, and what no camera can know.

In: a `Head`, the channels of a clip, and in which state the reference was taken. Out: a `HeadClip`: photographs of
reference and frames; for every pixel of a frame where its point lies in the reference (*flow*), and whether it is
seen there at all (*hole*: what cannot be had by moving the reference); the person's alpha; materials; landmarks.
Film grain lies on the reference and moves with it, as it will when the reference is a photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.drawing.camera import develop
from distill.corpus.heads.drawing.raster import interpolate
from distill.corpus.heads.head import WHOLE, WINDOW, Head, Shots
from models.face import CANVAS_PX

HAIR: Final = 7
BACKDROP: Final = 8
"""Materials beside those of `shade`."""
_ALIKE: Final = 0.3
"""Difference of hair's cover up to which a place still looks as it did."""
_SAME: Final = 0.004
"""Relative difference of depths that still is the same surface."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What N frames show, over the canvas at its own size (256 or 512 pixels a side).

    Attributes:
        flow: (N, 2, H, W) right and down from a pixel to its point in the reference, canvas px.
        hole: (N, H, W) bool: not seen in the reference.
        matte: (N, H, W) alpha of the person, 0..1.
        material: (N, H, W) uint8 of `shade` or `HAIR`, `BACKDROP`.
        landmarks: (N, 18, 2) canvas px, `LANDMARKS`.
    """

    flow: Tensor
    hole: Tensor
    matte: Tensor
    material: Tensor
    landmarks: Tensor


@dataclass(frozen=True, slots=True)
class HeadClip:
    """One head: a reference, T frames and what is true of them.

    Attributes:
        reference: (H, W, 3) uint8. frames: (T, H, W, 3) uint8.
        truth: of the frames. reference_truth: of the reference (flow 0).
        mouth: (T, 6). expression: (T, 4). reference_state: (11,) mouth, expression, smile.
        view: (3,) yaw, pitch, roll of the head, radians.
        meta: seed, split and traits in words.
    """

    reference: Tensor
    frames: Tensor
    truth: Truth
    reference_truth: Truth
    mouth: Tensor
    expression: Tensor
    reference_state: Tensor
    view: Tensor
    meta: dict[str, Any]


def draw_reference(rng: np.random.Generator) -> Tensor:
    """The state (11,) in which a portrait was taken: mostly a closed mouth, some smiles, some open mouths."""
    state = torch.zeros(11)
    kind = rng.random()
    if kind < 0.22:  # a smile, lips closed
        state[10] = float(rng.uniform(0.15, 0.55))
    elif kind < 0.40:  # a smile that shows teeth
        state[0], state[1] = float(rng.uniform(0.08, 0.22)), float(rng.uniform(0.3, 0.8))
        state[3], state[10] = float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.2, 0.6))
    elif kind < 0.54:  # caught in the middle of a word
        state[0], state[2] = float(rng.uniform(0.08, 0.5)), max(0.0, float(rng.normal(0, 0.3)))
        state[1], state[3] = float(rng.normal(0, 0.3)), float(rng.uniform(0.0, 0.6))
    if rng.random() < 0.3:
        state[7] = float(np.clip(rng.normal(0, 0.3), -0.8, 0.8))
        state[8] = float(np.clip(rng.normal(0, 0.2), -0.6, 0.6))
    if rng.random() < 0.3:
        state[9] = float(np.clip(rng.normal(0.1, 0.3), -0.6, 0.8))
    if rng.random() < 0.06:
        state[6] = float(rng.uniform(0.1, 0.5))  # heavy lids
    return state


def make_clip(
    head: Head, mouth: Tensor, expression: Tensor, reference: Tensor | None = None, at_once: int = 1
) -> HeadClip:
    """Photograph a head.

    Args:
        head: who.
        mouth: (T, 6) `MOUTH_DIMS`.
        expression: (T, 4) `EXPRESSION_DIMS`.
        reference: (11,) mouth, expression, smile of the reference; None draws one by the head's seed.
        at_once: frames drawn together.
    """
    state = draw_reference(head.traits.random(20)) if reference is None else reference
    before = remember(head.shoot(state[None, :6], state[None, 6:10], state[10:]))
    grain = film_grain(head).to(head.device)
    still = photograph(head, before.shots, grain[None])[0].cpu()
    parts = mouth.split(at_once), expression.split(at_once)
    frames, truths = [], []
    for some_mouth, some_expression in zip(*parts, strict=True):
        shots = head.shoot(some_mouth, some_expression)
        truth = truth_of(head, shots, before)
        frames.append(photograph(head, shots, _moved(grain, truth)).cpu())
        truths.append(truth)
    traits = head.traits
    meta = {
        "seed": traits.seed, "split": traits.split, "male": traits.male, "age": round(traits.age, 3),
        "hair": traits.hair, "beard": traits.beard, "glasses": traits.glasses, "skin": traits.skins[0],
        "light": traits.light.kind,
    }  # fmt: skip
    view = torch.tensor([traits.camera.yaw, traits.camera.pitch, traits.camera.roll])
    whole = Truth(*(torch.cat([getattr(t, name) for t in truths]) for name in Truth.__slots__))
    own = truth_of(head, before.shots, before)
    return HeadClip(still, torch.cat(frames), whole, own, mouth, expression, state, view, meta)


def film_grain(head: Head) -> Tensor:
    """Grain (3, H, W) of the reference, about unit variance, a little coarser than pixels."""
    rng = head.traits.random(21)
    fine = torch.from_numpy(rng.standard_normal((1, 3, head.size, head.size)).astype(np.float32))
    return (0.6 * fine + 1.5 * F.avg_pool2d(fine, 3, stride=1, padding=1))[0]


def _moved(grain: Tensor, truth: Truth) -> Tensor:
    """The reference's grain (N, 3, H, W) where the flow takes it, to whole pixels."""
    size = grain.shape[-1]
    at = torch.arange(size, device=grain.device)
    step = truth.flow.to(grain.device) * (size / CANVAS_PX)
    x = (at + step[:, 0]).round().long().clamp(0, size - 1)
    y = (at.view(-1, 1) + step[:, 1]).round().long().clamp(0, size - 1)
    return grain[:, y, x].transpose(0, 1)


def photograph(head: Head, shots: Shots, grain: Tensor) -> Tensor:
    """Pictures (N, H, W, 3) uint8 of shots, with grain (N, 3, H, W)."""
    light = F.avg_pool2d(
        _on_plate(head, head.plate.light, shots.light, shots).transpose(0, 1), head.oversample
    )
    cover = F.avg_pool2d(_on_plate(head, head.plate.cover, shots.cover, shots)[:, None], head.oversample)
    exposed = light * head.exposure + (1 - cover) * head.backdrop
    return develop(exposed, head.traits.camera, grain)


def _on_plate(head: Head, plate: Tensor, window: Tensor, shots: Shots) -> Tensor:
    """Windows (..., N, h, w) laid on the plate's (..., 1, H, W)."""
    count = window.shape[-3]
    whole = plate.expand(*plate.shape[:-3], count, -1, -1).clone()
    left, top, width, height = (round(v * head.scale) for v in shots.window)
    whole[..., top : top + height, left : left + width] = window
    return whole


@dataclass(frozen=True, slots=True)
class Before:
    """A reference as frames are held against it.

    Attributes:
        shots: one frame over `WINDOW`.
        farthest: (h, w) smallest inverse depth of 3 x 3 pixels: edges may differ by one.
        hair: (h / 2, w / 2) cover by brows, lashes and beard.
    """

    shots: Shots
    farthest: Tensor
    hair: Tensor


def remember(shots: Shots) -> Before:
    """Keep one shot as a reference."""
    if shots.window != WINDOW:
        raise ValueError(f"Expected a shot of the window {WINDOW}, got {shots.window}.")
    depth = shots.surface.dense(shots.surface.inverse_depth)
    return Before(shots, -F.max_pool2d(-depth, 3, stride=1, padding=1)[0], _coarse_hair(shots)[0])


def truth_of(head: Head, shots: Shots, before: Before) -> Truth:
    """What shots show, against a reference; both over `WINDOW`."""
    if shots.window != WINDOW:
        raise ValueError(f"Expected shots of the window {WINDOW}, got {shots.window}.")
    step = head.oversample
    some, surface = shots.surface.every(step)
    count, (height, width) = surface.count, surface.size
    there = interpolate(surface, head.scene.triangles, before.shots.placed.expand(count, -1, -1)).T
    left, top = (float(round(v * head.scale)) for v in WINDOW[:2])
    screen = head.view.screen(there, head.scale, left, top)
    inner = surface.pixel % (height * width)
    row = torch.div(inner, width, rounding_mode="floor")
    column = (inner - row * width) * step
    flow = torch.stack((screen[:, 0] - column - 0.5, screen[:, 1] - row * step - 0.5)) / head.scale
    pixel = shots.surface.pixel[some]
    seen = _seen_before(screen, before) & _alike_hair(screen, pixel, shots, before)
    flow = surface.dense(flow)  # (2, N, h, w)
    hidden = surface.dense(~seen)
    x, y, w, h = (round(v * head.size / CANVAS_PX) for v in WINDOW)
    rows, columns = slice(y, y + h), slice(x, x + w)
    strands = shots.strands[:, ::step, ::step] > 0.5
    pad = flow.new_zeros(count, 2, head.size, head.size)
    pad[..., rows, columns] = (flow * ~strands).transpose(0, 1)
    hole = seen.new_zeros(count, head.size, head.size)
    uncovered = (before.shots.cover > 0.5)[:, ::step, ::step] & (shots.cover < 0.5)[:, ::step, ::step]
    hole[:, rows, columns] = (hidden & ~strands) | uncovered
    parts = pad, hole, _matte(head, shots), _materials(head, shots), landmarks(head, shots)
    return Truth(*(part.cpu() for part in parts))


def _seen_before(screen: Tensor, before: Before) -> Tensor:
    """Whether points at places (P, 3) on the reference's window are what it shows there."""
    height, width = before.farthest.shape
    x, y = screen[:, 0].floor().long(), screen[:, 1].floor().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    near = screen[:, 2] >= before.farthest[y, x] * (1 - _SAME)
    return inside & near & (before.shots.strands[0, y, x] < 0.5)


def _alike_hair(screen: Tensor, pixel: Tensor, shots: Shots, before: Before) -> Tensor:
    """Whether lashes, brows and beard cover pixels (P,) as they do the reference at places (P, 3)."""
    width, half = before.farthest.shape[1], before.hair.shape
    row = torch.div(pixel, width, rounding_mode="floor")  # of all frames
    column = pixel - row * width
    at = torch.div(row, 2, rounding_mode="floor") * half[1] + torch.div(column, 2, rounding_mode="floor")
    x = (screen[:, 0] / 2).long().clamp(0, half[1] - 1)
    y = (screen[:, 1] / 2).long().clamp(0, half[0] - 1)
    return (_coarse_hair(shots).flatten()[at] - before.hair[y, x]).abs() < _ALIKE


def _coarse_hair(shots: Shots) -> Tensor:
    """Cover (N, h / 2, w / 2) by brows, lashes and beard."""
    return F.avg_pool2d(shots.moving[:, None], 4, stride=2, padding=1)[:, 0]


def _matte(head: Head, shots: Shots) -> Tensor:
    whole = _on_plate(head, head.plate.cover, shots.cover, shots)
    return F.avg_pool2d(whole[:, None], head.oversample)[:, 0]


def _materials(head: Head, shots: Shots) -> Tensor:
    """Materials (N, H, W) uint8."""
    step, layers = head.oversample, []
    for some in (head.plate, shots):
        surface = some.surface.every(step)[1]
        kind = surface.dense(head.scene.material[surface.triangle].byte(), BACKDROP)
        layers.append(torch.where(some.strands[:, ::step, ::step] > 0.5, HAIR, kind).byte())
    whole = layers[0].repeat(shots.surface.count, 1, 1)
    x, y, w, h = (round(v * head.size / CANVAS_PX) for v in shots.window)
    whole[:, y : y + h, x : x + w] = layers[1]
    return whole


def landmarks(head: Head, shots: Shots) -> Tensor:
    """`LANDMARKS` (N, 18, 2), canvas px."""
    eyes = head.rig.eye_centres() + torch.tensor([0.0, 0.0, 0.15])
    eyes = eyes.flip(0).expand(shots.body.shape[0], -1, -1)
    points = torch.cat((eyes, shots.body[:, head.kit.head.landmarks]), 1)
    return head.camera_view.screen(head.camera_view.place(points))[..., :2]


__all__ = [
    "WHOLE",
    "HeadClip",
    "Truth",
    "draw_reference",
    "film_grain",
    "make_clip",
    "photograph",
    "truth_of",
]
