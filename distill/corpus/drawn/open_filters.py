"""The picture filters of the open-set split: light, texture, ink, paint and colour, all fixed to the canvas.

In: seeded draws; out: functions from canvases (N, 3, S, S) in [0, 1] to canvases. A filter's random fields are
drawn once and stay where they are on the canvas, so that the truth of a moving mouth under it is known. No
filter is used in training: what a student does with them shows whether it learnt faces or our drawings.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from models.face import CANVAS_PX

Filter = Callable[[Tensor], Tensor]
_LUMA: Final = (0.299, 0.587, 0.114)


def luma(picture: Tensor) -> Tensor:
    """Brightness (N, 1, S, S) of (N, 3, S, S)."""
    return (picture * picture.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def soften(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with repeated edges; sigma in pixels."""
    radius = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=picture.device) / sigma) ** 2)
    taps = (taps / taps.sum()).to(picture.dtype)
    count, channels, rows, columns = picture.shape
    flat = F.pad(picture, (radius,) * 4, mode="replicate").flatten(0, 1).unsqueeze(1)
    flat = F.conv2d(F.conv2d(flat, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
    return flat.view(count, channels, rows, columns)


def cloud(generator: torch.Generator, slope: float, side: int = CANVAS_PX) -> Tensor:
    """A static random field (side, side) whose amplitude falls as 1 / f^slope; mean 0, deviation 1."""
    fy, fx = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    frequency = torch.sqrt(fy * fy + fx * fx).clamp_min(1.0 / side)
    spectrum = torch.fft.rfft2(torch.randn(side, side, generator=generator)) / frequency**slope
    field = torch.fft.irfft2(spectrum, s=(side, side))
    return (field - field.mean()) / field.std()


def _places() -> tuple[Tensor, Tensor]:
    """Rows (S, 1) and columns (1, S) from -1 to 1 over the canvas."""
    line = (torch.arange(CANVAS_PX) + 0.5) / (CANVAS_PX / 2) - 1
    return line[:, None], line[None]


def photograph(rng: random.Random, generator: torch.Generator) -> Filter:
    """Statistics of photographs: texture with a 1/f spectrum in linear light, hard directional light, a cast
    shadow, vignette, white balance, tone curve, lens softness and grain."""
    gain = _relief(rng, generator) + _lighting(rng) + _cast_shadow(rng, generator)
    balance = torch.tensor([2 ** rng.uniform(-0.25, 0.25) for _ in range(3)]).view(1, 3, 1, 1)
    exposure, gamma = 2 ** rng.uniform(-0.35, 0.45), rng.uniform(0.85, 1.2)
    contrast, lens = rng.uniform(0.0, 0.6), rng.uniform(0.4, 0.9)
    grain = torch.randn(1, 3, CANVAS_PX, CANVAS_PX, generator=generator) * rng.uniform(0.008, 0.035)

    def develop(picture: Tensor) -> Tensor:
        light = picture.clamp(0, 1) ** 2.2 * torch.exp(gain) * balance * exposure
        tone = (1 - torch.exp(-1.6 * light)).clamp_min(0) ** (gamma / 2.2)
        tone = torch.lerp(tone, tone * tone * (3 - 2 * tone), contrast)
        return (soften(tone, lens) + grain * (0.4 + tone * (1 - tone) * 3)).clamp(0, 1)

    return develop


def _relief(rng: random.Random, generator: torch.Generator) -> Tensor:
    """Log gain (3, S, S) of surface texture: blotches of skin and cloth, and pores."""
    blotch = torch.stack([cloud(generator, rng.uniform(1.0, 1.5))] * 3)
    tint = torch.stack([cloud(generator, 1.4) for _ in range(3)])
    pores = cloud(generator, 0.3)
    return rng.uniform(0.06, 0.2) * blotch + rng.uniform(0.02, 0.08) * tint + rng.uniform(0.02, 0.1) * pores


def _lighting(rng: random.Random) -> Tensor:
    """Log gain (S, S) of one lamp on a head-like ellipsoid, with a fall-off over the whole picture."""
    y, x = _places()
    angle, height = rng.uniform(-1, 1) * 1.3, rng.uniform(0.3, 0.9)
    lamp = torch.tensor([math.sin(angle), -0.5 * rng.random(), height])
    lamp = lamp / lamp.norm()
    across, down = x / 0.62, (y - 0.08) / 0.8
    depth = (1.15 - across * across - down * down).clamp_min(0.03).sqrt()
    normal = torch.stack((across + 0 * y, down + 0 * x, depth))
    normal = normal / normal.norm(dim=0, keepdim=True)
    shade = (normal * lamp.view(3, 1, 1)).sum(0).clamp_min(0) * 0.85 + 0.22
    vignette = -rng.uniform(0.0, 0.6) * (x * x + y * y) ** 1.5 / 2
    return rng.uniform(0.5, 0.95) * torch.log(shade) + vignette + 0.15


def _cast_shadow(rng: random.Random, generator: torch.Generator) -> Tensor:
    """Log gain (S, S) of a soft-edged shadow, sometimes of a window's bars; 0 in half of the pictures."""
    y, x = _places()
    if rng.random() < 0.5:
        return torch.zeros(CANVAS_PX, CANVAS_PX)
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle) + 0.06 * cloud(generator, 1.6)
    if rng.random() < 0.5:
        along = torch.sin(along * rng.uniform(5, 9)) * 0.12
    else:
        along = along + rng.choice((-1, 1)) * rng.uniform(0.25, 0.5)
    return -rng.uniform(0.3, 0.8) * torch.sigmoid(along / rng.uniform(0.02, 0.06))


def _screen(angle: float, period: float, wobble: Tensor) -> Tensor:
    """A triangular wave 0..1 across lines of a direction, (S, S)."""
    axis = torch.arange(CANVAS_PX) + 0.5
    phase = (axis[None] * math.cos(angle) + axis[:, None] * math.sin(angle)) / period + wobble
    return (2 * (phase - phase.floor()) - 1).abs()


def _contour(bright: Tensor, width: float, strength: float) -> Tensor:
    """Dark lines where brightness changes quickly, as coverage 0..1 (difference of Gaussians).

    Bright creases are drawn too, more faintly: in a negative they are what is left of lips.
    """
    dip = soften(bright, 1.7 * width) - soften(bright, width)
    return (strength * torch.maximum(dip, -0.5 * dip) - 0.06).clamp(0, 1)


def _ink_and_paper(rng: random.Random) -> tuple[Tensor, Tensor]:
    ink = torch.tensor([rng.uniform(0.02, 0.25) for _ in range(3)]).view(1, 3, 1, 1)
    paper = torch.tensor([rng.uniform(0.86, 1.0), rng.uniform(0.84, 0.98), rng.uniform(0.74, 0.98)])
    return ink, paper.view(1, 3, 1, 1)


def hatching(rng: random.Random, generator: torch.Generator) -> Filter:
    """Lines of ink, crossed where it is darker, with outlines; some keep a wash of the colour."""
    ink, paper = _ink_and_paper(rng)
    wobble, first, period = 0.12 * cloud(generator, 1.5), rng.uniform(0, math.pi), rng.uniform(3.2, 4.6)
    turns = (0.0, 1.3, 0.65, 2.1)
    levels = (0.78, 0.58, 0.4, 0.24)
    screens = [_screen(first + turn, period * (1 - 0.06 * i), wobble) for i, turn in enumerate(turns)]
    wash = rng.choice((0.0, 0.35, 0.7))

    def draw(picture: Tensor) -> Tensor:
        bright = luma(picture)
        cover = torch.zeros_like(bright)
        for level, screen in zip(levels, screens, strict=True):
            width = ((level - bright) * 2.2).clamp(0, 0.85)
            cover = torch.maximum(cover, ((width - screen) * 3 + 0.2).clamp(0, 1) * (width > 0))
        cover = torch.maximum(cover * 0.9, _contour(bright, 0.9, 9.0))
        ground = torch.lerp(paper.expand_as(picture), picture * 0.6 + 0.4 * paper, wash)
        return torch.lerp(ground, ink.expand_as(picture), cover)

    return draw


def halftone(rng: random.Random, generator: torch.Generator) -> Filter:
    """Printed dots: one screen of ink, or one for each colour as in newspapers."""
    ink, paper = _ink_and_paper(rng)
    period, turn, many = rng.uniform(2.9, 3.8), rng.uniform(0, math.pi / 2), rng.random() < 0.6
    still = torch.zeros(CANVAS_PX, CANVAS_PX)
    dots = []
    for offset in (0.26, 1.31, 0.0) if many else (0.0,):
        a, b = (_screen(turn + offset + q, period, still) for q in (0.0, math.pi / 2))
        dots.append((a + b) / 2)
    screen = torch.stack(dots).unsqueeze(0)

    def print_dots(picture: Tensor) -> Tensor:
        tone = soften(picture, 0.5) if many else luma(soften(picture, 0.5))
        light = ((tone * 1.06 - screen) * 4 + 0.5).clamp(0, 1)
        light = torch.lerp(light, tone, 0.25)
        return torch.lerp(paper * 0.08, paper, light) if many else torch.lerp(ink, paper, light)

    return print_dots


def ink_lines(rng: random.Random, generator: torch.Generator) -> Filter:
    """Comic ink: outlines and solid blacks over flat colour or bare paper."""
    ink, paper = _ink_and_paper(rng)
    flat, width, dark = rng.choice((0.0, 0.5, 1.0)), rng.uniform(0.8, 1.2), rng.uniform(0.16, 0.26)
    colour = posterised(rng, generator)

    def draw(picture: Tensor) -> Tensor:
        bright = luma(picture)
        cover = torch.maximum(_contour(bright, width, 14.0), ((dark - bright) * 12 + 0.5).clamp(0, 1))
        ground = torch.lerp(paper.expand_as(picture), colour(picture), flat)
        return torch.lerp(ground, ink.expand_as(picture), cover)

    return draw


def posterised(rng: random.Random, generator: torch.Generator) -> Filter:
    """A few flat tones with hard steps, as in a screen print."""
    levels, bend, offset = rng.choice((4, 5, 6)), rng.uniform(0.8, 1.2), rng.uniform(0.3, 0.7)

    def flatten(picture: Tensor) -> Tensor:
        tone = soften(picture, 0.8) ** bend * levels + offset
        step = tone.floor() + ((tone - tone.floor() - 0.5) * 7 + 0.5).clamp(0, 1)
        return ((step - offset) / levels).clamp(0, 1)

    return flatten


def oil_paint(rng: random.Random, generator: torch.Generator) -> Filter:
    """Strokes of even colour (Kuwahara's filter) under canvas weave or paper fibre."""
    radius, depth = rng.choice((2, 3)), rng.uniform(0.03, 0.09)
    fibre = cloud(generator, rng.uniform(0.4, 1.0)) * depth
    stroke = cloud(generator, 0.8) * rng.uniform(0.02, 0.06)

    def brush(picture: Tensor) -> Tensor:
        size = radius + 1
        padded = F.pad(picture, (radius,) * 4, mode="replicate")
        mean = F.avg_pool2d(padded, size, 1)
        spread = F.avg_pool2d(padded.square(), size, 1).sub_(mean.square()).sum(1, keepdim=True)
        rows, columns = picture.shape[-2:]
        best, out = None, mean[..., :rows, :columns]
        for dy in (0, radius):
            for dx in (0, radius):
                part = slice(dy, dy + rows), slice(dx, dx + columns)
                here = spread[..., part[0], part[1]]
                better = torch.ones_like(here, dtype=torch.bool) if best is None else here < best
                out = torch.where(better, mean[..., part[0], part[1]], out)
                best = torch.where(better, here, here if best is None else best)
        return (out * (1 + stroke) + fibre * out * (1 - out) * 3).clamp(0, 1)

    return brush


def pencil(rng: random.Random, generator: torch.Generator) -> Filter:
    """Graphite or chalk: brightness against its surroundings, on grained paper; chalk is light on dark."""
    ink, paper = _ink_and_paper(rng)
    grain, reach, chalk = cloud(generator, 0.4), rng.uniform(5.0, 9.0), rng.random() < 0.35
    keep = rng.uniform(0.25, 0.5)

    def sketch(picture: Tensor) -> Tensor:
        bright = luma(picture)
        local = (bright / (soften(bright, reach) + 0.05)).clamp(0, 1.1) / 1.1
        tone = torch.lerp(local**1.6, bright, keep)
        tone = (tone + 0.1 * grain * (1 - tone)).clamp(0, 1)
        dark, light = (paper * 0.16, paper * 0.95) if chalk else (ink, paper)
        return torch.lerp(dark, light, tone)

    return sketch


def recoloured(rng: random.Random, generator: torch.Generator) -> Filter:
    """Colours that no drawing of ours has: turned hues, negatives, tone maps, sepia, grey, neon."""
    kind = rng.choice(("turn", "turn", "negative", "map", "sepia", "grey", "neon", "swap"))
    if kind == "map":
        return _tone_map(rng)
    angle = rng.choice((-1, 1)) * rng.uniform(0.6, math.pi)
    matrix = {
        "turn": _hue_turn(angle, 1.0),
        "negative": -torch.eye(3),
        "sepia": torch.tensor([1.08, 0.9, 0.66])[:, None] * torch.tensor(_LUMA)[None],
        "grey": torch.ones(3, 1) * torch.tensor(_LUMA)[None],
        "neon": _hue_turn(angle, 2.2),
        "swap": torch.eye(3)[torch.tensor(rng.choice(((2, 1, 0), (1, 2, 0), (2, 0, 1))))],
    }[kind]
    offset, power = (1.0 if kind == "negative" else 0.0), (1.5 if kind == "neon" else 1.0)

    def recolour(picture: Tensor) -> Tensor:
        mixed = torch.einsum("ij,njhw->nihw", matrix.to(picture), picture**power) + offset
        return mixed.clamp(0, 1)

    return recolour


def _tone_map(rng: random.Random) -> Filter:
    """Brightness to a ramp of three colours, dark to bright."""
    stops = torch.tensor([[rng.uniform(low, low + 0.4) for _ in range(3)] for low in (0.0, 0.3, 0.6)])

    def recolour(picture: Tensor) -> Tensor:
        bright = luma(picture).clamp(0, 1) * 2
        low, middle, high = (s.to(picture).view(1, 3, 1, 1) for s in stops)
        return torch.where(
            bright < 1, torch.lerp(low, middle, bright.clamp(0, 1)), torch.lerp(middle, high, bright - 1)
        ).clamp(0, 1)

    return recolour


def _hue_turn(angle: float, saturation: float) -> Tensor:
    """Matrix (3, 3) that turns hue about the grey axis and scales saturation."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    c, s = math.cos(angle) * saturation, math.sin(angle) * saturation
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq
