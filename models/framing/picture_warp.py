"""The head's pose and what moves within the face, applied to the user's own picture in one sampling.

In: pictures at their own size, poses, and what a decoder says of each face (`models.modules.mover.packed`). Out:
finished frames as bytes. The canvas may lie anywhere in the frames, turned and scaled: the head's fields and the
face's flow are laid out on it and led into the frame from there. So hair above the canvas goes with the head, and
what is far from it stays as it is. Torch only; runs on the engine's thread.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.native.kernels import Kernels
from models.face import CANVAS_PX
from models.framing.placement import Placement
from models.warp import COEFFICIENTS, coefficients_of, displacement_fields

_COARSE_CELLS: Final = 128  # a side, of the fields that are spread over pictures of any size
_PART_CELLS: Final = 208  # the same for a part of a picture that reaches beyond the canvas: as dense as on it


class PictureWarp:
    """Moves heads in the user's own picture, at its own size, together with what moves within each face.

    Args:
        placement: of the frames, which are as large as the pictures.
        device: where the pictures lie.
        kernels: this machine's CPU kernels; None takes PyTorch's.
    """

    def __init__(
        self, placement: Placement, device: torch.device | str = "cpu", kernels: Kernels | None = None
    ) -> None:
        self.placement, self.kernels = placement, kernels
        device = torch.device(device)
        self._cells = _COARSE_CELLS if placement.is_canvas else _PART_CELLS
        x, y = _places(placement, self._cells, self._cells, device)
        self._turn = _turned(placement, device)
        fields = -displacement_fields(x, y).permute(0, 2, 3, 1) * (2.0 / CANVAS_PX)
        self._fields = (fields @ self._turn).reshape(COEFFICIENTS, -1).contiguous()
        if kernels is not None:
            return
        rows = (torch.arange(placement.height, device=device) + 0.5) * (2.0 / placement.height) - 1.0
        columns = (torch.arange(placement.width, device=device) + 0.5) * (2.0 / placement.width) - 1.0
        across, down = torch.meshgrid(columns, rows, indexing="xy")
        self._rest = torch.stack((across, down), -1).unsqueeze(0)

    def __call__(
        self, pictures: Tensor, pose: Tensor | None, moves: Tensor, box: tuple[float, float, float, float]
    ) -> Tensor:
        """Move what moves within each face, move the heads and round to pixels: one sampling of the picture.

        Args:
            pictures: (B, H, W, 4) uint8 of `with_alpha`, each for N / B frames that follow each other.
            pose: (N, 6), or None to leave the heads still.
            moves: (N, h, w, 8) of `models.modules.mover.packed`.
            box: (left, top, width, height) that the moves lie over, on a canvas of `CANVAS_PX`.

        Returns:
            (N, H, W, C) uint8, C as the placement says.
        """
        count, (height, width) = len(moves), pictures.shape[1:3]
        turns = moves.new_zeros(count, COEFFICIENTS) if pose is None else coefficients_of(pose.float())
        offsets = (turns.to(self._fields) @ self._fields).view(count, self._cells, self._cells, 2)
        place = _box_of(self.placement, box)
        if not self.placement.is_canvas:
            moves = torch.cat((moves[..., :2] @ self._turn, moves[..., 2:]), dim=-1)
        if self.kernels is not None:
            return self.kernels.move(pictures, offsets, moves.contiguous(), place, self.placement.alpha)
        spread = F.interpolate(
            offsets.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=False
        )
        grid = self._rest + spread.permute(0, 2, 3, 1)
        told = look_up(moves, grid, place)
        grid = grid + told[..., :2]
        grid = 2.0 * grid.clamp(-1.0, 1.0) - grid
        each = (pictures.permute(0, 3, 1, 2).float() / 255).repeat_interleave(count // len(pictures), 0)
        moved = F.grid_sample(each, grid, mode="bicubic", padding_mode="border", align_corners=False)
        paint = torch.cat((told[..., 3:6], torch.ones_like(told[..., :1])), dim=-1)
        frames = torch.lerp(moved.permute(0, 2, 3, 1), paint, told[..., 2:3])[..., : self.placement.channels]
        return (frames * 255).round_().clamp_(0, 255).to(torch.uint8).contiguous()


def with_alpha(picture: Tensor) -> Tensor:
    """A picture (H, W, 3 or 4) uint8 as `PictureWarp` takes it, (1, H, W, 4): all there where it says nothing."""
    if picture.shape[2] == 3:
        picture = torch.cat((picture, torch.full_like(picture[..., :1], 255)), dim=-1)
    return picture.unsqueeze(0).contiguous()


def look_up(moves: Tensor, grid: Tensor, box: tuple[float, ...]) -> Tensor:
    """What moves say at places of the picture, zero outside their box.

    Args:
        moves: (N, h, w, 8).
        grid: (N, H, W, 2) places in [-1, 1] of the picture.
        box: six numbers that lay a place on the box, see `kernels.native.kernels.Kernels.move`.

    Returns:
        (N, H, W, 8), between the cells bilinearly, held at the box's own border cells.
    """
    x, y = grid.unbind(-1)  # box as numbers: a tensor made here would be waited for on CUDA
    inner = torch.stack(
        (
            2.0 * (box[0] * x + box[1] * y + box[2]) - 1.0,
            2.0 * (box[3] * x + box[4] * y + box[5]) - 1.0,
        ),
        dim=-1,
    )
    inside = (inner.abs() < 1.0).all(-1, keepdim=True)
    told = F.grid_sample(
        moves.permute(0, 3, 1, 2), inner, mode="bilinear", padding_mode="border", align_corners=False
    )
    return told.permute(0, 2, 3, 1) * inside


def _places(placement: Placement, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Canvas columns and rows of cells laid over frames, (rows, columns) each."""
    down = (torch.arange(rows, device=device) + 0.5) * (placement.height / rows)
    across = (torch.arange(columns, device=device) + 0.5) * (placement.width / columns)
    y, x = torch.meshgrid(down.float(), across.float(), indexing="ij")
    turn, shift = placement.similarity.turn, placement.similarity.shift
    return turn.real * x - turn.imag * y + shift.real, turn.imag * x + turn.real * y + shift.imag


def _turned(placement: Placement, device: torch.device) -> Tensor:
    """(2, 2) that leads a row (x, y) in [-1, 1] of the canvas to one in [-1, 1] of the frame; no shift."""
    back = CANVAS_PX / placement.similarity.turn
    per_x, per_y = 1.0 / placement.width, 1.0 / placement.height
    rows = ((back.real * per_x, back.imag * per_y), (-back.imag * per_x, back.real * per_y))
    return torch.tensor(rows, device=device)


def _box_of(placement: Placement, box: tuple[float, float, float, float]) -> tuple[float, ...]:
    """Six numbers that lay a place in [-1, 1] of a frame on a box of the canvas, as `look_up` takes them."""
    left, top, width, height = box
    turn, half_x, half_y = placement.similarity.turn, placement.width / 2, placement.height / 2
    middle = turn * complex(half_x, half_y) + placement.similarity.shift
    return (
        turn.real * half_x / width, -turn.imag * half_y / width, (middle.real - left) / width,
        turn.imag * half_x / height, turn.real * half_y / height, (middle.imag - top) / height,
    )  # fmt: skip
