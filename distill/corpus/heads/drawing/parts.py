"""Parts that are not in the packages, or not to be used: eyeballs and glasses, made from formulas.

In: `Traits`, a face at rest. Out: meshes and pictures. The eyeball is a sphere whose uv is where it faces, so its
picture is a disc: pupil, iris with fibres and a dark rim, white with veins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from distill.corpus.heads.anatomy import EYE_RADIUS, Mesh, blur, ease
from distill.corpus.heads.drawing.skin import linear, noise
from distill.corpus.heads.traits import Traits

IRIS: Final = 0.42
"""Sine of the angle from the eye's axis to the iris' rim."""
_EYE_PX: Final = 256


def eyeball() -> tuple[Mesh, Tensor]:
    """The front of an eyeball as (mesh, unit directions (K, 3)); its axis is z, its uv the direction's x, y."""
    rings, around = 20, 36
    polar = torch.linspace(0, math.radians(105), rings + 1)[1:]
    turn = torch.arange(around) * (2 * math.pi / around)
    x = torch.outer(polar.sin(), turn.cos()).flatten()
    y = torch.outer(polar.sin(), turn.sin()).flatten()
    z = polar.cos().repeat_interleave(around)
    directions = torch.cat((torch.tensor([[0.0, 0.0, 1.0]]), torch.stack((x, y, z), 1)))
    triangles = [[0, 1 + k, 1 + (k + 1) % around] for k in range(around)]
    for ring in range(rings - 1):
        for k in range(around):
            a, b = 1 + ring * around + k, 1 + ring * around + (k + 1) % around
            c, d = a + around, b + around
            triangles += [[a, c, b], [b, c, d]]
    faces = torch.tensor(triangles)
    index = torch.arange(len(directions))
    return Mesh(index, directions[:, :2] * 0.5 + 0.5, faces, faces), directions


def cornea_normals(directions: Tensor) -> Tensor:
    """Normals (K, 3) of an eyeball whose cornea bulges: over the iris they fan out faster."""
    away = directions[:, :2].norm(dim=1, keepdim=True)
    bulge = 0.5 * ease(IRIS * 1.15, IRIS * 0.75, away)
    bent = torch.cat((directions[:, :2] * (1 + bulge), directions[:, 2:]), 1)
    return bent / bent.norm(dim=1, keepdim=True)


def paint_eye(traits: Traits) -> Tensor:
    """The eye's picture (3, 256, 256), linear albedo."""
    rng = traits.random(4)
    at = (torch.arange(_EYE_PX) + 0.5) / _EYE_PX * 2 - 1
    y, x = torch.meshgrid(-at, at, indexing="ij")
    away, turn = torch.hypot(x, y), torch.atan2(y, x)
    iris = torch.from_numpy(traits.iris).view(3, 1, 1)
    pupil = IRIS * float(rng.uniform(0.30, 0.44))
    fibres = torch.zeros_like(away)
    for count in (23, 41, 67):
        wave = count * turn + 2.0 * noise(rng, (_EYE_PX, _EYE_PX), 12) + float(rng.uniform(0, 6.3))
        fibres = fibres + wave.sin() / 3
    ring = torch.exp(-0.5 * ((away - pupil * 1.25) / 0.035) ** 2)
    colour = iris * (1 + 0.35 * fibres + 0.25 * noise(rng, (_EYE_PX, _EYE_PX), 10))
    inner = iris * torch.tensor([1.6, 1.15, 0.7]).view(3, 1, 1)
    colour = colour * (1 - 0.5 * ring) + 0.5 * ring * inner
    colour = colour * (1 - 0.75 * ease(IRIS * 0.80, IRIS * 0.99, away))
    colour = colour * ease(pupil - 0.02, pupil + 0.02, away) + 0.003
    white = _paint_white(rng, away, x)
    rim = float(rng.uniform(0.03, 0.05))
    return (colour + (white - colour) * ease(IRIS - rim, IRIS + rim, away)).clamp(0.002, 0.9)


def _paint_white(rng: np.random.Generator, away: Tensor, x: Tensor) -> Tensor:
    """The eye's white (3, H, W): greyer and redder to its corners, with veins."""
    level = float(rng.uniform(0.46, 0.60))
    base = torch.tensor([1.0, float(rng.uniform(0.90, 0.95)), float(rng.uniform(0.82, 0.92))]) * level
    veins = (1 - (noise(rng, (_EYE_PX, _EYE_PX), 14).abs() * 9).clamp(0, 1)) * ease(0.45, 0.85, away)
    veins = blur(veins[None], 0.8)[0] * float(rng.uniform(0.05, 0.3))
    corner = ease(0.5, 1.0, x.abs()) * float(rng.uniform(0.1, 0.3))
    red = torch.tensor([0.15, 0.75, 0.7]).view(3, 1, 1)
    return base.view(3, 1, 1) * (1 - 0.25 * ease(0.5, 1.0, away)) * (1 - red * (veins + corner))


@dataclass(frozen=True, slots=True)
class Glasses:
    """Frames and lenses of a face at rest."""

    vertices: Tensor  # (K, 3)
    triangles: Tensor  # (T, 3)
    lenses: Tensor  # (L, 3)
    lens_triangles: Tensor  # (M, 3)
    colour: Tensor  # (3,) linear albedo


