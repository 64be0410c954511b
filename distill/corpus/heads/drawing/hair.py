"""Hair, brows, lashes and beards: which strands a person has, and where.

In: parts with pictures of strands (MakeHuman's hair, brows, lashes), or skin to grow layers from (cropped hair,
beards). Out: `Strands` and their vertices. Grown layers are shells of the skin at rising heights; a strand is a
texel that reaches so far out. Where hair begins on the forehead it begins in single strands.

Source: Lengyel et al. 2001, "Real-time fur over arbitrary surfaces", for shells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.anatomy import MAP_SIZE, Anatomy, blur, ease, map_pixels
from distill.corpus.heads.assets import HEAD_SCALE, Assets, Part
from distill.corpus.heads.drawing.skin import linear
from distill.corpus.heads.drawing.strands import Strands
from distill.corpus.heads.traits import Traits

_FRINGED: Final = ("bob01", "bob02", "Braid01", "short03")
_SHORT: Final = ("afro01", "ponytail01", "short01", "short02", "short03", "short04")
"""Styles whose sheets end on the forehead in a straight edge."""


def strands_of(part: Part, texture: Tensor, colour: Tensor, sheen: float, ball: float) -> Strands:
    """Sheets of a part with its picture."""
    uv = part.uv[part.uv_triangles]
    uv = torch.stack((uv[..., 0], 1 - uv[..., 1]), -1)
    count = len(part.references)
    return Strands(part.triangles, texture, uv, torch.ones(count), None, colour, sheen, ball)


def brow_and_lash(traits: Traits, assets: Assets) -> tuple[tuple[Part, Strands], tuple[Part, Strands]]:
    """Brows and lashes as parts to fit and strands to draw."""
    rng = traits.random(6)
    brow = assets.part(f"eyebrows/eyebrow{traits.brow:03d}")
    lash = assets.part(f"eyelashes/{'Eyelashes01' if traits.lash == 1 else f'eyelashes0{traits.lash}'}")
    colour = (torch.from_numpy(traits.hair_colour) * 0.45).clamp(max=0.06)
    dark = torch.tensor([0.012, 0.010, 0.009])
    brow_alpha = assets.picture(brow.texture)[3] * float(rng.uniform(0.95, 1.4))
    strength = rng.uniform(0.5, 0.85) if traits.male else rng.uniform(1.0, 1.4) + 0.6 * traits.make_up
    lash_alpha = assets.picture(lash.texture)[3] * float(strength)
    made = []
    for part, alpha, tint in ((brow, brow_alpha, colour), (lash, lash_alpha, dark)):
        texture = torch.stack((torch.ones_like(alpha), alpha.clamp(0, 0.98)))
        strands = strands_of(part, texture, tint, 0.0, 0.3)
        if part is brow:  # some have a tail that runs down around the eye
            x, y, _ = part.fit(assets.base, assets.base, HEAD_SCALE).unbind(1)
            strands = replace(strands, fade=torch.where(x.abs() > 0.42, ease(7.31, 7.37, y), 1.0))
        made.append((part, strands))
    return made[0], made[1]


def hair_sheets(traits: Traits, assets: Assets, rest: Tensor, eyes: Tensor) -> tuple[Tensor, Strands]:
    """A hair style's vertices (V, 3) on a face at rest with eyes (2, 3), and its strands."""
    rng = traits.random(7)
    part = assets.part(f"hair/{traits.hair}")
    picture = assets.picture(part.texture)
    solid = picture[3] > 0.5
    bright = linear(picture[:3]).mean(0)
    bright = (bright / bright[solid].mean()).clamp_min(1e-4)
    bright = torch.where(solid, bright, 0.8).clamp(0.15, 2.0)
    texture = torch.stack((bright, (picture[3] * 1.1).clamp(0, 0.985)))
    strands = strands_of(
        part, texture, torch.from_numpy(traits.hair_colour), float(rng.uniform(0.6, 1.3)), 0.5
    )
    vertices = part.fit(rest, assets.base, HEAD_SCALE)
    plain = part.fit(
        assets.base, assets.base, HEAD_SCALE
    )  # as on MakeHuman's own head, whose places are known
    centre = eyes.mean(0) + torch.tensor([0.0, 0.0, -0.95])
    grown = torch.from_numpy(rng.uniform((0.99, 0.98, 0.99), (1.05, 1.06, 1.05)).astype(np.float32))
    vertices = centre + (vertices - centre) * grown
    fade = torch.ones(len(vertices))
    if traits.hair in _FRINGED:
        wide, tall = float(rng.uniform(0.55, 0.72)), float(rng.uniform(0.75, 1.0))
        x, y, z = plain.unbind(1)
        away = (x / wide) ** 2 + ((y - 6.93) / tall) ** 2
        open_face = ease(0.85, 1.2, away + 0.08 * (37 * x + 9 * y).sin())
        fade = torch.where(z > 0.75, open_face, fade)
    if traits.hair in _SHORT:
        fade = fade * _hairline(plain, rng)
    if rng.random() < 0.5:
        vertices = vertices * torch.tensor([-1.0, 1.0, 1.0])  # parted on the other side
    return vertices, replace(strands, fade=fade)


def _hairline(vertices: Tensor, rng: np.random.Generator) -> Tensor:
    """Fade (V,) of sheets towards the forehead, so that they end in strands along a hairline."""
    x, y, z = vertices.unbind(1)
    recede = ((x.abs() - 0.30) / 0.35).clamp(0.0, 1.0) ** 1.5
    line = 7.84 + float(rng.uniform(-0.03, 0.06)) - (0.22 + float(rng.uniform(-0.1, 0.05))) * recede
    above = ease(-0.07, 0.12, y - line)
    return torch.where((z > 0.75) & (x.abs() < 0.72), above, 1.0)


