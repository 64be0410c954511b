"""Everything around the head: backdrop, clothes, glasses. Static for an identity.

In: an `Identity`, its `Look` and a `Grid`; out: painted pictures, or a (colour, alpha) layer for glasses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.corpus.drawn.canvas import (
    Grid,
    cover,
    ellipse,
    glow,
    paint,
    per_picture,
    rounded_box,
    segment,
    smoothstep,
)
from distill.corpus.drawn.identity import BACKDROPS, CLOTHES, GLASSES, Identity
from distill.corpus.drawn.looks import Look


def backdrop(who: Identity, look: Look, grid: Grid) -> Tensor:
    """Paint the background: a gradient with a halo, slanted bands or soft discs, and a vignette."""
    x, y = grid.x, grid.y
    ramp = ((y - 20.0) / 236.0 + 0.18 * x / 128.0 * -look.light_x).clamp(0.0, 1.0)
    picture = torch.lerp(look.back_a, look.back_b, ramp)
    kind = per_picture(who.backdrop)
    halo = cover(ellipse(x, y - 122.0, 108.0, 108.0), 1.5) * (kind == BACKDROPS.index("halo"))
    picture = paint(picture, torch.lerp(look.back_a, look.back_a.new_ones(1, 3, 1, 1), 0.35), halo * 0.75)
    wave = torch.sin((x * look.light_x * 0.6 + y) / 14.0)
    bands = smoothstep(-0.05, 0.05, wave) * (kind == BACKDROPS.index("slant"))
    picture = paint(picture, torch.lerp(look.back_a, look.back_b, 0.75), bands * 0.16)
    phase = per_picture(who.hair_phase)
    for i in range(7):
        px = 118.0 * torch.sin(phase * (1.0 + i) + 2.1 * i)
        py = 128.0 + 118.0 * torch.sin(phase * 1.7 * (1.0 + i) + 1.3 * i)
        disc = cover(ellipse(x - px, y - py, 11.0 + 3.6 * i, 11.0 + 3.6 * i), 4.0)
        tint = torch.lerp(look.back_a, look.light, 0.5)
        picture = paint(picture, tint, disc * 0.22 * (kind == BACKDROPS.index("bokeh")))
    behind = glow(x - look.light_x * 50.0, y - 90.0, 110.0, 110.0)
    picture = paint(picture, look.light, behind * 0.22)
    vignette = smoothstep(0.55, 1.35, torch.sqrt((x / 128.0) ** 2 + ((y - 128.0) / 128.0) ** 2))
    return paint(picture, look.back_b * 0.45, vignette * 0.45)


def paint_clothes(picture: Tensor, who: Identity, look: Look, grid: Grid) -> Tensor:
    """Paint shoulders and garment over the neck."""
    x, y = grid.x, grid.y
    kind = per_picture(who.clothes)
    neck = per_picture(who.neck_width)
    mx = x.abs()
    out = (mx - neck).clamp_min(0.0)
    shoulder = 229.0 + 0.18 * out + 0.0036 * out * out
    body = cover((shoulder - y) * 0.92)
    low = 236.0 + 8.0 * (1.0 - (mx / (neck + 9.0)) ** 2)
    vee = 262.0 - 0.95 * mx
    turtle = 219.0 + 2.5 * (1.0 - (mx / neck) ** 2)
    line = torch.where(kind == CLOTHES.index("v-neck"), vee, low)
    line = torch.where(kind == CLOTHES.index("shirt"), vee - 3.0, line)
    line = torch.where(kind == CLOTHES.index("turtleneck"), turtle.expand_as(line), line)
    is_turtle = kind == CLOTHES.index("turtleneck")
    tube = cover(mx - neck - 2.5) * (y > 210.0)
    body = torch.where(is_turtle, torch.maximum(body, tube), body)
    alpha = body * cover((line - y) * 0.9)
    colour = _fold_tone(look, x, y)
    picture = paint(
        picture,
        look.skin_shadow,
        cover((line - 3.0 - y) * 0.9, 6.0) * body * cover(mx - neck - 2.0, 6.0) * 0.5,
    )
    picture = paint(picture, colour, alpha)
    rib = cover(((y - line) - 4.0).abs() - 4.0) * alpha
    ribbed = 0.5 + 0.5 * torch.sin(x * 1.1)
    trim = torch.where(kind == CLOTHES.index("crew neck"), look.accent, look.cloth * 0.86)
    plain = (kind == CLOTHES.index("crew neck")) | (kind == CLOTHES.index("v-neck"))
    picture = paint(picture, trim, rib * plain)
    picture = paint(picture, look.cloth * 0.72, alpha * is_turtle * ribbed * 0.35 * cover(mx - neck - 2.0))
    fold = cover((y - 232.0 - 0.0022 * x * x).abs() - 1.2, 3.0)
    picture = paint(picture, look.cloth * 0.6, alpha * is_turtle * fold * 0.7 * cover(mx - neck - 2.0))
    picture = paint(
        picture, look.cloth * 0.35, cover((y - shoulder).abs() - look.line * 0.5) * look.line_alpha * alpha
    )
    return _paint_collar(picture, who, look, grid, torch.maximum(body, cover(mx - neck)))


def _fold_tone(look: Look, x: Tensor, y: Tensor) -> Tensor:
    lit = smoothstep(-1.0, 1.0, x * look.light_x / 80.0)
    colour = torch.lerp(look.cloth * 0.66, look.cloth, lit)
    colour = torch.lerp(
        colour,
        (look.cloth * 1.12 + 0.05 * look.light).clamp(0.0, 1.0),
        smoothstep(0.4, 1.3, x * look.light_x / 80.0),
    )
    return torch.lerp(colour, look.cloth * 0.6, smoothstep(242.0, 275.0, y) * 0.6)


def _paint_collar(picture: Tensor, who: Identity, look: Look, grid: Grid, body: Tensor) -> Tensor:
    """Shirt collar wings or a hood round the neck with its strings."""
    x, y = grid.x, grid.y
    mx = x.abs()
    kind = per_picture(who.clothes)
    neck = per_picture(who.neck_width)
    wing = torch.maximum(224.0 + 0.55 * (neck + 3.0 - mx).clamp_min(0.0) * 1.0 - y, y - 262.0 + 0.40 * mx)
    wing = torch.maximum(wing, (mx - neck - 12.0 + (236.0 - y).clamp_min(0.0) * 0.6) * 0.9)
    wing = torch.maximum(wing, (262.0 - 0.95 * mx - 4.0 - y) * 0.7)
    shirt = kind == CLOTHES.index("shirt")
    tone = torch.lerp(look.cloth, look.cloth.new_ones(1, 3, 1, 1), 0.32)
    tone = torch.lerp(tone, look.cloth * 0.7, smoothstep(0.2, 1.0, -x * look.light_x / 50.0) * 0.5)
    picture = paint(picture, look.cloth * 0.4, cover(wing - 2.0, 5.0) * shirt * body * 0.45)
    picture = paint(picture, tone, cover(wing) * shirt)
    hood = ellipse(mx - neck - 4.0, y - 238.0 + 0.35 * (mx - neck), 24.0 + 0.0 * mx, 15.0)
    hooded = kind == CLOTHES.index("hoodie")
    picture = paint(picture, look.cloth * 0.5, cover(hood - 2.5, 6.0) * hooded * body * 0.5)
    picture = paint(picture, _fold_tone(look, x, y - 18.0) * 0.94, cover(hood) * hooded)
    string = segment(mx, y, neck * 0.55, neck * 0 + 243.0, neck * 0.62, neck * 0 + 262.0)
    return paint(picture, torch.lerp(look.accent, look.light, 0.4), cover(string - 1.5) * hooded)


def glasses_layer(who: Identity, look: Look, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return colour and alpha of the spectacles, centred on the eyes."""
    x, y = grid.x, grid.y
    mx = x.abs()
    eye_x, eye_y = per_picture(who.eye_x), per_picture(who.eye_y) + 2.0
    kind = per_picture(who.glasses)
    square = kind == GLASSES.index("square")
    half_x = torch.where(square, 23.5, 22.0)
    half_y = torch.where(square, 17.5, 21.0)
    radius = torch.where(square, 7.0, 20.5)
    u, v = mx - eye_x - 1.0, y - eye_y
    lens = rounded_box(u, v, half_x, half_y, radius)
    rim = lens.abs() - 1.4
    inner, outer = (eye_x + 1.0 - half_x), (eye_x + 1.0 + half_x)
    bridge = (v + 5.0 + 2.5 * torch.cos(x / inner.clamp_min(3.0) * 1.4)).abs() - 1.3
    bridge = torch.maximum(bridge, mx - inner - 0.5)
    arm = torch.maximum(
        (v + 5.5 + 0.02 * (mx - outer)).abs() - 1.7,
        torch.maximum(outer - 0.5 - mx, mx - per_picture(who.face_width) - 1.0),
    )
    frame = cover(torch.minimum(torch.minimum(rim, bridge), arm))
    inside = cover(lens)
    slant = (x + 0.9 * v) * torch.sign(look.light_x) * -1.0 + 0.0 * eye_x
    local = slant - torch.sign(x) * -torch.sign(look.light_x) * eye_x
    glare = smoothstep(-2.0, 0.0, local - 8.0) * smoothstep(2.0, 0.0, local - 15.0) + 0.6 * smoothstep(
        -1.5, 0.0, local - 18.5
    ) * smoothstep(1.5, 0.0, local - 21.0)
    tint = inside * (0.04 + 0.16 * glare * smoothstep(6.0, -16.0, v))
    gleam = smoothstep(-4.0, -12.0, v) * 0.35
    colour = torch.lerp(look.frame, look.light, gleam * look.gloss.clamp_max(1.0))
    colour = torch.lerp(look.light.expand_as(colour), colour, frame)
    alpha = torch.maximum(frame, tint) * (kind != GLASSES.index("none"))
    return colour, alpha