def make_glasses(traits: Traits, eyes: Tensor, nose_z: float, temple: float) -> Glasses:
    """Glasses on eyes (2, 3) left and right.

    Args:
        traits: whose.
        eyes: centres of left and right eyeball.
        nose_z: how far the nose's tip is to the front.
        temple: half the head's width above the ears.
    """
    rng = traits.random(5)
    front = max(nose_z - 0.17, float(eyes[0, 2]) + 0.30)
    half_width = float(rng.uniform(0.20, 0.26))
    half_height = half_width * float(rng.uniform(0.68, 0.98))
    power = 2 / float(rng.choice((2.0, 2.5, 3.2, 4.0)))
    thick = float(rng.uniform(0.007, 0.018))
    middle = max(float(eyes[0, 0] - eyes[1, 0]) / 2 + 0.01, half_width + 0.05)
    y = float(eyes[:, 1].mean()) - 0.02
    turn = torch.linspace(0, 2 * math.pi, 41)[:-1]
    across, up = (wave.sign() * wave.abs() ** power for wave in (turn.cos(), turn.sin()))
    pieces: list[tuple[Tensor, Tensor]] = []
    lenses: list[tuple[Tensor, Tensor]] = []
    for side in (1.0, -1.0):
        x = side * middle + across * half_width
        rim = torch.stack((x, y + up * half_height, front - 0.225 * x**2), 1)
        pieces.append(tube(rim, thick, closed=True))
        lenses.append((torch.cat((rim, rim.mean(0, keepdim=True))), _fan(len(rim))))
        bow = _bow(side, middle + half_width, y, half_height * 0.35, front, temple)
        pieces.append(tube(bow, thick * 0.9, closed=False))
    along = torch.linspace(-1, 1, 7)
    arch = y + half_height * 0.25 + 0.03 * (1 - along**2)
    bridge = torch.stack((along * (middle - half_width), arch, torch.full((7,), front + 0.02)), 1)
    pieces.append(tube(bridge, thick * 0.9, closed=False))
    return Glasses(*_join(pieces), *_join(lenses), _frame_colour(rng))


def _bow(side: float, outer: float, y: float, rise: float, front: float, temple: float) -> Tensor:
    """The path (K, 3) of one bow from a rim's outer edge to the ear."""
    stops = torch.tensor(
        [
            [side * outer, y + rise, front - 0.225 * outer**2],
            [side * max(outer + 0.02, temple - 0.02), y + rise, front - 0.34],
            [side * (temple + 0.015), y + 0.09, 0.75],
            [side * (temple + 0.01), y + 0.08, 0.35],
        ]
    )
    return _refine(stops)


def _frame_colour(rng: np.random.Generator) -> Tensor:
    """Black, brown, gold, steel, or any colour."""
    colours = ((0.01, 0.01, 0.01), (0.05, 0.025, 0.012), (0.20, 0.16, 0.10), (0.25, 0.25, 0.27))
    colour = torch.tensor(colours[int(rng.integers(len(colours)))])
    if rng.random() < 0.15:
        colour = linear(torch.from_numpy(rng.uniform(0.05, 0.6, 3).astype(np.float32)))
    return colour


def tube(path: Tensor, radius: float, closed: bool, sides: int = 6) -> tuple[Tensor, Tensor]:
    """A tube along points (K, 3): vertices (K * sides, 3) and triangles."""
    count = len(path)
    after = path.roll(-1, 0) if closed else torch.cat((path[1:], path[-1:]))
    before = path.roll(1, 0) if closed else torch.cat((path[:1], path[:-1]))
    along = after - before
    along = along / along.norm(dim=1, keepdim=True)
    front = torch.tensor([0.0, 0.0, 1.0]).expand_as(along)
    up = torch.tensor([0.0, 1.0, 0.0]).expand_as(along)
    across = torch.linalg.cross(along, torch.where((along[:, 2:].abs() > 0.97), up, front))
    across = across / across.norm(dim=1, keepdim=True)
    third = torch.linalg.cross(along, across)
    turn = torch.arange(sides) * (2 * math.pi / sides)
    ring = turn.cos().view(1, -1, 1) * across[:, None] + turn.sin().view(1, -1, 1) * third[:, None]
    vertices = (path[:, None] + radius * ring).flatten(0, 1)
    triangles = []
    for i in range(count if closed else count - 1):
        for k in range(sides):
            a, b = i * sides + k, i * sides + (k + 1) % sides
            c, d = (i + 1) % count * sides + k, (i + 1) % count * sides + (k + 1) % sides
            triangles += [[a, c, b], [b, c, d]]
    return vertices, torch.tensor(triangles)


def _refine(path: Tensor) -> Tensor:
    """Each stretch of a path (K, 3) cut into four."""
    share = torch.linspace(0, 1, 5)[:-1].view(1, -1, 1)
    inner = path[:-1, None] + (path[1:, None] - path[:-1, None]) * share
    return torch.cat((inner.flatten(0, 1), path[-1:]))


def _fan(count: int) -> Tensor:
    """Triangles of a disc whose centre is vertex ``count``."""
    return torch.tensor([[k, (k + 1) % count, count] for k in range(count)])


def _join(pieces: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Several meshes as one."""
    vertices, triangles, at = [], [], 0
    for points, faces in pieces:
        vertices.append(points)
        triangles.append(faces + at)
        at += len(points)
    return torch.cat(vertices), torch.cat(triangles)


def place_eyes(directions: Tensor, centres: Tensor, turns: Tensor) -> Tensor:
    """Vertices (N, 2 * K, 3) of both eyeballs about centres (N, 2, 3), turned by (N, 2, 3, 3)."""
    turned = torch.einsum("nsij,kj->nski", turns, directions)
    return (turned * EYE_RADIUS + centres.unsqueeze(2)).flatten(1, 2)
