"""Finding faces: boxes and five landmarks per picture.

In: pictures (H, W, 3) uint8 RGB of any size. Out: `Face` records in source pixels. The network is CenterFace, whose
weights lie in `weights/faces` (MIT); they run on ONNX Runtime, on one thread, and nothing is downloaded.

Source: Xu et al., CenterFace, 1911.03599.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from kernels.machine import ROOT

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

WEIGHTS: Final = ROOT / "weights" / "faces" / "centerface.onnx"
STRIDE = 4
"""Input pixels per cell of the network's maps."""
SEARCH_PX = 640
"""The longer side at which whole pictures are searched."""
CLOSE_PX = 128
"""Side at which a known face is looked at again; the face is about 60 px wide there."""
CLOSE_SPAN = 2.2
"""Side of that look, in face widths."""
MIN_SCORE = 0.4
OVERLAP = 0.3


@dataclass(frozen=True, slots=True)
class Face:
    """One face in source pixels.

    Attributes:
        score: 0..1.
        box: (4,) left, top, right, bottom.
        landmarks: (5, 2) the viewer's left eye, right eye, nose tip, left and right mouth corner, as x, y.
    """

    score: float
    box: Floats
    landmarks: Floats

    @property
    def width(self) -> float:
        """The box's width in px."""
        return float(self.box[2] - self.box[0])

    @property
    def middle(self) -> Floats:
        """The box's centre (2,)."""
        return (self.box[:2] + self.box[2:]) / 2


class FaceFinder:
    """CenterFace on ONNX Runtime.

    Raises:
        ValueError: the checkout's weights are missing.
    """

    def __init__(self) -> None:
        import onnxruntime

        if not WEIGHTS.is_file():
            raise ValueError(f"The face finder's weights {WEIGHTS} are missing; restore them with git.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it would keep memory for every size of picture ever looked at
        options.enable_mem_pattern = False
        self._session: Any = onnxruntime.InferenceSession(
            str(WEIGHTS), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def search(self, image: UInt8, longer_px: int = SEARCH_PX, least: float = MIN_SCORE) -> list[Face]:
        """All faces of a whole picture, the largest first; its longer side is reduced to `longer_px`."""
        height, width = image.shape[:2]
        scale = min(1.0, longer_px / max(height, width))
        faces = self._find(image, _by_32(width * scale), _by_32(height * scale), least)
        return sorted(faces, key=lambda face: -face.width)

    def look_again(self, image: UInt8, near: Face, side_px: int = CLOSE_PX) -> Face | None:
        """The face at a place where one was a moment ago, looked at closely, on `side_px` squared."""
        half = max(near.width, 8.0) * CLOSE_SPAN / 2
        corner = np.floor(near.middle - half)
        side = math.ceil(2 * half)
        found = self._find(_cut(image, int(corner[0]), int(corner[1]), side), side_px, side_px)
        if not found:
            return None
        best = max(found, key=lambda face: face.score)
        moved = Face(best.score, best.box + np.tile(corner, 2), best.landmarks + corner)
        return moved if overlap(moved.box, near.box) > OVERLAP else None

    def _find(self, image: UInt8, width: int, height: int, least: float = MIN_SCORE) -> list[Face]:
        tensor = resize(image, width, height).astype(np.float32).transpose(2, 0, 1)[None]
        heat, size, offset, points = (m[0] for m in self._session.run(None, {self._input: tensor}))
        rows, columns = np.nonzero(heat[0] > least)
        at = (slice(None), rows, columns)
        span = np.exp(size[at].T) * STRIDE  # (N, 2) height, width
        middle = (np.stack((rows, columns), 1) + offset[at].T + 0.5) * STRIDE
        corner = middle - span / 2
        marks = points[at].T.reshape(-1, 5, 2) * span[:, None] + corner[:, None]
        scale = np.array([image.shape[1] / width, image.shape[0] / height])
        boxes = np.concatenate((corner[:, ::-1], (corner + span)[:, ::-1]), 1) * np.tile(scale, 2)
        landmarks = marks[..., ::-1] * scale
        return _suppress(heat[0][rows, columns], boxes.astype(np.float64), landmarks.astype(np.float64))


def _by_32(size: float) -> int:
    return max(32, round(size / 32) * 32)


def _cut(image: UInt8, left: int, top: int, side: int) -> UInt8:
    """A square of the picture, grey where it reaches beyond."""
    out = np.full((side, side, 3), 127, np.uint8)
    height, width = image.shape[:2]
    x, y = slice(max(left, 0), min(left + side, width)), slice(max(top, 0), min(top + side, height))
    if x.start < x.stop and y.start < y.stop:
        out[y.start - top : y.stop - top, x.start - left : x.stop - left] = image[y, x]
    return out


def overlap(a: Floats, b: Floats) -> float:
    """Intersection over union of two boxes (4,)."""
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(size, 0.0)))
    return shared / max(float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared, 1e-9)


def _suppress(scores: npt.NDArray[np.float32], boxes: Floats, landmarks: Floats) -> list[Face]:
    """The best of each group of overlapping boxes."""
    kept: list[Face] = []
    for i in np.argsort(-scores):
        if all(overlap(boxes[i], face.box) < OVERLAP for face in kept):
            kept.append(Face(float(scores[i]), boxes[i], landmarks[i]))
    return kept


def resize(image: UInt8, width: int, height: int) -> UInt8:
    """Scale (H, W, 3) with an antialiasing filter."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
