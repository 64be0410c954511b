"""Sheets of translucent strands, drawn one behind the other over a solid head.

In: `Strands`, where their vertices are, the light and the depths of what is solid. Out: a `Layer` of light and
cover. A strand's highlight depends on how it runs, not on the sheet that it is painted on.

Source: Kajiya and Kay 1989, "Rendering fur with three dimensional textures"; Porter and Duff 1984 for "over".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.corpus.heads.anatomy import ease
from distill.corpus.heads.drawing.camera import View
from distill.corpus.heads.drawing.raster import Fragments, blend_weights, nearer, vertex_normals
from distill.corpus.heads.drawing.shade import Lamp, dot, turns, unit

_HEAD_CENTRE: Final = (0.0, 0.35, 0.1)  # view space


@dataclass(frozen=True, slots=True)
class Strands:
    """Sheets of strands: T triangles over V vertices.

    Attributes:
        texture: (2, H, W) brightness of strands, about 1, and alpha; for grown layers how far they reach, 0..1.
        uv: (T, 3, 2) of the corners, origin above, wrapping round.
        fade: (V,) alpha factor.
        height: (V,) 0 root .. 1 tip of grown layers; None for sheets.
        colour: (3,) linear albedo.
        sheen: strength of the highlight.
        ball: how much normals are those of a ball, 0..1.
    """

    triangles: Tensor
    texture: Tensor
    uv: Tensor
    fade: Tensor
    height: Tensor | None
    colour: Tensor
    sheen: float
    ball: float


@dataclass(frozen=True, slots=True)
class Layer:
    """Translucent light over a window: colour (3, N * H * W), premultiplied, and cover (N * H * W,)."""

    colour: Tensor
    cover: Tensor

    def over(self, under: Tensor) -> Tensor:
        """This layer over light (3, N * H * W)."""
        return under * (1 - self.cover) + self.colour


def sample(texture: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A texture (C, H, W) at (P,) columns u and rows v in shares of it, which wrap round; bilinear, (C, P)."""
    u = torch.where((u < 0) | (u > 1), u - u.floor(), u)  # a place on the right edge stays there
    v = torch.where((v < 0) | (v > 1), v - v.floor(), v)
    grid = torch.stack((u * 2 - 1, v * 2 - 1), -1).view(1, 1, -1, 2)
    return F.grid_sample(texture[None], grid, padding_mode="border", align_corners=False)[0, :, 0]


def draw_strands(
    strands: Strands, placed: Tensor, view: View, lamp: Lamp, shadow: Tensor, solid: Tensor,
    window: tuple[float, float, float], size: tuple[int, int], bias: float = 0.0,
) -> Layer:  # fmt: skip
    """Draw strands over a solid head.

    Args:
        strands: what to draw.
        placed: (N, V, 3) its vertices in view space.
        view: the camera.
        lamp: the light; ``shadow`` its map (N or 1, 320, 320).
        solid: (N * H * W,) inverse depth of what is solid, 0 where nothing is.
        window: scale, left, top as `View.screen` takes them.
        size: H and W.
        bias: inverse depth by which strands come before what they lie on.
    """
    screen = view.screen(placed, *window)
    found = nearer(screen, strands.triangles, size, solid, bias)
    found, texel, alpha = _visible(strands, found, len(solid))
    order, weight = blend_weights(found.pixel, found.inverse_depth, alpha)
    seen = weight > 0.004
    order, weight = order[seen], weight[seen]
    found, bright = _select(found, order), texel[0][order]
    colour = _lit(strands, found, bright, placed, view.distance, lamp, shadow, size)
    total, cover = solid.new_zeros(3, len(solid)), torch.zeros_like(solid)
    total.index_add_(1, found.pixel, colour * weight)
    cover.index_add_(0, found.pixel, weight)
    return Layer(total, cover.clamp(max=1.0))


