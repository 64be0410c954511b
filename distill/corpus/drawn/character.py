"""A character that can be drawn quickly many times: static layers once, moving parts for each frame.

In: an `Identity`, then mouth (B, F, 6) and expression (B, F, 4) channels; out: frames (B, F, 3, H, W) in
[0, 1]. Three rectangles inside the face box move with speech: the lower face (its skin sinks with the jaw),
the mouth on it, and eyes with brows. All else is copied from the static picture, so it is the same to the
bit in every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from distill.corpus.drawn import hair, head, scene
from distill.corpus.drawn.canvas import FULL_BOX, Box, make_grid, paint
from distill.corpus.drawn.eyes import EYE_BOX, paint_eyes
from distill.corpus.drawn.identity import Identity
from distill.corpus.drawn.looks import Look, look_of
from distill.corpus.drawn.mouth import JAW_DROP_PX, MOUTH_BOX, paint_mouth
from models.face import EXPRESSION_DIMS, FACE_BOX, MOUTH_DIMS

JAW_BOX: Final[Box] = (48, 146, 160, 78)
"""The rectangle of skin that sinks with the jaw: the lower part of the face box."""


@dataclass(frozen=True, slots=True)
class _Layers:
    """Static layers of B characters over one box."""

    under: Tensor  # (B, 3, H, W) everything behind the face
    face: Tensor  # (B, 4, H, W) skin, premultiplied
    over: Tensor  # (B, 4, H, W) hair and glasses before the face, premultiplied


def _slice(outer: Box, inner: Box) -> tuple[slice, slice]:
    """Rows and columns of ``inner`` within a picture of ``outer``."""
    top, left = inner[1] - outer[1], inner[0] - outer[0]
    return slice(top, top + inner[3]), slice(left, left + inner[2])


def _premultiply(colour: Tensor, alpha: Tensor) -> Tensor:
    return torch.cat((colour * alpha, alpha), 1)


def _lay(under: Tensor, layer: Tensor) -> Tensor:
    """Lay a premultiplied layer (N, 4, H, W) over (N, 3, H, W)."""
    return torch.addcmul(under + layer[:, :3], under, layer[:, 3:], value=-1.0)


def _check_box(box: Box) -> None:
    left, top, width, height = box
    _, _, full_width, full_height = FULL_BOX
    if (
        left < 0
        or top < 0
        or width < 1
        or height < 1
        or left + width > full_width
        or top + height > full_height
    ):
        raise ValueError(
            f"Expected a box inside {FULL_BOX} as (left, top, width, height), got {box}; shrink it."
        )


def _union(a: Box, b: Box) -> Box:
    left, top = min(a[0], b[0]), min(a[1], b[1])
    right, bottom = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return left, top, right - left, bottom - top


class Character:
    """B characters with their static layers drawn once.

    Args:
        identity: the B characters; frames are drawn on its device.
        box: (left, top, width, height) that is drawn at most; None means the whole canvas.
    """

    def __init__(self, identity: Identity, box: Box | None = None) -> None:
        box = FULL_BOX if box is None else box
        _check_box(box)
        self.identity = identity
        self.look: Look = look_of(identity)
        self.box: Box = box
        self._area = _union(box, FACE_BOX)  # the moving parts always need their own skin
        layers = self._draw_layers()
        self._plate = _lay(_lay(layers.under, layers.face), layers.over)
        rows, columns = _slice(self._area, JAW_BOX)
        self._under = layers.under[..., rows, columns].contiguous()
        self._skin = layers.face[..., rows, columns].contiguous()
        self._over_jaw = layers.over[..., rows, columns].contiguous()
        rows, columns = _slice(self._area, EYE_BOX)
        self._eye_skin = _lay(layers.under[..., rows, columns], layers.face[..., rows, columns])
        self._over_eyes = layers.over[..., rows, columns].contiguous()

    def _draw_layers(self) -> _Layers:
        who, look = self.identity, self.look
        grid = make_grid(self._area, who.device)
        under = scene.backdrop(who, look, grid)
        under = hair.paint_back_hair(under, who, look, grid)
        under = head.paint_neck(under, who, look, grid)
        under = scene.paint_clothes(under, who, look, grid)
        under = head.paint_ears(under, who, look, grid)
        skin, alpha = head.face_layer(who, look, grid)
        skin = paint(skin, look.skin_shadow, hair.hair_shadow_on_face(who, grid) * 0.45)
        face = _premultiply(self._grained(skin, grid.y), alpha)
        fringe, fringe_alpha = hair.front_hair_layer(who, look, grid)
        lens, lens_alpha = scene.glasses_layer(who, look, grid)
        glasses, front = _premultiply(lens, lens_alpha), _premultiply(fringe, fringe_alpha)
        return _Layers(self._grained(under, grid.y), face, front + glasses * (1.0 - front[:, 3:]))

    def _grained(self, picture: Tensor, y: Tensor) -> Tensor:
        """Add the paper grain of matte styles: one fixed pattern of the canvas."""
        noise = torch.rand(FULL_BOX[3], FULL_BOX[2], generator=torch.Generator().manual_seed(7)) - 0.5
        rows, columns = _slice(FULL_BOX, self._area)
        return (picture + noise[rows, columns].to(y.device) * 2.0 * self.look.grain).clamp(0.0, 1.0)

    def frames(self, mouth: Tensor, expression: Tensor, box: Box | None = None) -> Tensor:
        """Draw frames.

        Args:
            mouth: (B, F, 6) per `MOUTH_DIMS`.
            expression: (B, F, 4) per `EXPRESSION_DIMS`.
            box: part to return, inside the character's own box; None means all of it.

        Returns:
            (B, F, 3, H, W) float32 in [0, 1].

        Raises:
            ValueError: for wrong shapes or a box that was not drawn.
        """
        box = self.box if box is None else box
        self._check(mouth, expression, box)
        count = mouth.shape[1]
        work = self._plate.unsqueeze(1).expand(-1, count, -1, -1, -1)
        target = _union(box, FACE_BOX)
        rows, columns = _slice(self._area, target)
        work = work[..., rows, columns].reshape(-1, 3, target[3], target[2]).contiguous()
        who, mouth, expression = self.identity.repeat(count), mouth.flatten(0, 1), expression.flatten(0, 1)
        look = look_of(who)
        rows, columns = _slice(target, JAW_BOX)
        work[..., rows, columns] = self._draw_jaw(who, look, mouth.float(), count)
        rows, columns = _slice(target, EYE_BOX)
        work[..., rows, columns] = self._draw_eyes(who, look, expression.float(), count)
        rows, columns = _slice(target, box)
        drawn = work[..., rows, columns].clamp(0.0, 1.0)
        return drawn.view(-1, count, 3, box[3], box[2])

    def _check(self, mouth: Tensor, expression: Tensor, box: Box) -> None:
        size = len(self.identity)
        if mouth.ndim != 3 or mouth.shape[0] != size or mouth.shape[2] != len(MOUTH_DIMS):
            raise ValueError(
                f"Expected mouth of shape ({size}, F, {len(MOUTH_DIMS)}), got {tuple(mouth.shape)}."
            )
        if tuple(expression.shape) != (size, mouth.shape[1], len(EXPRESSION_DIMS)):
            expected = (size, mouth.shape[1], len(EXPRESSION_DIMS))
            raise ValueError(f"Expected expression of shape {expected}, got {tuple(expression.shape)}.")
        _check_box(box)
        if _union(box, self._area) != self._area:
            raise ValueError(
                f"Expected a box inside {self._area}, got {box}; draw the character over a larger box."
            )

    def _draw_jaw(self, who: Identity, look: Look, mouth: Tensor, count: int) -> Tensor:
        """Lower face with moved skin and the mouth on it, (N, 3, h, w) of `JAW_BOX`."""
        skin = _sink(self._skin, _jaw_rows(who, mouth), count)
        picture = _lay(self._under.repeat_interleave(count, 0), skin)
        rows, columns = _slice(JAW_BOX, MOUTH_BOX)
        grid = make_grid(MOUTH_BOX, who.device)
        picture[..., rows, columns] = paint_mouth(picture[..., rows, columns], who, look, mouth, grid)
        return _lay(picture, self._over_jaw.repeat_interleave(count, 0))

    def _draw_eyes(self, who: Identity, look: Look, expression: Tensor, count: int) -> Tensor:
        skin = self._eye_skin.repeat_interleave(count, 0)
        picture = paint_eyes(skin, who, look, expression, make_grid(EYE_BOX, who.device))
        return _lay(picture, self._over_eyes.repeat_interleave(count, 0))


def _jaw_rows(who: Identity, mouth: Tensor) -> Tensor:
    """For each row of `JAW_BOX` the row (float, relative) of the closed face to take, (N, h)."""
    opened = mouth[:, 0].clamp(0.0, 1.0)
    drop = JAW_DROP_PX * opened * (1.0 - 0.15 * mouth[:, 2].clamp(0.0, 1.0))
    y = make_grid(JAW_BOX, who.device).y.view(1, -1)
    start, chin = 154.0, who.chin_y.view(-1, 1) + drop.view(-1, 1)
    t = ((y - start) / (chin - start)).clamp(0.0, 1.0)
    sink = drop.view(-1, 1) * t * t * (3.0 - 2.0 * t)
    end = JAW_BOX[1] + JAW_BOX[3] - 0.5
    fade = ((end - y) / (end - chin).clamp_min(1.0)).clamp(0.0, 1.0)
    return y - sink * fade - JAW_BOX[1] - 0.5


def _sink(layer: Tensor, source_row: Tensor, count: int) -> Tensor:
    """Resample rows of (B, C, h, w) at ``source_row`` (B * count, h) with Catmull-Rom weights."""
    height = layer.shape[2]
    rows = torch.arange(height, device=layer.device, dtype=torch.float32)
    d = (source_row.unsqueeze(-1) - rows).abs()  # (N, h, h)
    near = ((1.5 * d - 2.5) * d) * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    weight = torch.where(d < 1.0, near, torch.where(d < 2.0, far, 0.0))
    weight = weight / weight.sum(-1, keepdim=True)
    batch, channels, _, width = layer.shape
    flat = layer.permute(0, 2, 1, 3).reshape(batch, height, channels * width)
    moved = torch.matmul(weight.view(batch, count, height, height), flat.unsqueeze(1))
    return moved.view(batch * count, height, channels, width).permute(0, 2, 1, 3).contiguous()
