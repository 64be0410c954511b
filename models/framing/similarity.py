"""From a picture to the canvas and back: similarities, and the one place that cuts canvases out of pictures.

In: pictures (H, W, 3) or (H, W) uint8 and points in their pixels. Out: canvases of any side. A point is x + iy,
continuous: the centre of the first pixel is 0.5 + 0.5i. The canvas is that of `models.face`, 256 px wide; a canvas
of another side is the same one, scaled.

Source: Umeyama 1991 for the similarity of three points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, FACE_BOX, MOUTH_LINE_Y

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

MIDDLE: Final = CANVAS_PX / 2
TARGET: Complexes = np.array(
    [
        MIDDLE - EYE_SPREAD_X + 1j * EYE_LINE_Y,
        MIDDLE + EYE_SPREAD_X + 1j * EYE_LINE_Y,
        MIDDLE + 1j * MOUTH_LINE_Y,
    ]
)
"""Where the two eyes and the middle of the mouth belong, canvas px."""
WEIGHTS: Floats = np.array([0.4, 0.4, 0.2])
"""How much each of them counts: the eyes stay where they are while mouth and chin move with speech."""
FADE_PX: Final = 8.0
"""Width of the canvas's rim within which a canvas that is put back gives way to the picture, canvas px."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """canvas = turn * picture + shift.

    Raises:
        ValueError: it has no way back.
    """

    turn: complex
    shift: complex

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (self.turn.real, self.turn.imag, self.shift.real, self.shift.imag)))
        if not finite or abs(self.turn) < 1e-9:
            raise ValueError(f"Expected a similarity that can be undone, got {self.turn} and {self.shift}.")

    def to_canvas(self, points: Complexes) -> Complexes:
        """Points of the picture as they lie on the canvas."""
        return np.asarray(self.turn * points + self.shift)

    def to_picture(self, points: Complexes) -> Complexes:
        """Points of the canvas as they lie in the picture."""
        return np.asarray((points - self.shift) / self.turn)

    def scaled(self, factor: float) -> Similarity:
        """The same for a canvas that is larger by a factor."""
        return Similarity(self.turn * factor, self.shift * factor)


def middle_square(width: int, height: int) -> Similarity:
    """For a picture that is laid out as a canvas already: its middle square, as it is."""
    edge = min(width, height)
    turn = CANVAS_PX / edge
    corner = (width - edge) // 2 + 1j * ((height - edge) // 2)
    return Similarity(turn + 0j, -turn * corner)


def turns_of(points: Complexes) -> Complexes:
    """Turn and scale (T,) that lay points (T, 3), two eyes and the mouth's middle, nearest to `TARGET`."""
    spread = points - (points @ WEIGHTS)[:, None]
    aim = TARGET - TARGET @ WEIGHTS
    return np.asarray((spread.conj() * aim) @ WEIGHTS / (np.abs(spread) ** 2 @ WEIGHTS))


def lay_on_lines(points: Complexes) -> Similarity:
    """The similarity of one face: scale and turn by eyes and mouth, the eyes on their line.

    Args:
        points: (3,) the viewer's left eye, right eye, the middle of the mouth, picture px.

    Raises:
        ValueError: the points are one.
    """
    if float(np.abs(points - points.mean()).max()) < 1e-6:
        raise ValueError("Expected three different points: two eyes and the mouth.")
    turn = complex(turns_of(points[None])[0])
    between = complex(points[:2].mean())
    middle = complex(points @ WEIGHTS)
    shift = complex(TARGET @ WEIGHTS) - turn * middle
    return Similarity(turn, shift + 1j * (EYE_LINE_Y - (turn * between + shift).imag))


def cut(picture: UInt8, similarity: Similarity, side: int = CANVAS_PX) -> UInt8:
    """Cut the canvas out of a picture.

    Args:
        picture: (H, W, 3) or (H, W) uint8.
        side: of the canvas that is wanted, px.

    Returns:
        (side, side, 3) or (side, side): antialiased; edge pixels repeated beyond the picture. A picture that is the
        canvas already comes back as it is.
    """
    return cut_placed(picture, similarity.scaled(side / CANVAS_PX), side)


def cut_placed(picture: UInt8, placed: Similarity, side: int) -> UInt8:
    """The same for a similarity that leads to the pixels (side, side) that are wanted."""
    ends = placed.to_picture(np.array([0j, side * (1 + 1j)]))
    first, last = complex(ends[0]), complex(ends[1])
    box = (round(first.real, 6), round(first.imag, 6), round(last.real, 6), round(last.imag, 6))
    height, width = picture.shape[:2]
    upright = placed.turn.imag == 0 and placed.turn.real > 0
    if upright and min(box[:2]) >= 0 and box[2] <= width and box[3] <= height:
        scaled = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS, box=box)
        return np.asarray(scaled)
    return _cut_turned(picture, placed, side)


