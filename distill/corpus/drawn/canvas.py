"""Soft signed-distance drawing on batched pictures: the few primitives every layer is made of.

In: pixel grids and shape parameters as broadcastable tensors; out: coverage masks (B, 1, H, W) and painted
pictures (B, 3, H, W). All functions are pure and work on any device. Coordinates are canvas pixels, a
pixel's centre lies at index + 0.5, y grows downwards. A signed distance is negative inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.face import CANVAS_PX

Box = tuple[int, int, int, int]
"""(left, top, width, height) in canvas pixels."""

FULL_BOX: Box = (0, 0, CANVAS_PX, CANVAS_PX)


@dataclass(frozen=True, slots=True)
class Grid:
    """Pixel centres of a box: ``x`` (1, 1, 1, W) measured from the middle column, ``y`` (1, 1, H, 1) rows."""

    x: Tensor
    y: Tensor


def make_grid(box: Box, device: torch.device) -> Grid:
    """Return the pixel centres of ``box``; x is relative to the canvas' middle column, y to its top."""
    left, top, width, height = box
    x = torch.arange(left, left + width, device=device, dtype=torch.float32) + (0.5 - CANVAS_PX / 2)
    y = torch.arange(top, top + height, device=device, dtype=torch.float32) + 0.5
    return Grid(x.view(1, 1, 1, -1), y.view(1, 1, -1, 1))


def per_picture(value: Tensor) -> Tensor:
    """Shape a trait (B,) or colour (B, 3) for painting: (B, 1, 1, 1) or (B, 3, 1, 1)."""
    return value.view(value.shape[0], -1, 1, 1)


def cover(distance: Tensor, softness: float | Tensor = 1.0) -> Tensor:
    """Antialiased coverage 0..1 of a signed distance in pixels; the edge is ``softness`` pixels wide."""
    return (0.5 - distance / softness).clamp(0.0, 1.0)


def paint(picture: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """Lay ``colour`` (B, 3, 1|H, 1|W) over ``picture`` (B, 3, H, W) with coverage ``alpha`` (B, 1, H, W)."""
    return torch.lerp(picture, colour, alpha)


def smoothstep(low: float | Tensor, high: float | Tensor, value: Tensor) -> Tensor:
    """Hermite ramp from 0 at ``low`` to 1 at ``high``."""
    t = ((value - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def ellipse(x: Tensor, y: Tensor, radius_x: Tensor | float, radius_y: Tensor | float) -> Tensor:
    """Signed distance (first order) to an ellipse about the origin."""
    k0 = torch.sqrt((x / radius_x) ** 2 + (y / radius_y) ** 2)
    k1 = torch.sqrt((x / radius_x**2) ** 2 + (y / radius_y**2) ** 2)
    return k0 * (k0 - 1.0) / k1.clamp_min(1e-4)


def rounded_box(x: Tensor, y: Tensor, half_x: Tensor, half_y: Tensor, radius: Tensor) -> Tensor:
    """Signed distance to an axis-aligned box about the origin with rounded corners."""
    qx, qy = x.abs() - half_x + radius, y.abs() - half_y + radius
    outside = torch.sqrt(qx.clamp_min(0.0) ** 2 + qy.clamp_min(0.0) ** 2 + 1e-9)
    return outside + torch.maximum(qx, qy).clamp_max(0.0) - radius


def segment(x: Tensor, y: Tensor, ax: Tensor, ay: Tensor, bx: Tensor, by: Tensor) -> Tensor:
    """Unsigned distance to the segment from (ax, ay) to (bx, by)."""
    dx, dy = bx - ax, by - ay
    t = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-6)).clamp(0.0, 1.0)
    return torch.sqrt((x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2)


def glow(x: Tensor, y: Tensor, radius_x: Tensor | float, radius_y: Tensor | float) -> Tensor:
    """Gaussian spot about the origin, 1 at its centre."""
    return torch.exp(-((x / radius_x) ** 2)) * torch.exp(-((y / radius_y) ** 2))


def implicit_distance(field: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """First-order signed distance to the zero set of ``field(x, y)``: value over gradient length."""
    step = 0.25
    value = field(x, y)
    slope_x = (field(x + step, y) - value) / step
    slope_y = (field(x, y + step) - value) / step
    return value / torch.sqrt(slope_x**2 + slope_y**2).clamp_min(1e-4)


def above_curve(y: Tensor, curve: Tensor) -> Tensor:
    """Signed distance (negative above) to the graph ``curve`` (B, 1, 1, W), corrected for its slope."""
    padded = torch.cat(
        (2 * curve[..., :1] - curve[..., 1:2], curve, 2 * curve[..., -1:] - curve[..., -2:-1]), -1
    )
    slope = (padded[..., 2:] - padded[..., :-2]) * 0.5
    return (y - curve) * torch.rsqrt(1.0 + slope * slope)
