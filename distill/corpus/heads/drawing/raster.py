"""Triangles in, visible surface out: which triangle each pixel shows, and where on it.

Written in PyTorch, so one piece of code runs on CPUs and on CUDA, for many frames at once: every triangle is
spread over the pixels of its box, those inside race for their pixel by inverse depth. On CPUs `raster.c` does the
same several times faster, where there is a compiler. Screen places are x to the
right and y down in pixels, pixel centres at halves; the third number is the inverse depth, larger is nearer.
Triangles that face the viewer turn clockwise as one sees them in a y-up world: their signed area here is
negative.

Source: Pineda 1988, "A parallel algorithm for polygon rasterization", edge functions.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import torch
from torch import Tensor

from distill.corpus.heads.drawing.native import at, usable, whole


@dataclass(frozen=True, slots=True)
class Surface:
    """What P covered pixels of N frames show."""

    size: tuple[int, int]  # height and width of a frame
    count: int  # N
    pixel: Tensor  # (P,) int64, sorted: (frame * height + row) * width + column
    triangle: Tensor  # (P,) int64
    weights: Tensor  # (P, 3) of the corners, perspective-correct
    inverse_depth: Tensor  # (P,)
    known: dict[int, tuple[Tensor, Surface]] = field(default_factory=dict)  # what `every` found

    @property
    def frame(self) -> Tensor:
        """(P,) int64."""
        return self.pixel // (self.size[0] * self.size[1])

    def dense(self, values: Tensor, empty: float = 0.0) -> Tensor:
        """Per-pixel values (P,) or (C, P) as pictures (N, H, W) or (C, N, H, W)."""
        height, width = self.size
        shape = (*values.shape[:-1], self.count * height * width)
        out = torch.full(shape, empty, dtype=values.dtype, device=values.device)
        out[..., self.pixel] = values
        return out.view(*values.shape[:-1], self.count, height, width)

    def every(self, step: int) -> tuple[Tensor, Surface]:
        """The pixels in every ``step``-th row and column: their indices, and the surface of these alone."""
        if step in self.known:
            return self.known[step]
        height, width = self.size
        row = torch.div(self.pixel, width, rounding_mode="floor")  # of all frames, which have even heights
        column = self.pixel - row * width
        kept = ((row % step == 0) & (column % step == 0)).nonzero()[:, 0]
        size = (height // step, width // step)
        pixel = torch.div(row[kept], step, rounding_mode="floor") * size[1]
        pixel += torch.div(column[kept], step, rounding_mode="floor")
        some = self.triangle[kept], self.weights[kept], self.inverse_depth[kept]
        self.known[step] = kept, Surface(size, self.count, pixel, *some)
        return self.known[step]


@dataclass(frozen=True, slots=True)
class Fragments:
    """Every pixel that every triangle covers."""

    owner: Tensor  # (R,) int64, frame * T + triangle
    pixel: Tensor  # (R,) int64
    weights: Tensor  # (R, 2) of the second and third corner, on the screen
    inverse_depth: Tensor  # (R,)


_KEY_SHIFT = 32


def spread(
    screen: Tensor, triangles: Tensor, size: tuple[int, int], cull: bool, first: int = 0, total: int = 0
) -> Fragments:
    """All pixels inside triangles (T, 3) over screen places (N, V, 3); other arguments as for `race`."""
    height, width = size
    x, y, z = screen[:, triangles].flatten(0, 1).unbind(-1)  # (N * T, 3) each
    dx1, dx2 = x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]
    dy1, dy2 = y[:, 1] - y[:, 0], y[:, 2] - y[:, 0]
    area = dx1 * dy2 - dx2 * dy1
    low_x, high_x = (x.amin(1) - 0.5).ceil().clamp(min=0), (x.amax(1) - 0.5).floor().clamp(max=width - 1)
    low_y, high_y = (y.amin(1) - 0.5).ceil().clamp(min=0), (y.amax(1) - 0.5).floor().clamp(max=height - 1)
    facing = area < 0 if cull else area != 0
    kept = (facing & (low_x <= high_x) & (low_y <= high_y)).nonzero()[:, 0]
    over = 1.0 / area[kept]
    # weights are affine on the screen: w1 = a1 x + b1 y + c1
    a1, b1 = dy2[kept] * over, -dx2[kept] * over
    a2, b2 = -dy1[kept] * over, dx1[kept] * over
    low_x, low_y = low_x[kept], low_y[kept]
    rise1, rise2 = z[kept, 1] - z[kept, 0], z[kept, 2] - z[kept, 0]
    wide, tall = (high_x[kept] - low_x + 1).long(), (high_y[kept] - low_y + 1).long()
    amount = wide * tall
    begin = amount.cumsum(0) - amount
    which = torch.repeat_interleave(torch.arange(len(kept), device=screen.device), amount)
    step = torch.arange(len(which), device=screen.device) - begin[which]
    start_x, start_y = low_x + 0.5 - x[kept, 0], low_y + 0.5 - y[kept, 0]
    table = torch.stack((a1, b1, a2, b2, start_x, start_y, wide.float()), 1)[which]
    down = torch.div(step.float() + 0.5, table[:, 6]).floor_()
    across = step - (down * table[:, 6]).long()
    px, py = table[:, 4] + across, table[:, 5] + down
    w1 = table[:, 0] * px + table[:, 1] * py
    w2 = table[:, 2] * px + table[:, 3] * py
    inside = ((w1 >= 0) & (w2 >= 0) & (w1 + w2 <= 1)).nonzero()[:, 0]
    which, w1, w2 = which[inside], w1[inside], w2[inside]
    frame = kept // len(triangles)
    corner = (frame * height + low_y.long()) * width + low_x.long()
    pixel = corner[which] + down[inside].long() * width + across[inside]
    depth = z[kept, 0][which] + w1 * rise1[which] + w2 * rise2[which]
    owner = frame * (total or len(triangles)) + kept % len(triangles) + first
    return Fragments(owner[which], pixel, torch.stack((w1, w2), 1), depth)


def race(
    screen: Tensor,
    triangles: Tensor,
    size: tuple[int, int],
    keys: Tensor,
    cull: bool,
    first: int = 0,
    total: int = 0,
) -> None:
    """Let triangles compete for ``keys`` (N * H * W,) int64, in place: the nearest wins, then the last.

    ``cull`` leaves out those facing away. Where the triangles are rows ``first`` on of a list of ``total``,
    they are numbered in that list.
    """
    total = total or len(triangles)
    if native := usable(screen):
        screen, triangles = screen.contiguous(), triangles.contiguous()
        native.heads_race(
            at(screen), whole(screen.shape[0]), whole(screen.shape[1]), at(triangles), whole(len(triangles)),
            size[0], size[1], int(cull), whole(first), whole(total), at(keys),
        )  # fmt: skip
        return
    race_fragments(spread(screen, triangles, size, cull, first, total), keys)


def race_fragments(fragments: Fragments, keys: Tensor) -> None:
    """`race` of fragments, by PyTorch."""
    bits = fragments.inverse_depth.view(torch.int32).long() << _KEY_SHIFT
    keys.scatter_reduce_(0, fragments.pixel, bits | fragments.owner, "amax")


def resolve(keys: Tensor, screen: Tensor, triangles: Tensor, size: tuple[int, int]) -> Surface:
    """The surface that won, from keys of triangles numbered as in (T, 3)."""
    if native := usable(screen):
        return _resolve_natively(native, keys, screen.contiguous(), triangles, size)
    height, width = size
    pixel = keys.nonzero()[:, 0]
    owner = keys[pixel] & ((1 << _KEY_SHIFT) - 1)
    frame = owner // len(triangles)
    triangle = owner - frame * len(triangles)
    flat = screen.flatten(0, 1)
    corners = flat[triangles[triangle] + frame.unsqueeze(1) * screen.shape[1]]  # (P, 3, 3)
    x, y, z = corners.unbind(-1)
    inner = pixel - frame * (height * width)
    row = torch.div(inner, width, rounding_mode="floor")
    px, py = (inner - row * width) + 0.5 - x[:, 0], row + 0.5 - y[:, 0]
    dx1, dy1, dx2, dy2 = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0], x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    over = 1.0 / (dx1 * dy2 - dx2 * dy1)
    w1, w2 = (px * dy2 - dx2 * py) * over, (dx1 * py - px * dy1) * over
    shares = torch.stack((1 - w1 - w2, w1, w2), 1) * z
    depth = shares.sum(1)
    return Surface(size, screen.shape[0], pixel, triangle, shares / depth.unsqueeze(1), depth)


def _resolve_natively(
    native: ctypes.CDLL, keys: Tensor, screen: Tensor, triangles: Tensor, size: tuple[int, int]
) -> Surface:
    room = int(keys.count_nonzero())
    pixel, triangle = torch.empty(room, dtype=torch.int64), torch.empty(room, dtype=torch.int64)
    weights, depth = torch.empty(room, 3), torch.empty(room)
    native.heads_resolve(
        at(keys), at(screen), whole(screen.shape[0]), whole(screen.shape[1]), at(triangles), whole(len(triangles)),
        size[0], size[1], at(pixel), at(triangle), at(weights), at(depth),
    )  # fmt: skip
    return Surface(size, screen.shape[0], pixel, triangle, weights, depth)


def nearer(
    screen: Tensor, triangles: Tensor, size: tuple[int, int], solid: Tensor | None = None, bias: float = 0.0
) -> Fragments:
    """All pixels inside triangles (T, 3) that lie, by ``bias``, before ``solid`` (N * H * W,) inverse depth."""
    native = usable(screen)
    if native is None:
        found = spread(screen, triangles, size, cull=False)
        if solid is None:
            return found
        kept = found.inverse_depth + bias > solid[found.pixel]
        return Fragments(*(getattr(found, name)[kept] for name in Fragments.__slots__))
    screen, triangles = screen.contiguous(), triangles.contiguous()
    room = 1 << 19
    while True:
        owner, pixel = torch.empty(room, dtype=torch.int64), torch.empty(room, dtype=torch.int64)
        weights, depth = torch.empty(room, 2), torch.empty(room)
        count = native.heads_spread(
            at(screen), whole(screen.shape[0]), whole(screen.shape[1]), at(triangles), whole(len(triangles)),
            size[0], size[1], at(solid), ctypes.c_float(bias), whole(room), at(owner), at(pixel), at(weights),
            at(depth),
        )  # fmt: skip
        if count <= room:
            return Fragments(owner[:count], pixel[:count], weights[:count], depth[:count])
        room = count


def draw_triangles(screen: Tensor, triangles: Tensor, size: tuple[int, int], cull: bool = True) -> Surface:
    """The visible surface of triangles (T, 3) over screen places (N, V, 3) in frames of (height, width)."""
    keys = torch.zeros(screen.shape[0] * size[0] * size[1], dtype=torch.int64, device=screen.device)
    race(screen, triangles, size, keys, cull)
    return resolve(keys, screen, triangles, size)


def depth_map(screen: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """The nearest third coordinate (N, H, W) of the triangles; minus infinity where there is none."""
    out = torch.full((screen.shape[0] * size[0] * size[1],), -torch.inf, device=screen.device)
    if native := usable(screen):
        screen, triangles = screen.contiguous(), triangles.contiguous()
        native.heads_depth(
            at(screen), whole(screen.shape[0]), whole(screen.shape[1]), at(triangles), whole(len(triangles)),
            size[0], size[1], at(out),
        )  # fmt: skip
        return out.view(screen.shape[0], *size)
    fragments = spread(screen, triangles, size, cull=False)
    out.scatter_reduce_(0, fragments.pixel, fragments.inverse_depth, "amax")
    return out.view(screen.shape[0], *size)


def interpolate(surface: Surface, triangles: Tensor, values: Tensor) -> Tensor:
    """Values of vertices (N, V, C) on the surface, as columns (C, P)."""
    if native := usable(values):
        values, count = values.contiguous(), len(surface.pixel)
        result = torch.empty(values.shape[2], count)
        native.heads_interpolate(
            at(surface.pixel), at(surface.triangle), at(surface.weights), whole(count), at(triangles), at(values),
            whole(values.shape[1]), whole(surface.size[0] * surface.size[1]), values.shape[2], at(result),
        )  # fmt: skip
        return result
    vertex = triangles[surface.triangle] + surface.frame.unsqueeze(1) * values.shape[1]
    flat = values.flatten(0, 1)
    out = flat[vertex[:, 0]] * surface.weights[:, :1]
    out = out.addcmul_(flat[vertex[:, 1]], surface.weights[:, 1:2])
    return out.addcmul_(flat[vertex[:, 2]], surface.weights[:, 2:]).T.contiguous()


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals (N, V, 3), area-weighted, of triangles (T, 3) over (N, V, 3)."""
    a, b, c = (vertices[:, triangles[:, k]] for k in range(3))
    face = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total.index_add_(1, triangles[:, k], face)
    return total / total.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def blend_weights(pixel: Tensor, inverse_depth: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """How much of each translucent fragment is seen through those before it.

    Args:
        pixel: (R,) int64. inverse_depth: (R,) positive. alpha: (R,) in [0, 1).

    Returns:
        (order (R,) in which to read the fragments, weight (R,) in that order).
    """
    order = ((pixel << _KEY_SHIFT) | inverse_depth.view(torch.int32).long()).argsort()
    pixel, alpha = pixel[order], alpha[order]
    through = torch.log1p(-alpha.double().clamp(max=0.9999))
    passed = through.flip(0).cumsum(0).flip(0)  # this one and all after it, over all pixels
    last = torch.ones_like(pixel, dtype=torch.bool)
    last[:-1] = pixel[1:] != pixel[:-1]
    ends = last.nonzero()[:, 0]
    segment = last.long().cumsum(0) - last.long()
    beyond = torch.cat((passed[1:], passed.new_zeros(1)))[ends]  # what lies in later pixels
    return order, (alpha * (passed - through - beyond[segment]).exp()).float()


def inside_polygon(ring: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels inside closed rings (N, K, 2) of columns and rows, (N, H, W) bool, by counting crossings."""
    height, width = size
    count = ring.shape[0]
    out = torch.zeros(count, height, width, dtype=torch.bool, device=ring.device)
    low, high = ring.flatten(0, 1).amin(0).floor().long(), ring.flatten(0, 1).amax(0).ceil().long()
    left, right = max(int(low[0]), 0), min(int(high[0]), width)
    top, bottom = max(int(low[1]), 0), min(int(high[1]), height)
    if left >= right or top >= bottom:
        return out
    x = (torch.arange(left, right, device=ring.device) + 0.5).view(1, 1, 1, -1)
    y = (torch.arange(top, bottom, device=ring.device) + 0.5).view(1, 1, -1)
    x0, y0 = ring.unsqueeze(2).unbind(-1)  # (N, K, 1)
    x1, y1 = ring.roll(-1, 1).unsqueeze(2).unbind(-1)
    spans = (y0 > y) != (y1 > y)  # (N, K, rows)
    across = x0 + (y - y0) * (x1 - x0) / torch.where(spans, y1 - y0, 1.0)
    crossed = spans.unsqueeze(-1) & (across.unsqueeze(-1) > x)
    out[:, top:bottom, left:right] = crossed.sum(1) % 2 == 1
    return out
