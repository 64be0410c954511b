"""The head that does not speak: its outline, the skin of the face with nose and beard, ears and neck.

In: an `Identity`, its `Look` and a `Grid`; out: distances and painted layers. The face layer is painted with
the jaw closed and without mouth, eyes and brows; the character later moves its lower part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.corpus.drawn.canvas import (
    Grid,
    above_curve,
    cover,
    ellipse,
    glow,
    implicit_distance,
    paint,
    per_picture,
    smoothstep,
)
from distill.corpus.drawn.identity import FACIAL_HAIR, HAIR_STYLES, Identity
from distill.corpus.drawn.looks import Look

HEAD_CENTRE_Y = 128.0


def head_distance(who: Identity, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the head's outline with the mouth closed, (B, 1, H, W)."""
    width, taper = per_picture(who.face_width), per_picture(who.face_taper)
    top = HEAD_CENTRE_Y - per_picture(who.face_top_y)
    bottom = per_picture(who.chin_y) - HEAD_CENTRE_Y
    power = 2.1 + 0.5 * per_picture(who.face_square)

    def field(px: Tensor, py: Tensor) -> Tensor:
        v = py - HEAD_CENTRE_Y
        v = torch.where(v < 0, v / top, v / bottom)
        low = v.clamp_min(0.0)
        half = width * (1.0 - taper * low * low).clamp_min(0.3)
        p = torch.where(v < 0, 2.35, power)
        u = (px.abs() / half).clamp_min(1e-3)
        return (u**p + v.abs().clamp_min(1e-3) ** p) ** (1.0 / p) - 1.0

    return implicit_distance(field, x, y)


def paint_neck(picture: Tensor, who: Identity, look: Look, grid: Grid) -> Tensor:
    """Paint neck and the shadow that the head throws on it."""
    x, y = grid.x, grid.y
    half = per_picture(who.neck_width) + 34.0 * smoothstep(214.0, 262.0, y) ** 2
    alpha = cover(x.abs() - half) * smoothstep(150.0, 152.0, y)
    picture = paint(picture, look.skin, alpha)
    side = smoothstep(-0.1, 1.0, -x * look.light_x / 34.0)
    picture = paint(picture, look.skin_shadow, alpha * side * 0.6 * look.depth)
    thrown = head_distance(who, x + 5.0 * look.light_x, y - 12.0)
    shadow = cover(thrown, 3.0 + 14.0 * look.softness)
    picture = paint(
        picture, look.skin_shadow * 0.92, alpha * shadow * (0.45 + 0.6 * look.depth).clamp_max(0.95)
    )
    collar = glow(x.abs() - 13.0, y - 240.0 - 0.25 * (x.abs() - 13.0), 12.0, 2.2)
    picture = paint(picture, look.skin_shadow, alpha * collar * 0.35)
    edge = cover((x.abs() - half).abs() - look.line * 0.5) * smoothstep(150.0, 152.0, y)
    return paint(picture, look.skin_line, edge * look.line_alpha)


def paint_ears(picture: Tensor, who: Identity, look: Look, grid: Grid) -> Tensor:
    """Paint both ears; the face is laid over their inner part."""
    size = per_picture(who.ear_size)
    u, v = grid.x.abs() - per_picture(who.face_width) - 1.0, grid.y - per_picture(who.eye_y) - 12.0
    tilt = u - 0.16 * (-v)
    shape = ellipse(tilt, v, 9.0 * size, 16.5 * size)
    alpha = cover(shape)
    picture = paint(picture, look.skin, alpha)
    inner = cover(ellipse(tilt - 0.5, v, 5.0 * size, 11.5 * size), 5.0)
    picture = paint(picture, look.skin_shadow, alpha * inner * 0.75)
    far = smoothstep(0.0, 1.0, -grid.x * look.light_x / 40.0)
    picture = paint(picture, look.skin_shadow, alpha * far * 0.5 * look.depth)
    return paint(picture, look.skin_line, cover(shape.abs() - look.line * 0.5) * look.line_alpha)


