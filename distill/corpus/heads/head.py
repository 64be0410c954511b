"""A person who can be photographed: everything that stays is made once, what moves is drawn for each frame.

In: `Traits`, then mouth (N, 6) and expression (N, 4) channels. Out: `Shots`: linear light, and the surfaces behind
it, from which pictures and truth are made (`clips`). The head is still before the camera, as on the drawn corpus'
canvas; frames are drawn inside a window around the face (`WINDOW`), the rest of the canvas is the plate, drawn
once. Faces are moved on the CPU, drawn on any device: on a CPU a frame at a time is fastest, on CUDA many at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.assets import HEAD_SCALE
from distill.corpus.heads.drawing import hair, shade
from distill.corpus.heads.drawing.backdrop import paint_backdrop
from distill.corpus.heads.drawing.camera import expose, frame_face, look_at_camera
from distill.corpus.heads.drawing.parts import cornea_normals, place_eyes
from distill.corpus.heads.drawing.raster import (
    Surface,
    inside_polygon,
    interpolate,
    race,
    resolve,
    vertex_normals,
)
from distill.corpus.heads.drawing.scene import on_device, set_scene
from distill.corpus.heads.drawing.skin import paint_skin
from distill.corpus.heads.drawing.strands import Layer, Strands, alpha_depth, draw_strands
from distill.corpus.heads.kit import Kit
from distill.corpus.heads.rig import Pose, Rig
from distill.corpus.heads.shape import face_at_rest
from distill.corpus.heads.traits import Traits
from models.face import CANVAS_PX

Window = tuple[int, int, int, int]

WINDOW: Final[Window] = (40, 56, 172, 200)
"""(left, top, width, height) of what moves, canvas px."""
WHOLE: Final[Window] = (0, 0, CANVAS_PX, CANVAS_PX)
_CLOTH_LIFT: Final = 0.012
"""By what share of its depth cloth comes before skin that would poke through it."""


@dataclass(frozen=True, slots=True)
class Shots:
    """N drawn frames of a head over a window of the canvas, at the oversampled size.

    Attributes:
        light: (3, N, h, w) linear, not exposed, without backdrop.
        cover: (N, h, w) alpha of the person.
        strands: (N, h, w) cover by hair that does not move.
        moving: (N, h, w) cover by brows, lashes and beard.
        surface: the solid surface. placed: (N, K, 3) its vertices in view space.
        body: (N, 19158, 3) head space, on the CPU.
        window: (left, top, width, height) canvas px.
    """

    light: Tensor
    cover: Tensor
    strands: Tensor
    moving: Tensor
    surface: Surface
    placed: Tensor
    body: Tensor
    window: Window


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a window is drawn with: scale, left and top for `View.screen`, its size, the shadow, solid depths."""

    at: tuple[float, float, float]
    size: tuple[int, int]
    shadow: Tensor
    solid: Tensor


