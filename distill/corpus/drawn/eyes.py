"""Eyes and brows: lids that close, irises that look about, brows that rise.

In: an `Identity` (N pictures), expression channels (N, 4) per `EXPRESSION_DIMS`; out: the painted eye
rectangle. Both eyes are painted at once in mirrored coordinates; only gaze and highlights keep their side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from distill.corpus.drawn.canvas import Box, Grid, per_picture
from distill.corpus.drawn.identity import Identity
from distill.corpus.drawn.looks import Look

EYE_BOX: Final[Box] = (68, 80, 120, 66)
"""The rectangle that eyes and brows are painted in; it lies inside the face box."""


@dataclass(frozen=True, slots=True)
class _Lids:
    """Lid edges as rows over x, (N, 1, 1, W)."""

    t: Tensor  # -1 at the inner corner .. 1 at the outer
    upper: Tensor
    open_upper: Tensor
    lower: Tensor
    within: Tensor  # coverage between the corners


def _lids(who: Identity, blink: Tensor, gaze_y: Tensor, x: Tensor) -> _Lids:
    width, height = per_picture(who.eye_width), per_picture(who.eye_height)
    u = x.abs() - per_picture(who.eye_x)
    t = u / width
    belly = (1.0 - t * t).clamp_min(0.0)
    round_belly = belly * (1.5 - 0.5 * belly)
    base = per_picture(who.eye_y) - per_picture(who.eye_tilt) * t + 2.0
    peak = round_belly * (1.0 - 0.12 * t)
    open_upper = base - height * (1.0 + 0.10 * gaze_y) * peak
    lower = base + 0.62 * height * (0.9 * round_belly + 0.1 * belly)
    shut = lower - 0.6
    return _Lids(
        t,
        torch.lerp(open_upper, shut, blink),
        open_upper,
        lower,
        ((1.0 - t.abs()) * width + 0.5).clamp(0.0, 1.0),
    )


def _below(y: Tensor, curve: Tensor, softness: float = 1.0) -> Tensor:
    slope = (curve[..., 2:] - curve[..., :-2]) * 0.5
    slope = torch.cat((slope[..., :1], slope, slope[..., -1:]), -1)
    sharp = torch.rsqrt(1.0 + slope * slope) / softness
    return torch.addcmul(0.5 - curve * sharp, y, sharp).clamp_(0.0, 1.0)


def paint_eyes(picture: Tensor, who: Identity, look: Look, expression: Tensor, grid: Grid) -> Tensor:
    """Paint eyes and brows over skin (N, 3, H, W) for expression channels (N, 4)."""
    blink, gaze_x, gaze_y, brow = (c.view(-1, 1, 1, 1) for c in expression.unbind(1))
    blink = blink.clamp(0.0, 1.0)
    gaze_x, gaze_y, brow = (c.clamp(-1.0, 1.0) for c in (gaze_x, gaze_y, brow))
    x, y = grid.x, grid.y
    lids = _lids(who, blink, gaze_y, x)
    picture = _paint_lid_skin(picture, look, lids, blink, y)
    ball = _below(y, lids.upper) * (1.0 - _below(y, lids.lower)) * lids.within
    ball = ball * ((1.0 - blink) * 8.0).clamp_max(1.0)  # no sliver is left between shut lids
    picture = torch.lerp(picture, _ball_tone(who, look, lids, gaze_x, gaze_y, x, y), ball)
    picture = _paint_lashes(picture, who, look, lids, blink, y)
    return _paint_brows(picture, who, look, brow, x, y)


def _paint_lid_skin(picture: Tensor, look: Look, lids: _Lids, blink: Tensor, y: Tensor) -> Tensor:
    """The upper lid between crease and lash line, shaded, and the crease itself."""
    belly = (1.0 - lids.t * lids.t).clamp_min(0.0)
    crease = lids.open_upper - 4.6 * belly.sqrt() + 1.6 * blink
    lid = _below(y, crease, 2.0) * (1.0 - _below(y, lids.upper)) * lids.within
    picture = torch.lerp(picture, look.skin_shadow, lid * 0.34)
    fold = (1.1 - (y - crease).abs() * 0.75).clamp(0.0, 1.0) * belly.clamp_max(0.5) * 2.0
    picture = torch.lerp(
        picture, look.skin_line, fold * (0.34 + 0.25 * look.line_alpha) * (1.0 - 0.45 * blink)
    )
    bag = (1.0 - (y - lids.lower - 1.4).abs() / 2.2).clamp(0.0, 1.0) * belly
    return torch.lerp(picture, look.skin_shadow, bag * 0.42)


def _ball_tone(
    who: Identity, look: Look, lids: _Lids, gaze_x: Tensor, gaze_y: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """Eyeball, iris, pupil and highlights, lids not yet applied."""
    side = torch.sign(x)
    radius = per_picture(who.iris_radius)
    centre_y = per_picture(who.eye_y) + 1.0
    du = x - side * (per_picture(who.eye_x) - 0.5) - gaze_x * 5.2
    dv = y - centre_y + gaze_y * 3.2
    r = torch.sqrt(du * du + dv * dv)
    white = look.light.new_tensor([0.975, 0.965, 0.955]).view(1, 3, 1, 1)
    grey = look.light.new_tensor([0.66, 0.64, 0.72]).view(1, 3, 1, 1)
    fall = torch.exp(-(y - lids.upper).clamp_min(0.0) / 4.2)
    tone = torch.lerp(white, grey, (fall * 0.75 + 0.28 * lids.t * lids.t).clamp_max(0.9))
    iris = (radius - r + 0.5).clamp(0.0, 1.0)
    up = (0.5 - dv / (2.0 * radius)).clamp(0.0, 1.0)
    bright = (look.iris * 1.45 + 0.10).clamp_max(1.0)
    colour = torch.lerp(bright, look.iris * 0.62, (up * 1.1).clamp_max(1.0))
    ring = ((r / radius - 0.72) / 0.28).clamp(0.0, 1.0)
    colour = torch.lerp(colour, look.iris * 0.30, ring * 0.85)
    tone = torch.lerp(tone, colour, iris)
    pupil = (radius * 0.44 - r + 0.5).clamp(0.0, 1.0)
    tone = torch.lerp(tone, look.iris * 0.10, pupil)
    tone = tone * (1.0 - 0.42 * torch.exp(-(y - lids.upper).clamp_min(0.0) / 2.4))
    hx, hy = du - look.light_x * radius * 0.36, dv + radius * 0.38
    spot = (3.0 - torch.sqrt(hx * hx + hy * hy) + 0.5).clamp(0.0, 1.0)
    lx, ly = du + look.light_x * radius * 0.36, dv - radius * 0.42
    small = (1.6 - torch.sqrt(lx * lx + ly * ly) + 0.5).clamp(0.0, 1.0) * 0.65
    return torch.lerp(
        tone, torch.ones_like(white), torch.maximum(spot, small) * (0.70 + 0.28 * look.gloss).clamp_max(1.0)
    )


def _paint_lashes(
    picture: Tensor, who: Identity, look: Look, lids: _Lids, blink: Tensor, y: Tensor
) -> Tensor:
    """Upper lash line with a wing at the outer corner, and a faint lower one."""
    lash = per_picture(who.lash)
    t = lids.t
    reach = ((1.16 - t) * 8.0).clamp(0.0, 1.0) * ((t + 1.02) * 10.0).clamp(0.0, 1.0)
    wing = (t - 0.72).clamp_min(0.0) * 9.0 * lash * (1.0 - 1.3 * blink)
    line = lids.upper - wing
    thick = (
        (0.85 + 0.9 * lash)
        * (0.55 + 0.45 * (t + 1.0).clamp(0.0, 1.6))
        * (1.0 - 0.7 * (t - 0.95).clamp_min(0.0) / 0.2)
    )
    slope = (line[..., 2:] - line[..., :-2]) * 0.5
    slope = torch.cat((slope[..., :1], slope, slope[..., -1:]), -1)
    off = (y - line + 0.4).abs() * torch.rsqrt(1.0 + slope * slope)
    alpha = (thick + 0.5 - off).clamp(0.0, 1.0) * reach
    dark = look.skin_line * 0.35
    picture = torch.lerp(picture, dark, alpha * (0.72 + 0.25 * lash))
    low = (0.9 - (y - lids.lower).abs()).clamp(0.0, 1.0) * lids.within * ((t + 0.6) * 0.8).clamp(0.0, 1.0)
    return torch.lerp(picture, look.skin_line, low * (0.30 + 0.30 * lash))


def _paint_brows(picture: Tensor, who: Identity, look: Look, brow: Tensor, x: Tensor, y: Tensor) -> Tensor:
    u = x.abs() - per_picture(who.eye_x) - 1.0
    t = u / 20.0
    rise = torch.where(brow > 0, 5.5 * brow, 3.5 * brow)
    inner = (1.0 - t).clamp(0.0, 2.0) * 0.5
    pull = torch.where(brow < 0, 2.4 * -brow * inner, 1.2 * brow * inner)
    arch = per_picture(who.brow_arch) * (1.0 - (t - 0.25) ** 2)
    line = (
        per_picture(who.eye_y)
        - per_picture(who.brow_gap)
        - rise
        + pull
        - arch
        + per_picture(who.brow_tilt) * t
        + 3.0
    )
    thick = (
        per_picture(who.brow_thickness)
        * 0.5
        * (1.08 - 0.40 * (t + 1.0).clamp(0.0, 2.0) * 0.85).clamp_min(0.1)
    )
    ends = ((1.0 - t) * 6.0).clamp(0.0, 1.0) * ((t + 1.0) * 3.2).clamp(0.0, 1.0)
    alpha = (thick * (0.35 + 0.65 * ends) + 0.5 - (y - line).abs()).clamp(0.0, 1.0) * ends
    hairs = torch.sin(x * 1.3 + torch.sign(x) * y * 0.9) * 0.05 + 0.86
    tone = torch.lerp(look.hair_shadow, look.skin_line, 0.35)
    return torch.lerp(picture, tone, alpha * hairs)