def _paint_form(picture: Tensor, who: Identity, look: Look, grid: Grid, head: Tensor) -> Tensor:
    """Light and shadow that model the head."""
    x, y = grid.x, grid.y
    nx = x / per_picture(who.face_width)
    ny = (y - HEAD_CENTRE_Y) / 82.0
    facing = nx * look.light_x * 0.85 - ny * 0.42 + 0.30 - 0.55 * (nx * nx + ny * ny * 0.6)
    half = 0.06 + 0.55 * look.softness
    shade = smoothstep(half, -half, facing + 0.30)
    picture = paint(picture, look.skin_shadow, shade * look.depth)
    lit = smoothstep(0.10, 0.75, facing + 0.1)
    picture = paint(picture, look.skin_light, lit * 0.75 * look.softness.sqrt())
    depth_in = (-head).clamp_min(0.0)
    rim_side = smoothstep(0.25, 0.8, -nx * look.light_x)
    rim = torch.exp(-depth_in / 3.2) * rim_side * look.rim
    picture = paint(picture, torch.lerp(look.skin_light, look.light, 0.45), rim * 0.8)
    edge = torch.exp(-depth_in / 7.0) * (1.0 - rim_side * look.rim) * smoothstep(120.0, 190.0, y)
    return paint(picture, look.skin_shadow, edge * 0.5 * look.depth)


def _paint_sockets_and_cheeks(picture: Tensor, who: Identity, look: Look, grid: Grid) -> Tensor:
    x, y = grid.x, grid.y
    mx, eye_x, eye_y = x.abs(), per_picture(who.eye_x), per_picture(who.eye_y)
    socket = glow(mx - eye_x + 3.0, y - eye_y + 7.0, 20.0, 11.0)
    picture = paint(picture, look.skin_shadow, socket * 0.34)
    below = glow(mx - eye_x, y - eye_y - 17.0, 15.0, 6.0)
    picture = paint(picture, look.skin_light, below * 0.25 * look.gloss.clamp_max(1.0))
    blush = glow(mx - 41.0, y - eye_y - 33.0, 17.0, 12.0)
    rosy = look.skin * look.skin.new_tensor([1.0, 0.62, 0.62]).view(1, 3, 1, 1) + look.skin.new_tensor(
        [0.06, 0.0, 0.03]
    ).view(1, 3, 1, 1)
    picture = paint(picture, rosy, blush * per_picture(who.blush) * 0.85)
    return _paint_freckles(picture, who, look, grid)


def _paint_freckles(picture: Tensor, who: Identity, look: Look, grid: Grid) -> Tensor:
    """One jittered dot in each 6-px cell across nose and cheeks."""
    cell = 6.0
    cx, cy = torch.floor(grid.x / cell), torch.floor(grid.y / cell)
    phase = per_picture(who.hair_phase)
    chance = torch.sin(cx * 12.9 + cy * 78.2 + phase)
    jitter_x = 2.1 * torch.sin(cx * 37.3 + cy * 17.7 + phase * 2.0)
    jitter_y = 2.1 * torch.sin(cx * 23.9 + cy * 51.1 + phase * 3.0)
    size = 0.85 + 0.25 * torch.sin(cx * 5.3 + cy * 9.1)
    dot = ellipse(grid.x - (cx + 0.5) * cell - jitter_x, grid.y - (cy + 0.5) * cell - jitter_y, size, size)
    where = glow(grid.x.abs() - 26.0, grid.y - per_picture(who.eye_y) - 27.0, 24.0, 13.0)
    alpha = cover(dot, 1.2) * (chance < 0.4) * where * per_picture(who.freckles)
    return paint(picture, look.skin_line, alpha * 0.45)


def _paint_nose(picture: Tensor, who: Identity, look: Look, grid: Grid) -> Tensor:
    x, y = grid.x, grid.y
    lx = look.light_x
    width, tip = per_picture(who.nose_width), per_picture(who.eye_y) + per_picture(who.nose_length)
    bridge = per_picture(who.nose_bridge)
    along = smoothstep(0.0, 1.0, (y - tip + 34.0) / 20.0) * smoothstep(0.0, 1.0, (tip + 2.0 - y) / 9.0)
    spread = 3.5 + 0.20 * width * smoothstep(-25.0, 0.0, y - tip)
    side = torch.exp(-(((x + lx * (spread + 2.0)) / (2.8 + 2.0 * look.softness)) ** 2)) * along
    picture = paint(picture, look.skin_shadow, side * (0.30 + 0.45 * bridge) * look.depth)
    ridge = torch.exp(-(((x - lx * 1.2) / 2.8) ** 2)) * along
    picture = paint(picture, look.skin_light, ridge * 0.55 * look.gloss.clamp_max(1.1))
    ball = glow(x - lx * 2.0, y - tip + 4.0, 4.2, 3.6)
    picture = paint(
        picture, torch.lerp(look.skin_light, look.light, 0.4), ball * 0.55 * look.gloss.clamp_max(1.2)
    )
    under = glow(x + lx * 1.5, y - tip - 3.6, width * 0.85, 3.4) * smoothstep(-1.5, 1.5, y - tip - 1.0)
    picture = paint(picture, look.skin_shadow, under * 0.62)
    curve = tip + 1.2 - 1.6 * torch.cos(x / width * 4.4)
    rim = cover((y - curve).abs() - 0.9, 1.6) * smoothstep(width * 0.80, width * 0.55, x.abs())
    picture = paint(picture, look.skin_line, rim * (0.12 + 0.22 * look.line_alpha))
    wing = cover((ellipse(x.abs() - width * 0.55, y - tip + 2.6, width * 0.36, 4.6)).abs() - 0.8, 1.6)
    wing = wing * smoothstep(width * 0.62, width * 0.85, x.abs())
    picture = paint(picture, look.skin_line, wing * (0.16 + 0.30 * look.line_alpha))
    hole = ellipse(x.abs() - width * 0.38, y - tip - 0.9 + 0.12 * x.abs(), 2.5, 1.3)
    return paint(picture, look.skin_line, cover(hole, 1.6) * 0.62)