def read_laid_out(path: Path, side: int) -> UInt8:
    """The canvas (side, side, 3) of one of the house's own drawn faces, whose picture is laid out as one."""
    with Image.open(path) as opened:
        picture = np.asarray(opened.convert("RGB"))
    return cut(picture, middle_square(picture.shape[1], picture.shape[0]), side)


def _cut_turned(picture: UInt8, placed: Similarity, side: int) -> UInt8:
    """Reduce the part that is seen, repeat its edges where the canvas reaches beyond, then turn it."""
    corners = placed.to_picture(np.array([0, side, side * 1j, side * (1 + 1j)]))
    height, width = picture.shape[:2]
    left, right = _inside(corners.real, width)
    top, bottom = _inside(corners.imag, height)
    part = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
    shrink = min(1.0, abs(placed.turn))  # antialiased first; the transform then only turns and enlarges
    size = (max(1, round(part.width * shrink)), max(1, round(part.height * shrink)))
    small = np.asarray(part.resize(size, Image.Resampling.LANCZOS))
    per_x, per_y = size[0] / part.width, size[1] / part.height
    first_x, last_x = ((corners.real.min() - left) * per_x, (corners.real.max() - left) * per_x)
    first_y, last_y = ((corners.imag.min() - top) * per_y, (corners.imag.max() - top) * per_y)
    pad_x = (_beyond(-first_x), _beyond(last_x - size[0]))
    pad_y = (_beyond(-first_y), _beyond(last_y - size[1]))
    padded = np.pad(small, (pad_y, pad_x, *((0, 0),) * (small.ndim - 2)), mode="edge")
    back = 1 / placed.turn
    origin = corners[0] - (left + 1j * top)
    matrix = (
        back.real * per_x, -back.imag * per_x, origin.real * per_x + pad_x[0],
        back.imag * per_y, back.real * per_y, origin.imag * per_y + pad_y[0],
    )  # fmt: skip
    image = Image.fromarray(padded)
    return np.asarray(image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))


def _inside(marks: Floats, size: int) -> tuple[int, int]:
    """The pixels [first, last) of a row of `size` that lie between the outermost marks, with two to spare."""
    first = min(max(math.floor(float(marks.min())) - 2, 0), size - 1)
    return first, max(min(math.ceil(float(marks.max())) + 2, size), first + 1)


def _beyond(px: float) -> int:
    return max(0, math.ceil(float(px))) + 2


def outside_share(similarity: Similarity, width: int, height: int) -> float:
    """How much of the face box lies beyond a picture of that size, 0..1."""
    left, top, box_width, box_height = FACE_BOX
    x, y = np.meshgrid(np.linspace(left, left + box_width, 12), np.linspace(top, top + box_height, 12))
    source = similarity.to_picture(np.asarray(x + 1j * y))
    inside = (source.real >= 0) & (source.real <= width) & (source.imag >= 0) & (source.imag <= height)
    return float(1 - inside.mean())


def put_back(picture: UInt8, canvas: UInt8, similarity: Similarity) -> UInt8:
    """A picture whose canvas has been drawn anew.

    Args:
        picture: (H, W, 3). canvas: (side, side, 3).

    Returns:
        (H, W, 3): the canvas where it came from, fading into the picture at its rim; the rest is untouched.
    """
    side = canvas.shape[0]
    placed = similarity.scaled(side / CANVAS_PX)
    corners = placed.to_picture(np.array([0, side, side * 1j, side * (1 + 1j)]))
    height, width = picture.shape[:2]
    left, right = _inside(corners.real, width)
    top, bottom = _inside(corners.imag, height)
    origin = complex(placed.to_canvas(np.array([left + 1j * top]))[0])
    turn = placed.turn
    matrix = (turn.real, -turn.imag, origin.real, turn.imag, turn.real, origin.imag)
    size = (right - left, bottom - top)
    layer = np.dstack((canvas, _rim(side)))
    seen = Image.fromarray(layer).transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    drawn = np.asarray(seen).astype(np.float32)
    share = drawn[..., 3:] / 255
    out = picture.copy()
    part = out[top:bottom, left:right]
    part[:] = np.rint(part + share * (drawn[..., :3] - part)).astype(np.uint8)
    return out


def _rim(side: int) -> UInt8:
    """How much of a canvas counts, (side, side) 0..255: all within, nothing at its edge."""
    away = (np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) * (CANVAS_PX / side)
    ramp = np.clip(away / FADE_PX, 0.0, 1.0)
    smooth = ramp * ramp * (3 - 2 * ramp)
    return np.rint(255 * np.minimum.outer(smooth, smooth)).astype(np.uint8)
