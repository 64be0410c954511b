"""Light on surfaces: what colour a visible point has, from where it is, what it is made of and what lights it.

In: points as columns (3, P) in view space (x right, y up, z to the viewer). Out: linear colours (3, P). Diffuse
light wraps around soft materials, red further than blue, as light that travelled under the skin does; gloss is one
GGX lobe; the sky is two colours; crevices are darkened from the depths around a pixel; the first light casts a
shadow with a soft edge.

Source: Walter et al. 2007, "Microfacet models for refraction", the GGX distribution; Mittring 2007, screen-space
ambient occlusion.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.drawing.native import at, single, usable, whole
from distill.corpus.heads.drawing.raster import depth_map
from distill.corpus.heads.photo import Light

SKIN, EYE, TEETH, TONGUE, CLOTH, INSIDE, FRAME = range(7)
"""Materials of solid surfaces."""
SHADOW_PX: Final = 320
SHADOW_SPAN: Final = 3.6
"""Side of the shadow map, pixels and decimetres."""
_SHADOW_CENTRE: Final = (0.0, 0.1, 0.2)
_TAPS: Final = 12


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Products (...) of columns (3, ...)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: Tensor) -> Tensor:
    """Columns (3, ...) of length 1."""
    return a * torch.rsqrt(dot(a, a).clamp_min(1e-12))


@dataclass(frozen=True, slots=True)
class Finish:
    """How a person's surfaces answer to light."""

    skin_gloss: float
    skin_rough: float
    under_skin: float  # how far light wraps
    eye_gloss: float
    crevice: float  # strength of occlusion

    def table(self, device: torch.device) -> Tensor:
        """(7, 5): wrap of red, green, blue; gloss; roughness, by material."""
        under = self.under_skin
        skin = (under, under * 0.5, under * 0.35)
        rows = (
            (*skin, self.skin_gloss, self.skin_rough),
            (0.25, 0.2, 0.2, 0.0, 0.3),
            (0.40, 0.35, 0.30, 0.05, 0.25),
            (*skin, 0.04, 0.4),
            (0.1, 0.1, 0.1, 0.0, 0.6),
            (*skin, self.skin_gloss * 1.2, 0.35),
            (0.1, 0.1, 0.1, 0.10, 0.22),
        )
        return torch.tensor(rows, device=device)


def draw_finish(rng: np.random.Generator, dark: bool) -> Finish:
    """A person's skin and eyes."""
    rough, gloss = float(rng.uniform(0.44, 0.60)), float(rng.uniform(0.035, 0.075))
    under, eyes, crevice = (float(rng.uniform(*r)) for r in ((0.28, 0.5), (0.6, 1.5), (0.9, 1.6)))
    return Finish(gloss * (0.75 if dark else 1.0), rough, under, eyes, crevice)


@dataclass(frozen=True, slots=True)
class Points:
    """P visible points of solid surfaces, as columns."""

    material: Tensor  # (P,) int64
    position: Tensor  # (3, P)
    normal: Tensor  # (3, P)
    albedo: Tensor  # (3, P)
    gloss: Tensor  # (P,) factor
    reached: Tensor  # (P,) light that comes into the mouth, 1 outside
    open_sky: Tensor  # (P,) 0..1 not occluded
    lit: Tensor  # (P,) 0..1 by the first light