def _paint_beard(picture: Tensor, who: Identity, look: Look, grid: Grid, head: Tensor) -> Tensor:
    """Stubble, moustache, goatee or full beard, under the lips."""
    x, y = grid.x, grid.y
    kind = per_picture(who.facial_hair)
    mouth = per_picture(who.mouth_y)
    width = per_picture(who.face_width)
    full, stubble = kind == FACIAL_HAIR.index("full beard"), kind == FACIAL_HAIR.index("stubble")
    goatee, tache = kind == FACIAL_HAIR.index("goatee"), kind == FACIAL_HAIR.index("moustache")
    reach = (x.abs() / width).clamp_max(1.0)
    cheek = mouth - 13.0 + 9.0 * torch.sin(reach * 3.6) - 72.0 * smoothstep(0.70, 1.0, reach)
    whole = cover(-above_curve(y, cheek), 7.0) * cover(head + 1.0, 2.0)
    chin = ellipse(x, y - per_picture(who.chin_y) + 12.0, 20.0, 15.0)
    ring = ellipse(x, y - mouth - 8.0, 35.0, 27.0).abs() - 4.5
    tuft = cover(torch.minimum(chin, ring.clamp_min(-6.0)), 3.5) * cover(head + 1.0, 2.0) * (y > mouth - 22.0)
    lip_hair = mouth - 10.0 + 0.0050 * x * x
    thick = 5.0 * (1.0 - (x.abs() / 33.0) ** 2).clamp_min(0.0)
    moustache = cover((y - lip_hair).abs() - thick, 2.4) * (thick > 0)
    wisps = 0.5 + 0.5 * torch.sin(x * 0.85 + 0.7 * torch.sin(y * 0.31 + x * 0.13) + 0.012 * x * y)
    solid = torch.where(full, torch.maximum(whole, moustache), torch.where(goatee, tuft, tache * moustache))
    solid = torch.where(goatee, torch.maximum(solid, moustache), solid)
    tone = torch.lerp(look.hair_shadow, look.hair, 0.45 + 0.20 * wisps)
    lit = smoothstep(-0.2, 1.0, x * look.light_x / width) * (0.15 + 0.12 * wisps)
    tone = torch.lerp(tone, look.hair_light, lit * look.gloss.clamp_max(1.0))
    picture = paint(picture, torch.lerp(look.skin_shadow, look.hair_shadow, 0.5), whole * stubble * 0.36)
    return paint(picture, tone, solid * 0.95)


def face_layer(who: Identity, look: Look, grid: Grid) -> tuple[Tensor, Tensor]:
    """Paint the face's skin.

    Returns:
        (colour (B, 3, H, W), alpha (B, 1, H, W)), not premultiplied.
    """
    x, y = grid.x, grid.y
    head = head_distance(who, x, y)
    picture = look.skin.expand(-1, -1, y.shape[2], x.shape[3])
    picture = _paint_form(picture, who, look, grid, head)
    picture = _paint_sockets_and_cheeks(picture, who, look, grid)
    bald = per_picture(who.hair_style) == HAIR_STYLES.index("bald")
    shine = glow(x - look.light_x * 22.0, y - 66.0, 20.0, 9.0) * bald
    picture = paint(picture, look.skin_light, shine * 0.8 * look.gloss.clamp_max(1.2))
    picture = _paint_nose(picture, who, look, grid)
    picture = _paint_beard(picture, who, look, grid, head)
    picture = paint(picture, look.skin_line, cover(head.abs() - look.line * 0.5) * look.line_alpha)
    return picture, cover(head - look.line * 0.4)