def _lit(
    strands: Strands, found: Fragments, bright: Tensor, placed: Tensor, distance: float, lamp: Lamp, shadow: Tensor,
    size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """Colours (3, R) of fragments whose texels are ``bright`` (R,)."""
    triangle, frame = found.owner % len(strands.triangles), found.owner // len(strands.triangles)
    corners = strands.triangles[triangle] + (frame * placed.shape[1]).unsqueeze(1)
    share = torch.cat((1 - found.weights.sum(1, keepdim=True), found.weights), 1).unsqueeze(-1)

    def across(values: Tensor) -> Tensor:
        """Values (N, V, 3) on the fragments, (3, R)."""
        return (values.flatten(0, 1)[corners] * share).sum(1).T

    normals, along = _directions(strands, placed)
    position = across(placed)
    lifted = position + lamp.directions[0].view(3, 1) * 0.10
    of = frame if shadow.shape[0] > 1 else frame * 0
    lit = lamp.visible(lifted, of, turns(found.pixel, size), shadow, 0.04)
    if strands.height is not None:  # roots lie in the dark
        bright = bright * (strands.height[strands.triangles[triangle, 0]] * 0.75 + 0.35)
    albedo, sheen = strands.colour.view(3, 1) * bright, strands.sheen * bright
    return shade_hair(
        position, unit(across(normals)), unit(across(along)), albedo, lit, lamp, distance, sheen
    )


def _visible(strands: Strands, found: Fragments, pixels: int) -> tuple[Fragments, Tensor, Tensor]:
    """Fragments that can be seen, their texels (2, R) and alpha (R,)."""
    triangle = found.owner % len(strands.triangles)
    share = torch.cat((1 - found.weights.sum(1, keepdim=True), found.weights), 1)
    u, v = (strands.uv[triangle] * share.unsqueeze(-1)).sum(1).unbind(1)
    texel = sample(strands.texture, u, v)
    corners = strands.triangles[triangle]
    fade = (strands.fade[corners] * share).sum(1)
    if strands.height is None:
        alpha = texel[1] * _ends(fade, u)
    else:
        tall = strands.height[corners[:, 0]]
        alpha = ease(tall - 0.13, tall + 0.13, texel[1]) * 0.92
    kept = alpha > 0.015
    opaque = kept & (alpha > 0.95)
    front = torch.zeros(pixels, device=alpha.device)
    front.scatter_reduce_(0, found.pixel[opaque], found.inverse_depth[opaque], "amax")
    kept = kept & (found.inverse_depth >= front[found.pixel])
    return _select(found, kept), texel[:, kept], alpha[kept]


def _ends(fade: Tensor, u: Tensor) -> Tensor:
    """Alpha (R,) of strands that end where ``fade`` falls to 0: each at a place of its own, by its column u."""
    strand = ((u * 160).floor() * 37) % 101 / 101
    return ease(0.0, 0.35, fade - 0.65 * strand)


def _select(found: Fragments, kept: Tensor) -> Fragments:
    return Fragments(found.owner[kept], found.pixel[kept], found.weights[kept], found.inverse_depth[kept])


def _directions(strands: Strands, placed: Tensor) -> tuple[Tensor, Tensor]:
    """Normals that face the viewer and directions along the strands, (N, V, 3) each."""
    normals = vertex_normals(placed, strands.triangles)
    normals = normals * torch.where(normals[..., 2:] < 0, -1.0, 1.0)
    ball = placed - torch.tensor(_HEAD_CENTRE, device=placed.device)
    ball = ball / ball.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    normals = normals * (1 - strands.ball) + ball * strands.ball
    if strands.height is not None:
        down = torch.tensor([0.0, -1.0, 0.0], device=placed.device)
        return normals, down - normals * (normals * down).sum(-1, keepdim=True)
    a, b, c = (placed[:, strands.triangles[:, k]] for k in range(3))
    du1, dv1 = (strands.uv[:, 1] - strands.uv[:, 0]).unbind(1)
    du2, dv2 = (strands.uv[:, 2] - strands.uv[:, 0]).unbind(1)
    turn = (du1 * dv2 - du2 * dv1).sign().unsqueeze(-1)
    face = ((c - a) * du1.unsqueeze(-1) - (b - a) * du2.unsqueeze(-1)) * turn
    along = torch.zeros_like(placed)
    for k in range(3):
        along.index_add_(1, strands.triangles[:, k], face)
    return normals, along


def alpha_depth(strands: Strands, placed: Tensor, lamp: Lamp, size: int) -> Tensor:
    """What of strands stops the light: nearness (N, size, size) to it, where alpha is over a half."""
    found = nearer(lamp.on_map(placed), strands.triangles, (size, size))
    triangle = found.owner % len(strands.triangles)
    share = torch.cat((1 - found.weights.sum(1, keepdim=True), found.weights), 1)
    u, v = (strands.uv[triangle] * share.unsqueeze(-1)).sum(1).unbind(1)
    alpha = sample(strands.texture, u, v)[1]
    stops = alpha * (strands.fade[strands.triangles[triangle]] * share).sum(1) > 0.5
    out = torch.full((placed.shape[0] * size * size,), -torch.inf, device=placed.device)
    out.scatter_reduce_(0, found.pixel[stops], found.inverse_depth[stops], "amax")
    return out.view(-1, size, size)


def shade_hair(
    position: Tensor, normal: Tensor, along: Tensor, albedo: Tensor, lit: Tensor, lamp: Lamp, distance: float,
    sheen: Tensor,
) -> Tensor:  # fmt: skip
    """Colours (3, R) of hair at points whose strands run ``along`` (3, R); ``sheen`` (R,) scales the highlight."""
    camera = torch.tensor([0.0, 0.0, distance], device=normal.device).view(3, 1)
    view = unit(camera - position)
    light = lamp.sky(normal)
    shine = torch.zeros_like(light)
    for number, (towards, colour) in enumerate(zip(lamp.directions, lamp.colours, strict=True)):
        facing = dot(normal, towards.view(3, 1).expand_as(normal))
        seen = 0.3 + 0.7 * lit if number == 0 else torch.ones_like(lit)
        light = light + colour.view(3, 1) * ((facing + 0.4) / 1.4).clamp(min=0) * seen
        half = unit(view + towards.view(3, 1))
        across = (1 - dot(along, half) ** 2).clamp(min=0)
        front = (facing + 0.3).clamp(0, 1)
        narrow, broad = across**60 * 0.05, across**12 * 0.02
        shine = shine + colour.view(3, 1) * ((narrow + broad) * front * seen * sheen)
    return albedo * light + shine * (0.06 + 1.8 * albedo).clamp(max=0.8)