class Lamp:
    """A light in view space, with what its shadow map needs.

    Args:
        light: directions as seen from the camera.
        device: where points lie.
    """

    def __init__(self, light: Light, device: torch.device | str = "cpu") -> None:
        self.directions = torch.from_numpy(light.directions).to(device)
        self.colours = torch.from_numpy(light.colours).to(device)
        self.above = torch.from_numpy(light.above).view(3, 1).to(device)
        self.below = torch.from_numpy(light.below).view(3, 1).to(device)
        self.side = light.side
        self.softness = light.softness
        key = self.directions[0]
        right = unit(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0], device=device), key))
        self._axes = torch.stack((right, torch.linalg.cross(key, right), key))  # (3, 3)
        self._centre = (self._axes @ torch.tensor(_SHADOW_CENTRE, device=device))[:2]

    def on_map(self, position: Tensor) -> Tensor:
        """Places (..., 3) on the shadow map: column, row, and nearness to the light."""
        along = position @ self._axes.T
        scale = SHADOW_PX / SHADOW_SPAN
        x = (along[..., 0] - self._centre[0]) * scale + SHADOW_PX / 2
        y = SHADOW_PX / 2 - (along[..., 1] - self._centre[1]) * scale
        return torch.stack((x, y, along[..., 2]), -1)

    def shadow_map(self, position: Tensor, triangles: Tensor) -> Tensor:
        """What the light sees of vertices (N, V, 3): nearness (N, 320, 320)."""
        return depth_map(self.on_map(position), triangles, (SHADOW_PX, SHADOW_PX))

    def sky(self, normal: Tensor) -> Tensor:
        """Light from all around (3, P) on normals (3, P)."""
        up = normal[1] * 0.5 + 0.5
        return (self.below + (self.above - self.below) * up) * (1 + self.side * 0.5 * normal[0])

    def visible(self, position: Tensor, frame: Tensor, turn: Tensor, shadow: Tensor, bias: float) -> Tensor:
        """How much of the first light reaches points, (P,) in 0..1.

        Args:
            position: (3, P). frame: (P,). turn: (P,) of `turns`.
            shadow: (N, 320, 320) of `shadow_map`.
            bias: by how much a point may lie behind what the light sees.
        """
        radius = max(1.0, 0.5 * self.softness * SHADOW_PX / SHADOW_SPAN)
        if native := usable(position):
            return self._visible_natively(native, position.contiguous(), frame, turn, shadow, bias, radius)
        place = self.on_map(position.T)
        flat = shadow.reshape(-1)
        base = frame * (SHADOW_PX * SHADOW_PX)
        cos, sin = turn.cos(), turn.sin()
        near = place[:, 2] + bias
        total = torch.zeros_like(near)
        for dx, dy in _disc(_TAPS):
            x = (place[:, 0] + radius * (dx * cos - dy * sin)).long().clamp(0, SHADOW_PX - 1)
            y = (place[:, 1] + radius * (dx * sin + dy * cos)).long().clamp(0, SHADOW_PX - 1)
            total += flat[base + y * SHADOW_PX + x] <= near
        return total / _TAPS

    def _visible_natively(
        self, native: ctypes.CDLL, position: Tensor, frame: Tensor, turn: Tensor, shadow: Tensor, bias: float,
        radius: float,
    ) -> Tensor:  # fmt: skip
        lit, taps = torch.empty(position.shape[1]), torch.tensor(_disc(_TAPS))
        shadow, frame, axes = shadow.contiguous(), frame.contiguous(), self._axes.contiguous()
        native.heads_visible(
            at(position), at(frame), at(turn), whole(len(lit)), at(shadow), SHADOW_PX, at(axes),
            at(self._centre.contiguous()), single(SHADOW_PX / SHADOW_SPAN), single(radius), single(bias), at(taps),
            _TAPS, at(lit),
        )  # fmt: skip
        return lit


def turns(pixel: Tensor, size: Sequence[int]) -> Tensor:
    """By how much the taps around pixels (P,) of frames of (H, W) are turned, radians: unlike for neighbours."""
    inner = pixel % (size[0] * size[1])
    row = torch.div(inner, size[1], rounding_mode="floor")
    return ((inner - row * size[1]) * 5 + row * 11).remainder(16).float() * (math.pi / 8)


def _disc(count: int) -> list[tuple[float, float]]:
    """Points spread over the unit disc (Vogel's spiral)."""
    radii = [math.sqrt((k + 0.5) / count) for k in range(count)]
    return [(r * math.cos(k * 2.39996), r * math.sin(k * 2.39996)) for k, r in enumerate(radii)]


def occlusion(position: Tensor, normal: Tensor, covered: Tensor, pixels_per_dm: float) -> Tensor:
    """How much stands in the way of the sky at every pixel, 0 nothing.

    Args:
        position: (3, N, H, W). normal: (3, N, H, W). covered: (N, H, W) bool.
        pixels_per_dm: of these pictures, at the face.
    """
    count, height, width = covered.shape
    radius = 0.22 * pixels_per_dm
    if native := usable(position):
        out, taps = torch.zeros(covered.shape), torch.tensor(_disc(_TAPS))
        turn = turns(torch.arange(covered.numel()), (height, width))
        position, normal, covered = position.contiguous(), normal.contiguous(), covered.contiguous()
        native.heads_occlusion(
            at(position), at(normal), at(covered), at(turn), whole(count), height, width, single(radius), at(taps),
            _TAPS, at(out),
        )  # fmt: skip
        return out
    pixel = covered.view(-1).nonzero()[:, 0]
    place = position.reshape(3, -1).T.contiguous()
    here, facing = place[pixel].T.contiguous(), normal.reshape(3, -1)[:, pixel]
    inner = pixel % (height * width)
    frame = pixel - inner
    row, column = torch.div(inner, width, rounding_mode="floor"), inner % width
    turn = turns(pixel, (height, width))
    cos, sin = turn.cos(), turn.sin()
    total = torch.zeros(len(pixel), device=position.device)
    flat_cover = covered.view(-1)
    for dx, dy in _disc(_TAPS):
        x = (column + radius * (dx * cos - dy * sin)).long().clamp(0, width - 1)
        y = (row + radius * (dx * sin + dy * cos)).long().clamp(0, height - 1)
        other = frame + y * width + x
        away = place[other].T - here
        square = dot(away, away)
        above = (dot(away, facing) - 0.012).clamp(min=0)
        total += above / (square + 0.006) * (1 - square / 0.1156).clamp(min=0) * flat_cover[other]
    out = torch.zeros(covered.numel(), device=position.device)
    out[pixel] = total / _TAPS
    return out.view(covered.shape)


