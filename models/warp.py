"""Head pose as a smooth warp of the finished picture: turn, nod, tilt, shift and breath.

In: pictures (B, 3, H, W) with the head held still and poses (B, 6) per `models.face.POSE_DIMS`; out: moved
pictures of the same shape. The warp knows nothing of the person, only the framing (a face as in
`models.face`), so it serves drawn characters and photographs alike. Torch only; runs on the engine's thread.

The head is taken for a soft ellipsoid before a fixed backdrop. Each pose channel moves pixels along a
precomputed field, and the fields add up, so one small matrix product gives the sampling grid. The fields
fade towards the sides and the foot of the picture; what would still be read from beyond a border is
mirrored, so that no emptiness shows. Sampling is cubic: a linear kernel would blur every moving frame and
make still ones look sharper.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.native.kernels import Kernels, chunk_fields
from models.face import CANVAS_PX, EYE_LINE_Y, MOUTH_LINE_Y, POSE_DIMS, REACH_PX

_RELIEF_PX: Final = 38.0  # how far the middle of the face stands out before the head's edge
_NOSE_PX: Final = 9.0  # and the nose before that
_AXIS_PX: Final = 14.0  # how far the head's edge stands out before the axis it turns about
_PIVOT_Y: Final = 222.0  # the head tilts about the root of the neck
_BODY_SHARE: Final = 0.3  # how much of the head's shift the shoulders follow
_BREATH_BODY_PX: Final = 2.4
_BREATH_HEAD_PX: Final = 1.2
COEFFICIENTS: Final = 9


class HeadWarp:
    """Moves heads in pictures of one size.

    Args:
        height: rows of the pictures.
        width: columns; the framing of `models.face` is scaled to this size.
        device: where the pictures lie.
        kernels: this machine's CPU kernels for `to_bytes`; None takes PyTorch's.

    Raises:
        ValueError: for a size below 16 pixels.
    """

    def __init__(
        self,
        height: int,
        width: int,
        device: torch.device | str = "cpu",
        kernels: Kernels | None = None,
    ) -> None:
        if height < 16 or width < 16:
            raise ValueError(
                f"Expected pictures of at least 16x16 pixels, got {height}x{width}; use a larger canvas."
            )
        self.height, self.width, self.kernels = height, width, kernels
        device = torch.device(device)
        self._fields = _reading_fields(height, width, device)
        x, y = _canvas_places(height, width, device)
        unit = torch.stack((x, y), -1) * (2.0 / CANVAS_PX) - 1.0
        self._rest = unit.reshape(1, -1).contiguous()
        if kernels is not None:
            self._chunks = tuple(chunk_fields(part, height, width) for part in (self._rest, self._fields))

    def __call__(self, frames: Tensor, pose: Tensor) -> Tensor:
        """Move the heads.

        Args:
            frames: (B, 3, H, W) floating point in [0, 1].
            pose: (B, 6) per `POSE_DIMS`: radians, radians, radians, canvas pixels, canvas pixels, 0..1.

        Returns:
            (B, 3, H, W), dtype of ``frames``; pictures with an all-zero pose come back unchanged to the bit.

        Raises:
            ValueError: for other shapes.
        """
        self._check(frames, pose)
        pose = pose.to(self._fields)
        still = (pose == 0.0).all(1)
        recording = (
            pose.is_cuda and torch.cuda.is_current_stream_capturing()
        )  # then nothing may be waited for
        if not recording and bool(still.all()):
            return frames
        grid = self.sampling_grid(pose)
        moved = F.grid_sample(
            frames.float(), grid, mode="bicubic", padding_mode="border", align_corners=False
        )
        moved = moved.clamp_(0.0, 1.0)  # the cubic kernel overshoots at edges
        if recording or bool(still.any()):
            moved = torch.where(still.view(-1, 1, 1, 1), frames.float(), moved)
        return moved.to(frames.dtype)

    def to_bytes(self, frames: Tensor, pose: Tensor | None) -> Tensor:
        """Move the heads and round to pixels, in one pass where this machine's own kernels are at hand.

        Args:
            frames: (B, 3, H, W) as for a call; channels-last in memory is free of copies.
            pose: (B, 6), or None to leave the heads still.

        Returns:
            (B, H, W, 3) uint8.
        """
        if self.kernels is not None:
            self._check(frames, torch.zeros(len(frames), len(POSE_DIMS)) if pose is None else pose)
            turns = torch.zeros(len(frames), COEFFICIENTS) if pose is None else coefficients_of(pose.float())
            canvas = frames.permute(0, 2, 3, 1).contiguous()
            rest, fields = self._chunks
            return self.kernels.warp(canvas, rest, fields, turns.contiguous())
        moved = frames if pose is None else self(frames, pose)
        return (moved * 255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def sampling_grid(self, pose: Tensor) -> Tensor:
        """Where each pixel is read from, (B, H, W, 2) in [-1, 1] as `grid_sample` takes it."""
        grid = torch.addmm(self._rest, coefficients_of(pose), self._fields)
        grid = 2.0 * grid.clamp(-1.0, 1.0) - grid  # mirror at the borders
        return grid.view(-1, self.height, self.width, 2)

    def _check(self, frames: Tensor, pose: Tensor) -> None:
        if frames.ndim != 4 or tuple(frames.shape[2:]) != (self.height, self.width):
            expected = f"(B, 3, {self.height}, {self.width})"
            raise ValueError(
                f"Expected frames of shape {expected}, got {tuple(frames.shape)}; resize them first."
            )
        if tuple(pose.shape) != (frames.shape[0], len(POSE_DIMS)):
            expected = f"({frames.shape[0]}, {len(POSE_DIMS)})"
            raise ValueError(
                f"Expected pose of shape {expected}, got {tuple(pose.shape)}; give one row per frame."
            )


def coefficients_of(pose: Tensor) -> Tensor:
    """Weights of the fields, (B, K), all zero for a zero pose."""
    yaw, pitch, roll, shift_x, shift_y, breath = pose.unbind(1)
    return torch.stack(
        (
            yaw.sin(),
            1.0 - yaw.cos(),
            pitch.sin(),
            1.0 - pitch.cos(),
            roll.sin(),
            1.0 - roll.cos(),
            shift_x,
            shift_y,
            breath,
        ),
        1,
    )


def _canvas_places(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Canvas columns and rows of the pixels of a picture, (H, W) each."""
    rows = (torch.arange(height, device=device) + 0.5) * (CANVAS_PX / height)
    columns = (torch.arange(width, device=device) + 0.5) * (CANVAS_PX / width)
    y, x = torch.meshgrid(rows.float(), columns.float(), indexing="ij")
    return x, y


