"""Everything solid before the camera, as one list of triangles: what it is made of and which picture lies on it.

In: `Traits`, MakeHuman's data and a face. Out: a `Scene`. What lies in the mouth comes first in the list, because
it shows between the lips only; then body, eyeballs, clothes and glasses. The body under clothes is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from distill.corpus.heads import anatomy
from distill.corpus.heads.anatomy import Anatomy, Mesh, mesh_of
from distill.corpus.heads.assets import TORSO_SCALE, Assets, Part
from distill.corpus.heads.drawing.parts import Glasses, eyeball, make_glasses, paint_eye
from distill.corpus.heads.drawing.shade import CLOTH, EYE, FRAME, INSIDE, SKIN, TEETH, TONGUE
from distill.corpus.heads.drawing.skin import Skin, linear
from distill.corpus.heads.drawing.strands import sample
from distill.corpus.heads.rig import Rig
from distill.corpus.heads.traits import Traits

T = TypeVar("T")
_TONGUE_TINT: Final = (0.85, 0.70, 0.70)


@dataclass(frozen=True, slots=True)
class Piece:
    """A mesh of the scene: rows ``first`` on of its triangles, ``vertex`` on of its split vertices."""

    mesh: Mesh
    first: int
    vertex: int
    cull: bool  # what faces away is not drawn

    @property
    def rows(self) -> slice:
        """Its triangles."""
        return slice(self.first, self.first + len(self.mesh.triangles))

    @property
    def vertices(self) -> slice:
        """Its split vertices."""
        return slice(self.vertex, self.vertex + len(self.mesh.source))


@dataclass(frozen=True, slots=True)
class Scene:
    """All solid things: T triangles over K split vertices.

    Attributes:
        teeth, tongue, body, eyes, cloth, frames: the pieces, in this order; frames of glasses or None.
        triangles: (T, 3). material: (T,) of `shade`. uv: (K, 2), origin below.
        still: vertices of cloth (and frames), which do not move.
        eye_directions: (D, 3) unit vertices of an eyeball.
        glasses: or None.
        skin: painted skin; pictures: (3, H, W) linear albedo by material; tints: (3, 1) alike.
    """

    teeth: Piece
    tongue: Piece
    body: Piece
    eyes: Piece
    cloth: Piece
    frames: Piece | None
    triangles: Tensor
    material: Tensor
    uv: Tensor
    still: tuple[Tensor, ...]
    eye_directions: Tensor
    glasses: Glasses | None
    skin: Skin
    pictures: dict[int, Tensor]
    tints: dict[int, Tensor]

    @property
    def pieces(self) -> list[Piece]:
        """All pieces in order."""
        some = (self.teeth, self.tongue, self.body, self.eyes, self.cloth, self.frames)
        return [piece for piece in some if piece is not None]

    def casting(self) -> Tensor:
        """Triangles that throw shadows."""
        solid = (self.material == SKIN) | (self.material == CLOTH) | (self.material == FRAME)
        return self.triangles[solid]

    def paint(self, material: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Albedo (3, P), gloss (P,) and bumps (3, P) of points by material and uv, v from above."""
        albedo, bump = u.new_zeros(3, len(u)), u.new_zeros(3, len(u))
        gloss = torch.ones_like(u)
        left, top, right, bottom = anatomy.MAP_UV
        skin = (material == SKIN) | (material == INSIDE)
        on_map = (u > left) & (u < right) & (v > top) & (v < bottom)
        chosen = (skin & on_map).nonzero()[:, 0]
        across, down = (u[chosen] - left) / (right - left), (v[chosen] - top) / (bottom - top)
        texel = sample(self.skin.head, across, down)
        albedo[:, chosen], gloss[chosen], bump[:2, chosen] = texel[:3], texel[3], texel[4:]
        chosen = (skin & ~on_map).nonzero()[:, 0]
        albedo[:, chosen] = sample(self.skin.body, u[chosen], v[chosen])
        for kind, picture in self.pictures.items():
            chosen = (material == kind).nonzero()[:, 0]
            if len(chosen):
                albedo[:, chosen] = sample(picture, u[chosen], v[chosen]) * self.tints[kind]
        if self.glasses is not None:
            albedo[:, material == FRAME] = self.glasses.colour.view(3, 1)
        return albedo, gloss, bump