def smooth_covered(values: Tensor, covered: Tensor) -> Tensor:
    """Mean of (C, N, H, W) over 3 x 3 pixels, of covered (N, H, W) ones alone."""
    weight = covered.float()
    both = torch.cat((values * weight, weight[None])).transpose(0, 1)
    mean = F.avg_pool2d(both, 3, stride=1, padding=1)
    return (mean[:, :-1] / mean[:, -1:].clamp_min(1e-6)).transpose(0, 1)


def ggx(normal: Tensor, view: Tensor, towards: Tensor, alpha: Tensor | float) -> Tensor:
    """The gloss (P,) of a microfacet surface, without its strength; ``towards`` (3,) is the light."""
    half = unit(view + towards.view(3, 1))
    square = alpha * alpha
    facing = dot(normal, half).clamp(min=0)
    width = facing * facing * (square - 1) + 1
    spread = square / (math.pi * width * width) * (facing > 0)
    grazing = (1 - dot(view, half).clamp(min=0)) ** 5
    masked = (0.5 + 0.5 * dot(normal, view).clamp(min=0)).clamp(min=0.3)
    return spread * 0.25 * (1 + 20 * grazing) / masked


def shade(points: Points, lamp: Lamp, finish: Finish, distance: float) -> Tensor:
    """Colours (3, P) of points seen by a camera ``distance`` in front of the origin."""
    table = finish.table(points.normal.device)
    if native := usable(points.normal):
        return _shade_natively(native, points, lamp, finish, table, distance)
    table = table[points.material].T  # (5, P)
    wrap, gloss, rough = table[:3], table[3] * points.gloss, table[4]
    normal = unit(points.normal)
    camera = torch.tensor([0.0, 0.0, distance], device=normal.device).view(3, 1)
    view = unit(camera - points.position)
    soft = (points.material == SKIN) | (points.material == INSIDE)
    sky = points.open_sky
    tinted = torch.stack((torch.where(soft, sky**0.75, sky), sky, torch.where(soft, sky**1.1, sky)))
    diffuse = lamp.sky(normal) * tinted
    shine = torch.zeros_like(diffuse)
    around = 0.45 + 0.55 * sky
    eye = points.material == EYE
    for number, (towards, colour) in enumerate(zip(lamp.directions, lamp.colours, strict=True)):
        facing = towards[0] * normal[0] + towards[1] * normal[1] + towards[2] * normal[2]
        seen = points.lit if number == 0 else torch.ones_like(points.lit)
        bent = ((facing + wrap) / (1 + wrap)).clamp(min=0) * around
        bent[0] *= seen ** (1 - 0.55 * finish.under_skin)
        bent[1:] *= seen
        diffuse += colour.view(3, 1) * bent
        lobe = ggx(normal, view, towards, rough * rough) * gloss * sky
        cornea = (ggx(normal, view, towards, 0.10) * 0.10 * finish.eye_gloss).clamp(max=2.6)
        strength = torch.where(eye, cornea, lobe) * facing.clamp(min=0) * seen
        shine += colour.view(3, 1) * strength
    grazing = (1 - dot(normal, view).clamp(min=0)) ** 4
    mirrored = 2 * dot(normal, view) * normal[1] - view[1]
    of_eye = (0.02 + 0.25 * grazing) * torch.where(mirrored > 0.15, 1.0, 0.15) * finish.eye_gloss
    sheen = torch.where(eye, of_eye, 0.4 * grazing * gloss * (points.material == SKIN)) * sky
    shine += lamp.above * sheen
    return (points.albedo * diffuse + shine) * points.reached


def _shade_natively(
    native: ctypes.CDLL, points: Points, lamp: Lamp, finish: Finish, table: Tensor, distance: float
) -> Tensor:
    columns = [getattr(points, name).contiguous() for name in Points.__slots__]
    lights = torch.cat((lamp.directions, lamp.colours), 1).contiguous()
    sky = torch.cat((lamp.above.flatten(), lamp.below.flatten(), torch.tensor([lamp.side])))
    out = torch.empty_like(columns[1])
    native.heads_shade(
        *(at(column) for column in columns), whole(out.shape[1]), at(table), at(lights), len(lights), at(sky),
        single(distance), single(finish.under_skin), single(finish.eye_gloss), SKIN, EYE, INSIDE, at(out),
    )  # fmt: skip
    return out
