"""Hair: one parametric cap with a hairline, so that every style comes from the same few formulas.

In: an `Identity`, its `Look` and a `Grid`; out: the picture with the hair behind the body, and a
(colour, alpha) layer of the hair before the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.corpus.drawn.canvas import Grid, above_curve, cover, ellipse, paint, per_picture, smoothstep
from distill.corpus.drawn.head import HEAD_CENTRE_Y
from distill.corpus.drawn.identity import HAIR_STYLES, Identity
from distill.corpus.drawn.looks import Look

# columns: side volume, top volume, back length y, side length y, side edge (of face width), hairline y,
# arch, sweep, fringe teeth, curl, flare, wave, strand contrast, part offset
_TABLE = (
    (-9, -9, 100, 100, 2.00, 20, 0, 0, 0.0, 0.0, 0, 0.0, 0.0, 0),  # bald: the cap lies inside the head
    (1.0, 3, 140, 120, 0.93, 71, 7, 0, 0.0, 0.3, 0, 0.0, 0.25, 0),  # buzz
    (5, 17, 146, 124, 0.90, 65, 5, 17, 0.5, 0.5, 0, 0.0, 0.8, 28),  # side part
    (4, 26, 144, 120, 0.91, 63, 9, 7, 1.2, 1.1, 0, 0.0, 0.9, 26),  # quiff
    (10, 17, 208, 200, 0.88, 89, 5, 0, 1.0, 0.0, 6, 0.0, 0.7, 0),  # fringe bob
    (7, 12, 300, 268, 0.87, 62, 27, 0, 0.5, 0.0, 5, 0.0, 0.8, 4),  # long straight
    (11, 16, 300, 256, 0.88, 66, 8, 23, 1.0, 0.8, 7, 4.5, 0.9, 24),  # long wavy
    (25, 27, 176, 190, 0.97, 68, 10, 0, 1.5, 3.6, 0, 0.0, 0.7, 0),  # afro
    (3, 9, 150, 130, 0.95, 69, 10, 6, 0.8, 0.0, 0, 0.0, 0.8, 12),  # top bun
    (5, 10, 152, 138, 0.92, 88, 5, 4, 1.8, 0.0, 0, 0.0, 0.8, 8),  # space buns
    (12, 21, 166, 190, 0.95, 80, 9, 4, 3.2, 3.4, 0, 0.0, 0.8, 14),  # curls
    (4, 11, 152, 130, 0.94, 68, 4, 19, 0.8, 0.0, 0, 0.0, 0.8, 20),  # ponytail
    (6, 11, 226, 220, 0.90, 68, 10, 18, 0.6, 0.0, 4, 1.2, 0.8, 22),  # sleek lob
)


@dataclass(frozen=True, slots=True)
class HairShape:
    """Distances and coordinates of the hair, (B, 1, H, W) each."""

    cap: Tensor  # signed distance to the outer outline
    hairline: Tensor  # signed distance to the hairline, negative above it
    longitude: Tensor  # -1..1 across the head, converging at the crown
    crown: Tensor  # 0 at the crown .. 1 at the outline


def _columns(who: Identity) -> list[Tensor]:
    table = torch.tensor(_TABLE, dtype=torch.float32, device=who.device)[who.hair_style]
    return [per_picture(c) for c in table.unbind(-1)]


def hair_shape(who: Identity, grid: Grid, back: bool) -> HairShape:
    """Return the outline of the hair: the long cap behind (``back``) or the one before the face."""
    side, top, length, front, _, _, _, _, _, curl, flare, wave, _, part = _columns(who)
    volume, phase, parting = (
        per_picture(who.hair_volume),
        per_picture(who.hair_phase),
        per_picture(who.hair_part),
    )
    side = torch.where(side > 0, side * volume, side)
    top = torch.where(top > 0, top * (0.6 + 0.4 * volume), top)
    x, y = grid.x, grid.y
    waviness = wave * smoothstep(120.0, 170.0, y)
    lean = (top / 26.0).clamp(0.0, 1.0) * (top > 14.0) * (part > 14.0) * 9.0 * smoothstep(90.0, 40.0, y)
    bent = x + waviness * torch.sin(y / 10.5 + phase) * torch.sign(x) + lean * torch.sign(parting)
    width = per_picture(who.face_width) + side
    height = HEAD_CENTRE_Y - per_picture(who.face_top_y) + top
    v = (HEAD_CENTRE_Y - y) / height
    down = (y - HEAD_CENTRE_Y).clamp_min(0.0)
    dome = _superellipse(bent, (HEAD_CENTRE_Y - y).clamp_min(0.0), width, height, 2.45)
    spread = width + flare * smoothstep(0.0, 90.0, down)
    bottom = length if back else torch.maximum(front + 16.0, length)
    foot = _superellipse(bent, down, spread, (bottom - HEAD_CENTRE_Y).clamp_min(4.0), 5.0)
    foot = torch.where(
        curl > 3.0, ellipse(bent, down, spread, (length - HEAD_CENTRE_Y).clamp_min(4.0) + 14.0), foot
    )
    outline = torch.where(v > 0, dome, foot)
    angle = torch.atan2(x, HEAD_CENTRE_Y + 10.0 - y)
    bumps = torch.sin(angle * 17.0 + phase) * 0.65 + torch.sin(angle * 29.0 + 2.0 * phase) * 0.35
    outline = outline - curl * bumps
    line = _hairline(who, x, bent)
    v_dome = v.clamp(0.0, 0.82)
    longitude = (x - part * parting * 0.6 * smoothstep(0.0, 0.6, v)) / (
        width * torch.sqrt(1.0 - v_dome * v_dome)
    )
    crown = torch.sqrt((x / width) ** 2 + v.clamp_min(0.0) ** 2)
    return HairShape(outline, above_curve(y, line), longitude, crown)


def _hairline(who: Identity, x: Tensor, bent: Tensor) -> Tensor:
    """Row of the hair's lower edge over the forehead and down the sides, (B, 1, H, W)."""
    _, _, _, front, edge, line_y, arch, sweep, teeth, _, _, _, _, part = _columns(who)
    phase, parting = per_picture(who.hair_phase), per_picture(who.hair_part)
    across = (x - part * parting) / 60.0
    swept = across * -torch.sign(parting)
    line = (
        line_y
        + arch * across * across
        + sweep * (0.45 * swept.clamp_min(0.0) ** 1.5 + 0.35 * smoothstep(0.0, 0.5, swept))
    )
    line = line + sweep * 0.55 * (-swept).clamp_min(0.0) ** 1.2
    notch = torch.sin(x / 8.5 + phase + 0.8 * torch.sin(x / 13.0)).abs() - 0.5
    line = line - 1.6 * teeth * notch * smoothstep(0.0, 0.3, (1.0 - x.abs() / 60.0).clamp_min(0.0))
    sides = torch.sigmoid((bent.abs() - edge * per_picture(who.face_width)) / 2.2)
    return line + (front - line) * sides


