"""The head's own map: which triangles it has, where lids, lips and jaw lie, and every texel's place in space.

In: `Assets`. Out: an `Anatomy`: the base mesh cut off below the chest, its seams split so that each vertex has one
uv; vertices by name; and *maps*, pictures over the head's piece of uv (`MAP_SIZE`), painted in space rather than
in uv, where the head lies sideways. All of it depends on the base mesh alone and is made once.

Lengths in decimetres: eyes at (±0.31, 7.28, 1.25), mouth at y 6.6, chin about 6.2, crown 8.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.assets import Assets, Part
from distill.corpus.heads.drawing.raster import draw_triangles, interpolate

MAP_SIZE: Final = (900, 450)
"""Height and width of the maps."""
MAP_UV: Final = (0.595, 0.13, 0.97, 0.88)
"""The head's piece of uv: left, top, right, bottom, with v counted from above."""

UPPER_LIP_OUT: Final = 466
UPPER_LIP: Final = 474
LOWER_LIP: Final = 493
LOWER_LIP_OUT: Final = 492
UPPER_LID: Final = 6786  # of the left eye, which the viewer sees on the right
LOWER_LID: Final = 6824
CHIN: Final = 733
LEFT_EYE: Final = slice(14_598, 14_670)
RIGHT_EYE: Final = slice(14_670, 14_742)
EYE_RADIUS: Final = 0.1495
LANDMARKS: Final = (
    "right_eye", "left_eye",
    "right_inner", "right_outer", "right_upper_lid", "right_lower_lid",
    "left_inner", "left_outer", "left_upper_lid", "left_lower_lid",
    "mouth_right", "mouth_left", "upper_lip_out", "upper_lip_in", "lower_lip_in", "lower_lip_out", "chin", "nose",
)  # fmt: skip
"""Places known in every picture; right and left are the person's own, so right lies on the viewer's left."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles whose seams are split: each of K split vertices has a source vertex and a uv of its own."""

    source: Tensor  # (K,) int64
    uv: Tensor  # (K, 2), origin below
    triangles: Tensor  # (T, 3) int64 into the split vertices
    joined: Tensor  # (T, 3) int64 into the source vertices, for normals

    def keep(self, chosen: Tensor) -> Mesh:
        """The mesh with some of its triangles, (T,) bool."""
        return Mesh(self.source, self.uv, self.triangles[chosen], self.joined[chosen])


