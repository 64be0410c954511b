"""The speaking mouth: lip curves from the mouth channels, painted lips, teeth, tongue and dark.

In: an `Identity` (N pictures), mouth channels (N, 6) per `MOUTH_DIMS`; out: the painted mouth rectangle, and
`true_opening`, the visible gap between the lips in pixels, which evaluation takes as ground truth. All
outlines are graphs over x, so that only thin masks are evaluated for each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from distill.corpus.drawn.canvas import Box, Grid, per_picture
from distill.corpus.drawn.identity import Identity
from distill.corpus.drawn.looks import Look

MOUTH_BOX: Final[Box] = (80, 152, 96, 72)
"""The rectangle that the mouth is painted in; it lies inside the face box."""

JAW_DROP_PX: Final = 9.0
"""How far the chin sinks at the widest opening."""


@dataclass(frozen=True, slots=True)
class MouthPose:
    """Sizes of the mouth in pixels at one moment, each (N, 1, 1, 1)."""

    half_width: Tensor
    gap: Tensor
    centre_y: Tensor
    corner: Tensor
    round: Tensor
    teeth: Tensor
    tongue: Tensor
    tuck: Tensor


def _gap(gap_px: Tensor, mouth: Tensor) -> Tensor:
    """Visible gap between the lips in pixels, (N,): strictly rising with ``open``, 0 at 0."""
    opened = mouth[:, 0].clamp(0.0, 1.0)
    less = 1.0 - 0.22 * mouth[:, 2].clamp(0.0, 1.0) - 0.30 * mouth[:, 5].clamp(0.0, 1.0)
    return gap_px * opened * (0.75 + 0.25 * opened) * less


def true_opening(who: Identity, mouth: Tensor) -> Tensor:
    """Visible gap between the inner edges of the lips at the middle, in canvas pixels.

    Args:
        who: B characters.
        mouth: (B, 6) mouth channels per `models.face.MOUTH_DIMS`.

    Returns:
        (B,), 0 for closed lips, up to about 34.
    """
    return _gap(who.gap_px, mouth)


def mouth_pose(who: Identity, mouth: Tensor) -> MouthPose:
    """Turn channels (N, 6) into the sizes of the mouth."""
    opened, width, rounded, teeth, tongue, tuck = (c.view(-1, 1, 1, 1) for c in mouth.unbind(1))
    opened, width = opened.clamp(0.0, 1.0), width.clamp(-1.0, 1.0)
    rounded, teeth, tongue, tuck = (c.clamp(0.0, 1.0) for c in (rounded, teeth, tongue, tuck))
    scale = 1.0 + torch.where(width > 0, 0.17 * width, 0.13 * width) - 0.44 * rounded - 0.08 * opened
    return MouthPose(
        half_width=per_picture(who.mouth_half_width) * scale.clamp_min(0.40),
        gap=_gap(who.gap_px, mouth).view(-1, 1, 1, 1),
        centre_y=per_picture(who.mouth_y) + 1.0 * tuck,
        corner=per_picture(who.lip_corner) + 3.2 * width - 2.0 * rounded,
        round=rounded,
        teeth=teeth,
        tongue=tongue,
        tuck=tuck,
    )


@dataclass(frozen=True, slots=True)
class _Curves:
    """Lip outlines as rows over x, (N, 1, 1, W), from the top of the upper lip to the foot of the lower."""

    upper_out: Tensor
    upper_in: Tensor
    lower_in: Tensor
    lower_out: Tensor
    teeth: Tensor
    tongue: Tensor
    belly: Tensor  # 1 - (x / half width)^2, 0 outside the mouth


def _curves(who: Identity, pose: MouthPose, x: Tensor) -> _Curves:
    t = x / pose.half_width
    belly = (1.0 - t * t).clamp_min(0.0)
    bow = torch.exp(-((x / 4.2) ** 2))
    inner = x / (pose.half_width * (0.97 - 0.15 * pose.round))
    inner = (1.0 - inner * inner).clamp_min(0.0)
    hole = torch.lerp(inner * (1.30 - 0.30 * inner), inner.sqrt(), 0.25 + 0.75 * pose.round)
    full = torch.lerp(belly * (1.3 - 0.3 * belly), belly.sqrt(), 0.30 + 0.60 * pose.round)
    t2 = (t * t).clamp_max(1.6)
    open_share = (pose.gap / 12.0).clamp_max(1.0)
    rest = (
        pose.centre_y
        - pose.corner * t2
        + (1.2 * bow - 0.4) * (1.0 - 0.6 * open_share) * (1.0 - pose.round) * (1.0 - pose.tuck)
    )
    rest = rest + 0.22 * pose.gap * (t2 - 0.0).clamp_max(1.0) * 0.55
    upper_in = rest - 0.34 * pose.gap * hole
    lower_in = rest + 0.66 * pose.gap * hole
    swell = 1.0 + 0.30 * pose.round - 0.14 * open_share
    dip = 1.0 - per_picture(who.lip_bow) * bow * (1.0 - 0.6 * pose.round)
    peaks = torch.exp(-(((x.abs() - 6.5) / 6.0) ** 2)) * 0.16 * (1.0 - pose.round) + 0.95
    upper_out = upper_in - per_picture(who.upper_lip) * swell * dip * peaks * full
    thin = swell * (1.0 - 0.45 * pose.tuck)
    lower_out = lower_in + per_picture(who.lower_lip) * thin * full
    bite = (0.66 * pose.gap).clamp_max(3.0 + 7.5 * pose.teeth) * (0.35 + 0.65 * pose.teeth)
    bite = torch.maximum(bite, 5.2 * pose.tuck)
    teeth = (
        upper_in
        + bite * (1.0 - 0.30 * t * t).clamp_min(0.0)
        - 9.0 * (t2 - 0.62 + 0.25 * pose.tuck).clamp_min(0.0)
    )
    lift = pose.gap * (0.34 + 0.34 * pose.tongue)
    mound = (1.0 - (t / 0.80) ** 2).clamp_min(0.0)
    tongue = lower_in - lift * torch.sqrt(mound + 1e-6) * (0.35 + 0.65 * mound)
    return _Curves(upper_out, upper_in, lower_in, lower_out, teeth, tongue, belly)


def _edge(y: Tensor, curve: Tensor, softness: float = 1.0) -> Tensor:
    """Antialiased coverage of what lies below (greater y than) ``curve``, (N, 1, H, W)."""
    slope = (curve[..., 2:] - curve[..., :-2]) * 0.5
    slope = torch.cat((slope[..., :1], slope, slope[..., -1:]), -1)
    sharp = torch.rsqrt(1.0 + slope * slope) / softness
    return torch.addcmul(0.5 - curve * sharp, y, sharp).clamp_(0.0, 1.0)


def paint_mouth(picture: Tensor, who: Identity, look: Look, mouth: Tensor, grid: Grid) -> Tensor:
    """Paint the mouth over skin.

    Args:
        picture: (N, 3, H, W) skin under the mouth, jaw already moved.
        who: N characters.
        look: their look.
        mouth: (N, 6) mouth channels.
        grid: pixels of the rectangle.
    """
    x, y = grid.x, grid.y
    pose = mouth_pose(who, mouth)
    c = _curves(who, pose, x)
    within = (pose.half_width - x.abs() + 0.5).clamp(0.0, 1.0)
    picture = _paint_surround(picture, look, pose, c, x, y)
    above_in, below_in = _edge(y, c.upper_in), _edge(y, c.lower_in)
    lips = _edge(y, c.upper_out) * (1.0 - _edge(y, c.lower_out)) * within
    picture = torch.lerp(picture, _lip_tone(look, who, pose, c, x, y), lips)
    hole = above_in * (1.0 - below_in) * within * (pose.gap / 0.8).clamp_max(1.0)
    picture = torch.lerp(picture, _inside_tone(look, pose, c, x, y), hole)
    bite = above_in * (1.0 - _edge(y, c.teeth)) * within
    bite = (
        bite
        * torch.maximum(1.0 - below_in, pose.tuck)
        * torch.maximum((pose.gap / 2.5).clamp_max(1.0), pose.tuck)
    )
    picture = torch.lerp(picture, _tooth_tone(look, c, x, y), bite)
    return _paint_lip_line(picture, look, pose, c, within, x, y)


def _paint_surround(picture: Tensor, look: Look, pose: MouthPose, c: _Curves, x: Tensor, y: Tensor) -> Tensor:
    """Soft shadow under the lower lip and dimples at the corners."""
    foot = c.lower_out + 3.0
    under = torch.exp(-(((y - foot) / 3.6) ** 2)) * (c.belly * c.belly)
    picture = torch.lerp(picture, look.skin_shadow, under * (0.50 * look.depth + 0.1))
    spot_x = (x.abs() - pose.half_width - 0.8) / 3.0
    spot_y = (y - pose.centre_y + pose.corner - 0.12 * pose.gap) / 3.6
    dimple = torch.exp(-spot_x * spot_x) * torch.exp(-spot_y * spot_y)
    return torch.lerp(picture, look.skin_shadow, dimple * 0.5)


def _lip_tone(look: Look, who: Identity, pose: MouthPose, c: _Curves, x: Tensor, y: Tensor) -> Tensor:
    """Upper lip darker, lower lip lit from above with a gloss."""
    lower = ((y - pose.centre_y) * 0.5 - 0.18 * pose.gap + 0.5).clamp(0.0, 1.0)
    dark, bright = look.lip * 0.86, (look.lip * 1.06 + 0.03).clamp_max(1.0)
    tone = torch.lerp(dark, bright, lower)
    thick = (c.lower_out - c.lower_in).clamp_min(1.0)
    place = (y - c.lower_in) / thick
    foot = (place - 0.55).clamp(0.0, 1.0)
    tone = tone * (1.0 - 0.30 * foot)
    shine_x = (x - look.light_x * 5.0) / (pose.half_width * 0.34)
    shine_y = (place - 0.34) / 0.20
    shine = torch.exp(-shine_x * shine_x) * torch.exp(-shine_y * shine_y)
    strength = per_picture(who.lip_gloss) * look.gloss.clamp_max(1.2) * 0.85
    return torch.lerp(tone, torch.lerp(look.lip, look.light, 0.72), shine * strength)


def _inside_tone(look: Look, pose: MouthPose, c: _Curves, x: Tensor, y: Tensor) -> Tensor:
    """Dark of the mouth with the tongue lying at its floor."""
    deep = look.lip * 0.10 + look.lip.new_tensor([0.13, 0.025, 0.045]).view(1, 3, 1, 1)
    warm = look.lip * 0.22 + look.lip.new_tensor([0.22, 0.05, 0.07]).view(1, 3, 1, 1)
    height = (c.lower_in - c.upper_in).clamp_min(1.0)
    down = ((y - c.upper_in) / height).clamp(0.0, 1.0)
    tone = torch.lerp(deep, warm, down * down)
    flesh = look.lip.new_tensor([0.80, 0.36, 0.40]).view(1, 3, 1, 1)
    top = ((y - c.tongue) / 9.0).clamp(0.0, 1.0)
    groove = torch.exp(-((x / 2.6) ** 2)) * 0.25
    tongue = torch.lerp(flesh, flesh * 0.68, top * 0.8 + groove)
    return torch.lerp(tone, tongue, _edge(y, c.tongue, 1.8) * (0.62 + 0.38 * pose.tongue))


def _tooth_tone(look: Look, c: _Curves, x: Tensor, y: Tensor) -> Tensor:
    ivory = look.light.new_tensor([0.985, 0.970, 0.945]).view(1, 3, 1, 1)
    shade = look.light.new_tensor([0.66, 0.58, 0.60]).view(1, 3, 1, 1)
    under_lip = torch.exp(-(y - c.upper_in).clamp_min(0.0) / 2.0) * 0.55
    side = (1.0 - c.belly) * 0.75
    return torch.lerp(ivory, shade, (under_lip + side).clamp_max(0.9))


def _paint_lip_line(
    picture: Tensor, look: Look, pose: MouthPose, c: _Curves, within: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """The dark line where the lips meet; it thins out as they part."""
    closed = (1.0 - pose.gap / 9.0).clamp(0.0, 1.0)
    weight = 0.75 + 0.35 * look.line * 0.5
    upper = (weight + 0.5 - (y - c.upper_in).abs()).clamp(0.0, 1.0)
    alpha = (
        upper * within * (0.22 + 0.56 * closed) * (0.35 + 0.65 * c.belly.sqrt()) * (1.0 - 0.75 * pose.tuck)
    )
    dark = look.lip * 0.38
    picture = torch.lerp(picture, dark, alpha)
    rim = (look.line * 0.5 + 0.2 - (y - c.upper_out).abs()).clamp(0.0, 1.0)
    foot = (look.line * 0.5 + 0.2 - (y - c.lower_out).abs()).clamp(0.0, 1.0)
    return torch.lerp(
        picture, look.lip * 0.5, (rim + foot) * within * look.line_alpha * 0.55 * c.belly.clamp_max(0.3) / 0.3
    )