def _reading_fields(height: int, width: int, device: torch.device) -> Tensor:
    """How far from its pixel each coefficient reads, (K, H W 2) in [-1, 1] of the picture.

    Sampling looks backwards: a pixel that moved right is read from its left.
    """
    fields = displacement_fields(
        *_canvas_places(height, width, device)
    )  # (K, 2, H, W) canvas pixels per unit
    scale = torch.tensor([2.0 / CANVAS_PX, 2.0 / CANVAS_PX], device=device).view(1, 2, 1, 1)
    return (-fields * scale).permute(0, 2, 3, 1).reshape(COEFFICIENTS, -1).contiguous()


def _ramp(start: float, end: float, value: Tensor) -> Tensor:
    """Smooth step from 0 at ``start`` to 1 at ``end``."""
    t = ((value - start) / (end - start)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def displacement_fields(x: Tensor, y: Tensor) -> Tensor:
    """Forward displacement per coefficient, (K, 2, H, W) in canvas pixels, x then y.

    Args:
        x: (H, W) canvas columns of the pixels.
        y: (H, W) canvas rows.

    On the canvas they are as they are; beyond it, in a larger picture, they fade out within `REACH_PX`.
    """
    middle = CANVAS_PX / 2
    centre_y = (EYE_LINE_Y + MOUTH_LINE_Y) / 2 - 16.0
    rx, ry = x - middle, y - centre_y
    reach = torch.sqrt((rx / 80.0) ** 2 + (ry / 104.0) ** 2)
    above = _ramp(258.0, 196.0, y)
    head = _ramp(2.0, 0.85, reach) * above
    sides = _ramp(128.0, 96.0, rx.abs())
    relief = (1.0 - reach * reach).clamp_min(0.0) ** 2 * _RELIEF_PX
    nose = torch.exp(-((rx / 15.0) ** 2) - ((y - centre_y - 18.0) / 20.0) ** 2) * _NOSE_PX
    depth = relief + nose + head * _AXIS_PX
    body = _ramp(190.0, 236.0, y)
    foot = _ramp(256.0, 226.0, y)
    px, py = rx, y - _PIVOT_Y
    follow = head + _BODY_SHARE * body * (1.0 - head)
    none = torch.zeros_like(x)
    breath = -(_BREATH_HEAD_PX * head + _BREATH_BODY_PX * body * (1.0 - head)) * foot
    near = _ramp(128.0 + REACH_PX, 128.0, rx.abs()) * _ramp(CANVAS_PX + REACH_PX, CANVAS_PX, y)
    pairs = (
        (depth, none),  # sin yaw
        (-rx * head * sides, none),  # 1 - cos yaw
        (none, -depth),  # sin pitch
        (none, -ry * head),  # 1 - cos pitch
        (-py * head, px * head),  # sin roll
        (-px * head, -py * head),  # 1 - cos roll
        (follow * sides, none),  # shift x
        (none, follow * torch.maximum(foot, head)),  # shift y
        (none, breath),
    )
    return torch.stack([torch.stack(pair) for pair in pairs]) * near