class Head:
    """One person before the camera.

    Args:
        traits: who.
        kit: shared data.
        size: pixels rendered for the canvas' 256: 256 or 512.
        oversample: sub-pixels along each side.
        device: where frames are drawn.
    """

    def __init__(
        self, traits: Traits, kit: Kit, size: int = 256, oversample: int = 2, device: str = "cpu"
    ) -> None:
        self.traits, self.kit, self.size, self.oversample = traits, kit, size, oversample
        self.scale = oversample * size / CANVAS_PX
        self.device = torch.device(device)
        self.rig = Rig(traits, kit.assets, kit.head, face_at_rest(traits, kit.assets))
        self.camera_view = frame_face(traits.camera, self.rig, kit.head)
        self.view = on_device(self.camera_view, self.device)
        rng = traits.random(10)
        off = (float(rng.normal(0, 0.02)), float(rng.normal(0, 0.015)))
        self.rig.straight = look_at_camera(self.camera_view, self.rig, off)
        self.lamp = shade.Lamp(traits.light, self.device)
        self.finish = shade.draw_finish(rng, traits.dark)
        skin = paint_skin(traits, kit.assets, kit.head)
        self.scene = on_device(set_scene(traits, kit.assets, kit.head, self.rig, skin), self.device)
        self._grow_hair()
        self.backdrop = paint_backdrop(traits.random(11), size).to(self.device)
        self.plate = self.shoot(torch.zeros(1, 6), torch.zeros(1, 4), window=WHOLE)
        surface = self.plate.surface
        plain = self.scene.material[surface.triangle] == shade.SKIN
        plain &= self.plate.strands.flatten()[surface.pixel] < 0.3
        lit = self.plate.light.reshape(3, -1)[:, surface.pixel[plain]]
        self.exposure = expose(traits.camera, lit, skin.tone)

    def _grow_hair(self) -> None:
        """Strands of head, brows, lashes and beard."""
        traits, kit = self.traits, self.kit
        self._thin = [
            (part, on_device(strands, self.device))
            for part, strands in hair.brow_and_lash(traits, kit.assets)
        ]
        self._beard = hair.grow(traits, kit.head, "beard") if traits.beard else None
        self._beard_strands = on_device(self._beard.strands, self.device) if self._beard else None
        self._cap: tuple[Strands, Tensor, Tensor] | None = None  # strands, where, what they shadow
        self._cap_drawn: Tensor | None = None
        if not traits.hair:
            return
        if traits.hair == "cropped":
            growth = hair.grow(traits, kit.head, "scalp")
            normals = vertex_normals(self.rig.rest[None], kit.head.body.joined)
            places, strands = growth.place(self.rig.rest[None], normals)[0], growth.strands
        else:
            places, strands = hair.hair_sheets(traits, kit.assets, self.rig.rest, self.rig.eye_centres())
        strands, placed = on_device(strands, self.device), self._placed(places[None])
        self._cap = (strands, placed, alpha_depth(strands, placed, self.lamp, shade.SHADOW_PX))

    def _placed(self, points: Tensor) -> Tensor:
        """Points (..., 3) of the head's space in view space, on the device."""
        return self.view.place(points.to(self.device))

    def shoot(
        self, mouth: Tensor, expression: Tensor, smile: Tensor | None = None, window: Window = WINDOW
    ) -> Shots:
        """Draw frames.

        Args:
            mouth: (N, 6) `MOUTH_DIMS`, on the CPU as all channels.
            expression: (N, 4) `EXPRESSION_DIMS`.
            smile: (N,) 0..1 beside the channels.
            window: part of the canvas, canvas px.
        """
        pose = self.rig.pose(mouth, expression, smile)
        placed, normals, reached = self._geometry(pose)
        left, top, width, height = (round(v * self.scale) for v in window)
        at, size = (self.scale, float(left), float(top)), (height, width)
        surface = self._visible(pose, placed, at, size)
        shadow = self.lamp.shadow_map(placed, self.scene.casting())
        if self._cap is not None:
            shadow = torch.maximum(shadow, self._cap[2])
        light = surface.dense(self._colours(surface, placed, normals, reached, shadow))
        frame = _Frame(at, size, shadow, surface.dense(surface.inverse_depth).flatten())
        flat, bare, bearded = self._with_strands(pose, light.reshape(3, -1), frame)
        cover = torch.maximum(
            surface.dense(torch.ones_like(surface.inverse_depth)), bearded.view(light.shape[1:])
        )
        strands = torch.zeros_like(cover)
        if self._cap is not None:
            over = self._hair_over(self._cap, frame, window)
            flat = (flat.view_as(light) * (1 - over[3]) + over[:3]).reshape(3, -1)
            strands = over[3].expand_as(cover)
            cover = torch.maximum(cover, strands)
        flat = self._through_glasses(flat, frame)
        moving = 1 - bare.view_as(cover)
        return Shots(flat.view_as(light), cover, strands, moving, surface, placed, pose.body, window)

    def _strands(self, strands: Strands, placed: Tensor, frame: _Frame, bias: float = 0.0) -> Layer:
        return draw_strands(
            strands, placed, self.view, self.lamp, frame.shadow, frame.solid, frame.at, frame.size, bias
        )

    def _with_strands(self, pose: Pose, flat: Tensor, frame: _Frame) -> tuple[Tensor, Tensor, Tensor]:
        """Light (3, N * h * w) with brows, lashes and beard; what they leave bare; the beard's cover."""
        bare, bearded = torch.ones_like(frame.solid), torch.zeros_like(frame.solid)
        for part, strands in self._thin:
            placed = self._placed(part.fit(pose.body, self.kit.assets.base, HEAD_SCALE, self.rig.rest))
            layer = self._strands(strands, placed, frame, 2e-4)
            flat, bare = layer.over(flat), bare * (1 - layer.cover)
        if self._beard is not None and self._beard_strands is not None:
            normals = vertex_normals(pose.body, self.kit.head.body.joined)
            placed = self._placed(self._beard.place(pose.body, normals))
            layer = self._strands(self._beard_strands, placed, frame, 1e-4)
            flat, bare, bearded = layer.over(flat), bare * (1 - layer.cover), layer.cover
        return flat, bare, bearded

    def _hair_over(self, cap: tuple[Strands, Tensor, Tensor], frame: _Frame, window: Window) -> Tensor:
        """Colour and cover (4, 1, h, w) of hair that does not move: drawn once, over the face at rest."""
        side = round(CANVAS_PX * self.scale)
        if self._cap_drawn is None:
            assert window == WHOLE, "the plate is drawn first"
            layer = self._strands(cap[0], cap[1], frame)
            self._cap_drawn = torch.cat((layer.colour, layer.cover[None])).view(4, 1, side, side)
        left, top, width, height = (round(v * self.scale) for v in window)
        return self._cap_drawn[..., top : top + height, left : left + width]

    def _through_glasses(self, flat: Tensor, frame: _Frame) -> Tensor:
        """The picture (3, N * h * w) with a trace of reflection on the lenses."""
        glasses = self.scene.glasses
        if glasses is None:
            return flat
        strands = on_device(hair.lens_sheet(glasses.lens_triangles, len(glasses.lenses)), self.device)
        count = flat.shape[1] // (frame.size[0] * frame.size[1])
        placed = self._placed(glasses.lenses).expand(count, -1, -1)
        return self._strands(strands, placed, frame).over(flat)

    def _geometry(self, pose: Pose) -> tuple[Tensor, Tensor, Tensor]:
        """View-space vertices (N, K, 3), normals alike, and light inside the mouth (N, K)."""
        count, scene = pose.body.shape[0], self.scene
        directions, turns = scene.eye_directions, pose.eyes.to(self.device)
        centres = self.rig.eye_centres().to(self.device).expand(count, -1, -1)
        inner = self.kit.head.inside_vertices
        in_mouth = torch.ones(pose.body.shape[:2])
        in_mouth[:, inner] = self.rig.lip_shade(pose.body[:, inner], pose, 6.0)
        shaded = [
            self.rig.lip_shade(pose.teeth, pose, 4.0),
            self.rig.lip_shade(pose.tongue, pose, 2.6),
            in_mouth,
        ]
        points = [pose.teeth, pose.tongue, pose.body, place_eyes(directions, centres, turns)]
        points += [still.expand(count, -1, -1) for still in scene.still]
        places, normals, reached = [], [], []
        for number, (some, piece) in enumerate(zip(points, scene.pieces, strict=True)):
            placed, source = self._placed(some), piece.mesh.source
            if piece is scene.eyes:
                fan = cornea_normals(directions)
                normal = torch.einsum("nsij,kj->nski", turns, fan).flatten(1, 2) @ self.view.turn.T
            else:
                normal = vertex_normals(placed, piece.mesh.joined)
            light = shaded[number].to(self.device) if number < 3 else placed.new_ones(placed.shape[:2])
            places.append(placed[:, source])
            normals.append(normal[:, source])
            reached.append(light[:, source])
        return torch.cat(places, 1), torch.cat(normals, 1), torch.cat(reached, 1)

    def _visible(
        self, pose: Pose, placed: Tensor, at: tuple[float, float, float], size: tuple[int, int]
    ) -> Surface:
        """The solid surface; teeth and tongue show between the lips only."""
        scene = self.scene
        screen = self.view.screen(placed, *at)
        screen[:, scene.cloth.vertices, 2] *= 1 + _CLOTH_LIFT
        keys = torch.zeros(screen.shape[0] * size[0] * size[1], dtype=torch.int64, device=self.device)
        for piece in scene.pieces:
            triangles = scene.triangles[piece.rows]
            race(screen, triangles, size, keys, piece.cull, piece.first, len(scene.triangles))
            if piece is scene.tongue:
                lips = self._placed(pose.body[:, self.kit.head.lip_loop])
                between = inside_polygon(self.view.screen(lips, *at)[..., :2], size)
                keys = torch.where(between.flatten(), keys, 0)
        surface = resolve(keys, screen, scene.triangles, size)
        surface.inverse_depth[scene.material[surface.triangle] == shade.CLOTH] /= 1 + _CLOTH_LIFT
        return surface

    def _colours(
        self, surface: Surface, placed: Tensor, normals: Tensor, reached: Tensor, shadow: Tensor
    ) -> Tensor:
        """Shaded colours (3, P) of the surface."""
        uv = self.scene.uv.expand(placed.shape[0], -1, -1)
        table = torch.cat((placed, normals, uv, reached.unsqueeze(-1)), -1)
        found = interpolate(surface, self.scene.triangles, table)  # (9, P)
        position, normal, u, v = found[:3], shade.unit(found[3:6]), found[6], 1 - found[7]
        material = self.scene.material[surface.triangle]
        albedo, gloss, bump = self.scene.paint(material, u, v)
        crevice, lit = self._coarse_light(surface, position, normal, shadow)
        strength = self.finish.crevice * torch.where(material == shade.TEETH, 0.35, 1.0)
        sky = 1 / (1 + strength * crevice)
        points = shade.Points(material, position, normal + bump, albedo, gloss, found[8], sky, lit)
        return shade.shade(points, self.lamp, self.finish, self.view.distance)

    def _coarse_light(
        self, surface: Surface, position: Tensor, normal: Tensor, shadow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Occlusion and light (P,) of the surface, worked out at half its size."""
        some, coarse = surface.every(2)
        both = coarse.dense(torch.cat((position, normal))[:, some])
        covered = coarse.dense(torch.ones_like(coarse.inverse_depth)) > 0
        half = shade.occlusion(both[:3], both[3:], covered, self.view.pixels_per_dm * self.scale / 2)
        lifted = position[:, some] + 0.03 * normal[:, some]
        turn = shade.turns(coarse.pixel, coarse.size)
        lit = coarse.dense(self.lamp.visible(lifted, coarse.frame, turn, shadow, 0.02), 1.0)
        smooth = shade.smooth_covered(torch.stack((half, lit)), covered)
        full = F.interpolate(smooth, size=surface.size, mode="bilinear", align_corners=False)
        sky, light = full.flatten(1)[:, surface.pixel]
        return sky, light