def split_seams(triangles: Tensor, uv_triangles: Tensor, uv: Tensor) -> Mesh:
    """A mesh of triangles (T, 3) whose corners have uv of their own (T, 3) into (U, 2)."""
    key = triangles * 1_000_000 + uv_triangles
    unique, inverse = torch.unique(key, return_inverse=True)
    return Mesh(unique // 1_000_000, uv[unique % 1_000_000], inverse.view(-1, 3), triangles)


def mesh_of(part: Part) -> Mesh:
    """A part's mesh."""
    return split_seams(part.triangles, part.uv_triangles, part.uv)


def ease(low: float | Tensor, high: float | Tensor, x: Tensor) -> Tensor:
    """Smoothstep: 0 at low, 1 at high (which may lie below low)."""
    t = ((x - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def blur(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, H, W), edges repeated; large ones at a coarser size."""
    factor = 1
    while sigma / factor > 4.0:
        factor *= 2
    small = F.avg_pool2d(picture[None], factor, ceil_mode=True)[0] if factor > 1 else picture
    small = _along(_along(small, sigma / factor, 1), sigma / factor, 2)
    if factor == 1:
        return small
    size = (small.shape[1] * factor, small.shape[2] * factor)
    large = F.interpolate(small[None], size=size, mode="bilinear")[0]
    return large[:, : picture.shape[1], : picture.shape[2]]


def _along(picture: Tensor, sigma: float, dim: int) -> Tensor:
    """Gaussian blur of (C, H, W) along one dimension, as a sum of shifted pictures."""
    reach = max(1, int(2.6 * sigma + 0.5))
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    pads = (0, 0, reach, reach) if dim == 1 else (reach, reach, 0, 0)
    padded, length = F.pad(picture[None], pads, mode="replicate")[0], picture.shape[dim]
    out = torch.zeros_like(picture)
    for start, weight in enumerate(weights):
        out.add_(padded.narrow(dim, start, length), alpha=weight / sum(weights))
    return out


class Anatomy:
    """The head's mesh, its vertices by name and its maps."""

    def __init__(self, assets: Assets) -> None:
        self.base = assets.base
        quads, uv_quads = assets.quads, assets.uv_quads
        corners = self.base[quads]
        kept = (corners[..., 1].amin(1) > 4.9) & (corners[..., 0].abs().amax(1) < 2.2)
        quads, uv_quads = quads[kept], uv_quads[kept]
        triangles = torch.cat((quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]))
        uv_triangles = torch.cat((uv_quads[:, [0, 1, 2]], uv_quads[:, [0, 2, 3]]))
        self.body = split_seams(triangles, uv_triangles, assets.uv)
        middle = assets.uv[uv_triangles].mean(1)
        self.inside = _pick(assets.mask("inside-mouth"), middle) > 0.5
        """(T,) bool: triangles inside the mouth."""
        lips = triangles[_pick(assets.mask("lips"), middle) > 0.5].unique()
        lips = lips[self.base[lips, 2] > 1.3]
        self.mouth_corners = (
            int(lips[self.base[lips, 0].argmin()]),
            int(lips[self.base[lips, 0].argmax()]),
        )
        self.nose_tip = self._nose_tip()
        self.lip_loop = _loop(triangles, self.inside, self.base)
        self.inside_vertices = triangles[self.inside].unique()
        self.mirrored = self._mirror(torch.tensor([UPPER_LID, LOWER_LID])).tolist()
        """The right eye's upper and lower lid."""
        self.landmarks = self._landmarks()
        self.place, self.on_head = self._places()
        self.lips = crop_map(assets.mask("lips")[None])[0]
        self.eyelids = crop_map(assets.mask("eyelids")[None])[0]
        self.maps = _paint_maps(self)

    def _nose_tip(self) -> int:
        x, y, z = self.base[:13_380].unbind(1)
        middle = ((x.abs() < 1e-3) & (y > 6.75) & (y < 7.2) & (z > 1.3)).nonzero()[:, 0]
        return int(middle[z[middle].argmax()])

    def _mirror(self, vertices: Tensor) -> Tensor:
        """The vertices opposite to the ones given."""
        opposite = self.base[vertices] * torch.tensor([-1.0, 1.0, 1.0])
        return torch.cdist(opposite, self.base[:13_380]).argmin(1)

    def _landmarks(self) -> Tensor:
        """Vertices of `LANDMARKS` but the eyes' centres, (16,)."""
        eye = self.base[LEFT_EYE].mean(0)
        near = ((self.base[:13_380] - eye).norm(dim=1) < 0.17) & (self.base[:13_380, 2] > 1.25)
        lids = near.nonzero()[:, 0]
        inner, outer = lids[self.base[lids, 0].argmin()], lids[self.base[lids, 0].argmax()]
        left = torch.stack((inner, outer, torch.tensor(UPPER_LID), torch.tensor(LOWER_LID)))
        middle = [
            *self.mouth_corners,
            UPPER_LIP_OUT,
            UPPER_LIP,
            LOWER_LIP,
            LOWER_LIP_OUT,
            CHIN,
            self.nose_tip,
        ]
        return torch.cat((self._mirror(left), left, torch.tensor(middle)))

    def _places(self) -> tuple[Tensor, Tensor]:
        """The place in space (3, H, W) of every texel of the maps, and where there is one, (H, W) bool."""
        height, width = MAP_SIZE
        mesh = self.body.keep(~self.inside)
        screen = torch.stack((*map_pixels(mesh.uv), torch.ones(len(mesh.uv))), 1)
        surface = draw_triangles(screen[None], mesh.triangles, (height, width), cull=False)
        found = interpolate(surface, mesh.triangles, self.base[mesh.source][None])
        place = torch.full((3, height * width), -9.0)
        place[:, surface.pixel] = found
        on_head = torch.zeros(height * width, dtype=torch.bool)
        on_head[surface.pixel] = True
        return place.view(3, height, width), on_head.view(height, width)

    def at_vertices(self, values: Tensor) -> Tensor:
        """A map (H, W) read, as its maximum nearby, at the body's split vertices (K,); 0 off the head."""
        wide = F.max_pool2d(values[None, None], 9, stride=1, padding=4)[0, 0]
        x, y = map_pixels(self.body.uv)
        inside = (x >= 0) & (x < MAP_SIZE[1]) & (y >= 0) & (y < MAP_SIZE[0])
        x, y = x.long().clamp(0, MAP_SIZE[1] - 1), y.long().clamp(0, MAP_SIZE[0] - 1)
        return wide[y, x] * inside


def map_pixels(uv: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows of the maps, float, for uv (K, 2)."""
    left, top, right, bottom = MAP_UV
    x = (uv[:, 0] - left) / (right - left) * MAP_SIZE[1]
    y = (1.0 - uv[:, 1] - top) / (bottom - top) * MAP_SIZE[0]
    return x, y


def crop_map(picture: Tensor) -> Tensor:
    """The head's piece of a picture (C, H, W) over all of uv, at the maps' size, bicubic."""
    left, top, right, bottom = MAP_UV
    y = torch.linspace(top, bottom, 2 * MAP_SIZE[0] + 1)[1::2] * 2 - 1
    x = torch.linspace(left, right, 2 * MAP_SIZE[1] + 1)[1::2] * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    return F.grid_sample(picture[None], grid, mode="bicubic", padding_mode="border", align_corners=False)[
        0
    ].clamp(0.0, 1.0)


def _pick(mask: Tensor, uv: Tensor) -> Tensor:
    """A mask (H, W) over uv read at (K, 2)."""
    height, width = mask.shape
    y = ((1 - uv[:, 1]) * height).long().clamp(0, height - 1)
    x = (uv[:, 0] * width).long().clamp(0, width - 1)
    return mask[y, x]


def _loop(triangles: Tensor, inside: Tensor, base: Tensor) -> Tensor:
    """The ring of vertices between the skin and the inside of the mouth, in order."""
    edges: dict[tuple[int, int], set[bool]] = {}
    for corners, within in zip(triangles.tolist(), inside.tolist(), strict=True):
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            edges.setdefault((min(a, b), max(a, b)), set()).add(within)
    near: dict[int, list[int]] = {}
    for (a, b), sides in edges.items():
        if len(sides) == 2 and base[a, 2] > 1.2:
            near.setdefault(a, []).append(b)
            near.setdefault(b, []).append(a)
    start = max(near, key=lambda vertex: float(base[vertex, 0]))
    ring, last = [start], -1
    while True:
        onward = [vertex for vertex in near[ring[-1]] if vertex != last]
        last = ring[-1]
        if not onward or onward[0] == start or len(ring) > len(near):
            return torch.tensor(ring)
        ring.append(onward[0])


def _spot(place: Tensor, centre: tuple[float, float, float], size: tuple[float, float, float]) -> Tensor:
    """A soft ball (H, W) around a place, as Gaussian radii along x, y, z."""
    away = (place - torch.tensor(centre).view(3, 1, 1)) / torch.tensor(size).view(3, 1, 1)
    return torch.exp(-0.5 * away.square().sum(0))


def _pair(place: Tensor, centre: tuple[float, float, float], size: tuple[float, float, float]) -> Tensor:
    """`_spot` on both sides."""
    return _spot(place, centre, size) + _spot(place, (-centre[0], centre[1], centre[2]), size)


def _paint_maps(head: Anatomy) -> dict[str, Tensor]:
    """Where make-up, beards and hair grow and where skin is red, dark or shiny, each (H, W) in [0, 1]."""
    place = head.place
    x, y, z = place
    maps = {
        "cheek": _pair(place, (0.42, 6.85, 1.30), (0.20, 0.17, 0.3)),
        "lid": _pair(place, (0.33, 7.38, 1.42), (0.17, 0.055, 0.15)),
        "liner": _pair(place, (0.33, 7.33, 1.42), (0.16, 0.025, 0.12)),
        "under_eye": _pair(place, (0.31, 7.14, 1.42), (0.15, 0.06, 0.15)),
        "nose": _spot(place, (0.0, 6.9, 1.66), (0.13, 0.12, 0.15)),
        "brow": _pair(place, (0.31, 7.55, 1.45), (0.17, 0.05, 0.2)),
        "ear": ease(0.70, 0.78, x.abs()) * ease(6.85, 6.95, y) * ease(7.65, 7.5, y),
        "shiny": torch.maximum(
            _spot(place, (0.0, 7.75, 1.45), (0.3, 0.25, 0.3)),
            _spot(place, (0.0, 7.05, 1.6), (0.08, 0.3, 0.2)),
        ),
    }
    jaw = ease(6.78, 6.55, y) * ease(5.98, 6.18, y) * ease(0.25, 0.6, z)
    sideburn = (
        ease(0.50, 0.66, x.abs()) * ease(7.3, 6.9, y) * ease(5.98, 6.18, y) * ease(0.25, 0.5, z)
    ) * ease(1.35, 1.0, z)
    moustache = torch.exp(-0.5 * ((y - 6.74) / 0.05) ** 2) * ease(0.34, 0.24, x.abs()) * (z > 1.3)
    low = torch.maximum(jaw, sideburn) * ease(6.85, 6.6, y)
    beard = torch.maximum(low, moustache) * (1 - head.lips) * head.on_head
    maps["beard"] = blur(beard[None], 3.0)[0] * ease(6.08, 6.25, y)
    maps["moustache"] = moustache * (1 - head.lips)
    maps["scalp"] = blur(_scalp(x, y, z)[None] * head.on_head, 2.0)[0]
    return {name: values.clamp(0.0, 1.0) for name, values in maps.items()}


def _scalp(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Where hair grows (H, W): front down to the hairline, temples, behind the ears, nape."""
    recede = ((x.abs() - 0.30) / 0.35).clamp(0.0, 1.0) ** 1.5
    front = ease(0.0, 0.07, y - (7.86 - 0.22 * recede))
    side = ease(0.98, 0.86, z) * ease(6.95, 7.25, y)
    back = ease(0.45, 0.30, z) * ease(6.45, 6.75, y)
    ear = ease(0.735, 0.77, x.abs()) * ((z < 0.95) & (z > 0.2) & (y > 6.9) & (y < 7.55))
    return torch.maximum(torch.maximum(front, side), back) * (1 - ear)