def _superellipse(x: Tensor, y: Tensor, radius_x: Tensor, radius_y: Tensor, power: float) -> Tensor:
    """First-order signed distance to |x/rx|^p + |y/ry|^p = 1."""
    u, v = (x.abs() / radius_x).clamp_min(1e-3), (y.abs() / radius_y).clamp_min(1e-3)
    level = (u**power + v**power) ** (1.0 / power)
    slope = torch.sqrt(
        ((u / level) ** (power - 1.0) / radius_x) ** 2 + ((v / level) ** (power - 1.0) / radius_y) ** 2
    )
    return (level - 1.0) / slope.clamp_min(1e-4)


def _strands(who: Identity, shape: HairShape, grid: Grid) -> Tensor:
    """Light-dark pattern of strands or curls in -1..1."""
    columns = _columns(who)
    curl, wave, contrast = columns[9], columns[11], columns[12]
    phase = per_picture(who.hair_phase)
    lock = shape.longitude * 15.0 + wave * 0.28 * torch.sin(grid.y / 10.5 + phase)
    straight = 0.55 * torch.sin(lock + 1.3 * torch.sin(lock * 0.43 + phase)) + 0.45 * torch.sin(
        lock * 2.7 + phase
    )
    sx = grid.x / 5.2 + 1.6 * torch.sin(grid.y / 7.9 + phase)
    sy = grid.y / 5.0 + 1.6 * torch.sin(grid.x / 7.1 + 2.0 * phase)
    curly = torch.sin(sx) * torch.sin(sy) + 0.3 * torch.sin(sx * 2.1 + sy)
    share = (curl / 3.0).clamp(0.0, 1.0) * (curl > 2.0)
    calm = 1.0 - 0.6 * smoothstep(0.75, 1.0, shape.crown) * smoothstep(90.0, 60.0, grid.y)
    return torch.lerp(straight, curly, share) * contrast * calm


def _tone(who: Identity, look: Look, shape: HairShape, grid: Grid) -> Tensor:
    """Colour of lit hair (B, 3, H, W)."""
    strands = _strands(who, shape, grid)
    colour = look.hair.expand(-1, -1, grid.y.shape[2], grid.x.shape[3])
    colour = paint(colour, look.hair_shadow, (-strands).clamp(0.0, 1.0) * 0.42 * look.depth)
    away = smoothstep(0.0, 1.1, -grid.x * look.light_x / 70.0)
    colour = paint(colour, look.hair_shadow, away * 0.65 * look.depth)
    band = torch.exp(-(((shape.crown - 0.70 + 0.05 * strands) / 0.11) ** 2)) * smoothstep(
        -10.0, 30.0, HEAD_CENTRE_Y - grid.y
    )
    towards = smoothstep(-0.75, 0.6, grid.x * look.light_x / 70.0)
    hard = smoothstep(-0.5 * look.softness - 0.2, 0.6 + 0.4 * look.softness, strands)
    colour = paint(
        colour, look.hair_light, band * towards * (0.25 + 0.75 * hard) * look.gloss.clamp_max(1.15) * 0.8
    )
    colour = paint(
        colour, look.hair_light, smoothstep(0.2, 1.0, strands) * towards * 0.30 * look.gloss.clamp_max(1.0)
    )
    rim_side = smoothstep(0.2, 0.9, -grid.x * look.light_x / 70.0)
    rim = torch.exp(-(-shape.cap).clamp_min(0.0) / 3.0) * rim_side * look.rim
    return paint(colour, torch.lerp(look.hair_light, look.light, 0.5), rim * 0.75)