@dataclass(frozen=True, slots=True)
class Growth:
    """Layers of grown hair, bound to the body."""

    strands: Strands
    source: Tensor  # (V,) body vertices of the first layer
    heights: Tensor  # (layers,)
    length: float  # decimetres
    fall: float  # how much strands bend down

    def place(self, body: Tensor, normals: Tensor) -> Tensor:
        """Vertices (N, layers * V, 3) on bodies (N, 19158, 3) with unit normals alike."""
        lean = normals[:, self.source] + torch.tensor([0.0, -self.fall, 0.0])
        rise = self.heights.view(1, -1, 1, 1) * self.length * lean.unsqueeze(1)
        return (body[:, self.source].unsqueeze(1) + rise).flatten(1, 2)


def grow(traits: Traits, head: Anatomy, kind: str) -> Growth:
    """Cropped hair ("scalp") or a beard ("beard")."""
    rng = traits.random(8 if kind == "scalp" else 9)
    curly = bool(rng.random() < 0.1 + 0.85 * traits.ancestry[0])
    if kind == "scalp":
        spans = ((0.012, 0.03), (0.03, 0.08), (0.08, 0.18))
        length = float(rng.uniform(*spans[int(rng.choice(3, p=(0.35, 0.4, 0.25)))]))
        count = int(np.clip(length / 0.012, 4, 12))
        where = head.maps["scalp"] * _higher(
            head, float(rng.uniform(-0.02, 0.14)), float(rng.uniform(0.0, 0.3))
        )
    else:
        length, count = float(rng.uniform(0.012, 0.06)), 5
        where = _beard_shape(traits, head)
    reach, bright = _strand_maps(rng, curly, 1.0 if kind == "scalp" else 0.7)
    # hair thins out towards its edge: shorter and sparser, strand by strand
    soft = (blur(where[None], 7.0)[0] * 1.15 - 0.05).clamp(0, 1) * (where > 0.02)
    ragged = 0.45 if kind == "scalp" else 0.25
    reach = reach * ease(0.05, 0.80, soft + ragged * (reach - 0.6))
    touched = head.at_vertices(where) > 0.03
    mesh = head.body.keep(touched[head.body.triangles].any(1) & ~head.inside)
    used, local = torch.unique(mesh.triangles, return_inverse=True)
    x, y = map_pixels(mesh.uv)
    corner_uv = torch.stack((x / MAP_SIZE[1], y / MAP_SIZE[0]), -1)[mesh.triangles]
    heights = (torch.arange(count) + 0.6) / count
    triangles = torch.cat([local + k * len(used) for k in range(count)])
    strands = Strands(
        triangles,
        torch.stack((bright, reach)),
        corner_uv.repeat(count, 1, 1),
        torch.ones(count * len(used)),
        heights.repeat_interleave(len(used)),
        torch.from_numpy(traits.hair_colour),
        0.5 if kind == "scalp" else 0.2,
        0.35 if kind == "scalp" else 0.1,
    )
    return Growth(strands, mesh.source[used], heights, length, float(rng.uniform(0.05, 0.3)))


def _higher(head: Anatomy, rise: float, temples: float) -> Tensor:
    """Where hair is left (H, W) as the hairline rises by ``rise`` dm, and by ``temples`` more at the temples."""
    x, y, z = head.place
    line = 7.86 + rise - 0.22 * ((x.abs() - 0.30) / 0.35).clamp(0, 1) ** 1.5
    line = line + temples * torch.exp(-0.5 * ((x.abs() - 0.42) / 0.12) ** 2)
    return torch.where((z > 0.9) & (x.abs() < 0.68), ease(-0.02, 0.06, y - line), 1.0)


def _beard_shape(traits: Traits, head: Anatomy) -> Tensor:
    """Where the beard grows, (H, W)."""
    x, y, _ = head.place
    whole, lip = head.maps["beard"], head.maps["moustache"]
    if traits.beard == "goatee":
        return whole * ease(0.36, 0.24, x.abs())
    if traits.beard == "moustache":
        return whole * lip
    if traits.beard == "chin":
        return whole * ease(0.3, 0.2, x.abs()) * ease(6.52, 6.45, y)
    return whole


def _strand_maps(rng: np.random.Generator, curly: bool, width: float) -> tuple[Tensor, Tensor]:
    """How far out strands, about ``width`` texels wide, reach and how bright they are, (H, W) each."""

    def streaks(size: float) -> Tensor:
        field = torch.from_numpy(rng.standard_normal((1, *MAP_SIZE)).astype(np.float32))
        if curly:
            out = blur(field, 1.1 * size * width)
        else:  # the maps' columns run from crown to chin, and so do strands
            wide = blur(field, 0.9 * size * width)
            out = F.avg_pool2d(wide, (1, 7), stride=1, padding=(0, 3))
        return (out[0] - out.mean()) / out.std()

    field = 0.8 * streaks(1.0) + 0.4 * streaks(3.0)
    reach = (field * 0.26 + 0.62).clamp(0, 1)
    return reach, (1 + 0.25 * streaks(0.8)).clamp(0.4, 1.7)


def lens_sheet(triangles: Tensor, vertices: int) -> Strands:
    """Lenses of glasses as a sheet that is hardly there."""
    texture = torch.stack((torch.ones(4, 4), torch.full((4, 4), 0.022)))
    uv = torch.full((len(triangles), 3, 2), 0.5)
    return Strands(triangles, texture, uv, torch.ones(vertices), None, torch.full((3,), 0.8), 1.0, 0.6)