def set_scene(traits: Traits, assets: Assets, head: Anatomy, rig: Rig, skin: Skin) -> Scene:
    """Dress a person."""
    teeth, tongue = assets.part(f"teeth/{traits.teeth}"), assets.part("tongue/tongue01")
    cloth = assets.part(f"clothes/{traits.clothes}")
    shown = ~cloth.hides[head.body.joined].all(1)
    ball, directions = eyeball()
    meshes: list[tuple[Mesh, Tensor | int, bool]] = [
        (mesh_of(teeth), TEETH, False),
        (mesh_of(tongue), TONGUE, False),
        (head.body.keep(shown), torch.where(head.inside[shown], INSIDE, SKIN), True),
        (_doubled(ball), EYE, True),
        (_upper_part(cloth, assets), CLOTH, False),
    ]
    still, glasses = [cloth.fit(rig.rest, assets.base, TORSO_SCALE)], None
    if traits.glasses:
        nose_z = float(rig.rest[head.nose_tip, 2])
        glasses = make_glasses(traits, rig.eye_centres(), nose_z, _temple(rig))
        index = torch.arange(len(glasses.vertices))
        rims = Mesh(index, torch.zeros(len(index), 2), glasses.triangles, glasses.triangles)
        meshes.append((rims, FRAME, False))
        still.append(glasses.vertices)
    pieces, triangles, materials = _listed(meshes)
    textured = ((TEETH, teeth), (TONGUE, tongue), (CLOTH, cloth))
    pictures = {kind: linear(assets.picture(part.texture)[:3]) for kind, part in textured}
    frames = pieces[5] if glasses is not None else None
    uv = torch.cat([mesh.uv for mesh, _, _ in meshes])
    pictures[EYE], tints = paint_eye(traits), _tints(traits.random(12))
    first, second, third, fourth, fifth = pieces[:5]
    return Scene(
        first, second, third, fourth, fifth, frames, triangles, materials, uv, tuple(still), directions, glasses,
        skin, pictures, tints,
    )  # fmt: skip


def _upper_part(cloth: Part, assets: Assets) -> Mesh:
    """What of clothes lies above the picture's lower edge."""
    mesh, height = mesh_of(cloth), cloth.fit(assets.base, assets.base, TORSO_SCALE)[:, 1]
    return mesh.keep(height[mesh.joined].amin(1) > 4.7)


def _tints(rng: np.random.Generator) -> dict[int, Tensor]:
    """Colours of teeth, tongue and clothes."""
    teeth = torch.tensor([1.0, float(rng.uniform(0.92, 1.0)), float(rng.uniform(0.78, 0.97))])
    teeth = teeth * float(rng.uniform(1.8, 2.5))
    hue = torch.from_numpy(rng.uniform(0.15, 1.0, 3).astype(np.float32))
    hue = hue.mean() + (hue - hue.mean()) * float(rng.uniform(0.0, 0.8))
    cloth = linear(hue) if rng.random() < 0.6 else torch.ones(3)
    tints = {TEETH: teeth, TONGUE: torch.tensor(_TONGUE_TINT), EYE: torch.ones(3), CLOTH: cloth}
    return {kind: tint.view(3, 1) for kind, tint in tints.items()}


def _doubled(ball: Mesh) -> Mesh:
    """Two eyeballs as one mesh, the left first."""
    count = len(ball.uv)
    triangles = torch.cat((ball.triangles, ball.triangles + count))
    return Mesh(torch.arange(2 * count), ball.uv.repeat(2, 1), triangles, triangles)


def _listed(meshes: list[tuple[Mesh, Tensor | int, bool]]) -> tuple[list[Piece], Tensor, Tensor]:
    """Pieces of meshes laid end to end, all their triangles, and the materials of these."""
    pieces, triangles, materials, first, vertex = [], [], [], 0, 0
    for mesh, material, cull in meshes:
        pieces.append(Piece(mesh, first, vertex, cull))
        triangles.append(mesh.triangles + vertex)
        kinds = material if isinstance(material, Tensor) else torch.full((len(mesh.triangles),), material)
        materials.append(kinds)
        first, vertex = first + len(mesh.triangles), vertex + len(mesh.source)
    return pieces, torch.cat(triangles), torch.cat(materials)


def _temple(rig: Rig) -> float:
    """Half the head's width just above the ears."""
    x, y, z = rig.rest[:13_380].unbind(1)
    eye_y = float(rig.eye_centres()[:, 1].mean())
    near = (y > eye_y) & (y < eye_y + 0.2) & (z > 0.65) & (z < 0.95)
    return float(x[near].abs().max())


def on_device(value: T, device: torch.device) -> T:
    """Tensors, and all that lie in tuples, dictionaries and dataclasses, on ``device``."""
    moved: Any = value
    if isinstance(value, Tensor):
        moved = value.to(device)
    elif isinstance(value, tuple):
        moved = tuple(on_device(item, device) for item in value)
    elif isinstance(value, dict):
        moved = {key: on_device(item, device) for key, item in value.items()}
    elif hasattr(value, "__dataclass_fields__"):
        changed = {field.name: on_device(getattr(value, field.name), device) for field in fields(moved)}
        moved = replace(moved, **changed)
    out: T = moved
    return out
