"""The head-stabilised canvas: eyes and mouth on the lines of `models.face`, whatever the head does.

In: landmarks (T, 5, 2) and pictures in source pixels. Out: canvases (T, 256, 256, 3). A similarity is a pair of
complex numbers: canvas = turn * source + shift, with points as x + iy. Landmarks place the face; what jitter they
leave is taken out by registering the upper face of every picture to the clip's mean (Gauss-Newton).

Source: Baker and Matthews 2004, inverse compositional alignment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from distill.prepare.media import UInt8
from models.face import CANVAS_PX, EYE_LINE_Y
from models.framing.similarity import MIDDLE, TARGET, WEIGHTS, Similarity, cut_placed, turns_of

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

WORK_SCALE = 1.5
WORK_MARGIN = 12
"""Canvases are first cut with a margin (canvas px) and larger, so that registering them loses nothing."""
WORK_PX = round((CANVAS_PX + 2 * WORK_MARGIN) * WORK_SCALE)

UPPER_FACE = (62, 84, 132, 74)
"""(left, top, width, height) in canvas px of what registration looks at: brows, eyes, nose; no mouth."""
REACH_PX = 10.0
"""Registration that wants to move a picture further than this is not believed."""
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Framing:
    """A similarity for each of T pictures: canvas = turn * source + shift."""

    turn: Complexes  # (T,)
    shift: Complexes  # (T,)

    def __post_init__(self) -> None:
        if self.turn.shape != self.shift.shape or self.turn.ndim != 1:
            raise ValueError(f"Expected two arrays (T,), got {self.turn.shape} and {self.shift.shape}.")


def frame_landmarks(landmarks: Floats) -> Framing:
    """Similarities that put landmarks (T, 5, 2), NaN where unseen, on the lines; smooth in time."""
    marks = fill_gaps(landmarks)
    z = marks[..., 0] + 1j * marks[..., 1]
    points = np.stack((z[:, 0], z[:, 1], (z[:, 3] + z[:, 4]) / 2), 1)
    middle, goal = points @ WEIGHTS, TARGET @ WEIGHTS
    turn = turns_of(points)
    log_turn = np.log(np.abs(turn)) + 1j * np.unwrap(np.angle(turn))
    turn = np.exp(smooth(log_turn.real, 8.0) + 1j * smooth(log_turn.imag, 3.0))
    middle = smooth(middle.real, 1.2) + 1j * smooth(middle.imag, 1.2)
    shift = goal - turn * middle
    # a mouth that is open on average would push the eyes up; they are what has to lie on its line
    eyes = (turn[:, None] * z[:, :2] + shift[:, None]).imag.mean(1)
    return Framing(turn, shift + 1j * (EYE_LINE_Y - float(np.median(eyes))))


def frame_square(width: int, height: int, count: int) -> Framing:
    """Similarities that put the middle square of every picture on the canvas, as it is."""
    edge = min(width, height)
    turn = CANVAS_PX / edge
    corner = (width - edge) / 2 + 1j * (height - edge) / 2
    return Framing(np.full(count, turn + 0j), np.full(count, -turn * corner))


def fill_gaps(landmarks: Floats) -> Floats:
    """Landmarks (T, 5, 2) without NaN: straight lines across what is missing, single outliers taken out."""
    flat = landmarks.reshape(len(landmarks), -1).copy()
    at = np.flatnonzero(~np.isnan(flat).any(1))
    for column in flat.T:
        column[:] = np.interp(np.arange(len(flat)), at, column[at])
    padded = np.pad(flat, ((2, 2), (0, 0)), mode="edge")
    median = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0), axis=-1)
    off = np.abs(flat - median) > 0.08 * np.ptp(flat[:, 0::2], axis=1).mean()
    return np.where(off, median, flat).reshape(landmarks.shape)


def smooth(track: Floats, sigma: float) -> Floats:
    """Gaussian smoothing of (T,), the ends mirrored about their values so that a steady drift stays one."""
    reach = min(int(3 * sigma) + 1, len(track) - 1)
    if reach < 1:
        return track
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(track, reach, mode="reflect", reflect_type="odd")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def cut_work(image: UInt8, turn: complex, shift: complex) -> UInt8:
    """One picture on the enlarged canvas (WORK_PX, WORK_PX, 3), edge pixels repeated beyond the picture."""
    placed = Similarity(turn, shift + WORK_MARGIN * (1 + 1j)).scaled(WORK_SCALE)
    return cut_placed(image, placed, WORK_PX)


def register(work: UInt8) -> tuple[Floats, float]:
    """Small similarities that lay the upper face of every work canvas on the clip's mean.

    Args:
        work: (T, WORK_PX, WORK_PX, 3).

    Returns:
        ((T, 4) right, down (canvas px), clockwise (radians), larger; likeness 0..1: how well all but the worst
        twentieth of the pictures agree with the clip's mean once they lie on it).
    """
    grey = torch.tensor([0.299, 0.587, 0.114])
    luma = torch.stack([torch.from_numpy(image).float() @ grey for image in work])[:, None]
    luma = F.avg_pool2d(luma, 3, stride=1, padding=1)
    moves = torch.zeros(len(work), 4, dtype=torch.float64)
    left, top, width, height = UPPER_FACE
    xs, ys = torch.arange(width).double() + left + 0.5, torch.arange(height).double() + top + 0.5
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    for _ in range(ROUNDS):
        seen = _normal(_sample(luma, moves, x, y))
        step = _gauss_newton(seen, seen.mean(0), x, y)
        moves = (moves + step - step.mean(0)).clamp(-REACH_PX, REACH_PX)
    moves[moves[:, :2].abs().amax(1) >= REACH_PX] = 0.0
    seen = _normal(_sample(luma, moves, x, y))
    alike = (seen * _normal(seen.mean(0, keepdim=True))).mean((1, 2))
    return moves.numpy(), float(alike.quantile(0.05))


def _sample(luma: Tensor, moves: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Luma (T, h, w) at canvas points (h, w) moved by (T, 4)."""
    px, py = moved(x - MIDDLE, y - EYE_LINE_Y, moves)
    grid = (
        torch.stack((px + MIDDLE, py + EYE_LINE_Y), -1).add(WORK_MARGIN).mul(WORK_SCALE * 2 / WORK_PX).sub(1)
    )
    return F.grid_sample(luma, grid.float(), padding_mode="border", align_corners=False)[:, 0]


def moved(x: Tensor, y: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Points about the canvas's pivot after (T, 4) moves: (T, h, w) each."""
    dx, dy, angle, growth = (moves[:, i, None, None] for i in range(4))
    return x + dx - angle * y + growth * x, y + dy + angle * x + growth * y


def _normal(seen: Tensor) -> Tensor:
    """Mean 0 and deviation 1 for each picture, so that light does not matter."""
    flat = seen - seen.mean((1, 2), keepdim=True)
    return flat / flat.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-3)


def _gauss_newton(seen: Tensor, mean: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """One step (T, 4) that brings pictures (T, h, w) closer to their mean; lids that blink weigh little."""
    gy, gx = torch.gradient(mean)
    cx, cy = (x - MIDDLE).float(), (y - EYE_LINE_Y).float()
    slopes = torch.stack((gx, gy, gy * cx - gx * cy, gx * cx + gy * cy)).flatten(1)  # (4, P)
    error = (mean - seen).flatten(1)  # (T, P)
    scale = error.abs().median(dim=1, keepdim=True).values.clamp_min(0.02) * 2
    weight = 1 / (1 + (error / scale).square())
    normal = torch.einsum("ip,tp,jp->tij", slopes, weight, slopes) + torch.eye(4) * 1e-3
    aim = torch.einsum("ip,tp,tp->ti", slopes, weight, error)
    return torch.linalg.solve(normal.double(), aim.double())


def cut_canvas(work: UInt8, move: Floats) -> UInt8:
    """The finished canvas (256, 256, 3) of one work canvas and its move (4,)."""
    dx, dy, angle, growth = move
    turn = (1 + growth) + 1j * angle
    pivot = MIDDLE + 1j * EYE_LINE_Y
    origin = (turn * (0 - pivot) + pivot + dx + 1j * dy + WORK_MARGIN * (1 + 1j)) * WORK_SCALE
    matrix = (
        turn.real * WORK_SCALE, -turn.imag * WORK_SCALE, origin.real,
        turn.imag * WORK_SCALE, turn.real * WORK_SCALE, origin.imag,
    )  # fmt: skip
    size = (CANVAS_PX, CANVAS_PX)
    return np.asarray(
        Image.fromarray(work).transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    )