def _extras(who: Identity, grid: Grid) -> Tensor:
    """Signed distance to buns and ponytail, far away for other styles."""
    style = per_picture(who.hair_style)
    top = per_picture(who.face_top_y)
    phase = per_picture(who.hair_phase)
    x, y = grid.x, grid.y
    far = torch.full((1, 1, 1, 1), 1e3, device=who.device)
    fuzz = 0.4 * torch.sin(torch.atan2(x, y - top + 22.0) * 9.0 + phase)
    single = ellipse(x, y - top + 21.0, 25.0, 21.0) - fuzz
    twin = ellipse(x.abs() - 46.0, y - top - 0.0, 22.0, 21.0) - fuzz
    mirrored = x * torch.sign(per_picture(who.hair_part))
    lean = mirrored - 66.0 - 0.10 * (y - 130.0) - 4.0 * torch.sin(y / 26.0)
    tail = ellipse(lean, y - 152.0, 23.0 - 0.10 * (y - 150.0), 72.0)
    out = torch.where(style == HAIR_STYLES.index("top bun"), single, far)
    out = torch.where(style == HAIR_STYLES.index("space buns"), twin, out)
    return torch.where(style == HAIR_STYLES.index("ponytail"), tail, out)


def paint_back_hair(picture: Tensor, who: Identity, look: Look, grid: Grid) -> Tensor:
    """Paint the hair behind neck and shoulders, with buns and ponytail."""
    shape = hair_shape(who, grid, back=True)
    tone = _tone(who, look, shape, grid)
    extras = _extras(who, grid)
    depth_in = (-extras).clamp_min(0.0)
    bun = paint(tone, look.hair_light, smoothstep(4.0, 12.0, depth_in) * 0.25 * look.gloss.clamp_max(1.0))
    bun = paint(bun, look.hair_shadow, torch.exp(-depth_in / 4.0) * 0.5)
    picture = paint(picture, bun, cover(extras))
    picture = paint(
        picture,
        look.skin_line * 0.4 + look.hair_shadow * 0.5,
        cover(extras.abs() - look.line * 0.5) * look.line_alpha,
    )
    deep = smoothstep(116.0, 172.0, grid.y) * 0.75
    picture = paint(picture, paint(tone, look.hair_shadow, deep), cover(shape.cap))
    line = cover(shape.cap.abs() - look.line * 0.5) * look.line_alpha
    return paint(picture, look.hair_shadow * 0.6, line)


def front_hair_layer(who: Identity, look: Look, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return colour (B, 3, H, W) and alpha (B, 1, H, W) of the hair before the face."""
    shape = hair_shape(who, grid, back=False)
    tone = _tone(who, look, shape, grid)
    depth_in = (-shape.hairline).clamp_min(0.0)
    tone = paint(tone, look.hair_shadow, torch.exp(-depth_in / 7.0) * 0.55)
    low = smoothstep(150.0, 240.0, grid.y) * 0.35
    tone = paint(tone, look.hair_shadow, low)
    distance = torch.maximum(shape.cap, shape.hairline)
    buzz = per_picture(who.hair_style) == HAIR_STYLES.index("buzz")
    alpha = cover(distance, torch.where(buzz, 4.0, 1.0))
    alpha = alpha * torch.where(buzz, 0.86, 1.0)
    line = cover(distance.abs() - look.line * 0.5) * look.line_alpha
    line = torch.where(buzz, 0.0, line)
    tone = paint(tone, look.hair_shadow * 0.6, line)
    hair = per_picture(who.hair_style) != HAIR_STYLES.index("bald")
    return tone, torch.maximum(alpha, line) * hair


def hair_shadow_on_face(who: Identity, grid: Grid) -> Tensor:
    """Coverage of the soft shadow which the front hair throws on the face, (B, 1, H, W)."""
    shape = hair_shape(who, Grid(grid.x, grid.y - 5.0), back=False)
    hair = per_picture(who.hair_style) > HAIR_STYLES.index("buzz")
    return cover(torch.maximum(shape.cap, shape.hairline), 9.0) * hair * smoothstep(215.0, 205.0, grid.y)
