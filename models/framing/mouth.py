"""How a mouth stands in a framed picture: how far it is open, and whether something is before it.

In: the canvas (128, 128, 3) uint8 of a framed face. Out: a `Mouth`. Six convolutions of a few ten thousand weights,
computed with NumPy in a few milliseconds, so that whoever frames pictures needs neither torch nor a session. They
are trained by the stage "mouth" (`distill.stages.mouth`) on rendered heads and drawn characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from kernels.machine import ROOT

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WEIGHTS: Final = ROOT / "weights" / "faces" / "mouth.safetensors"
BOX: Final = (64, 124, 128, 128)
"""(left, top, width, height) of what is looked at, canvas px: from below the eyes to below a dropped jaw."""
SIDE: Final = 128
"""Of the canvas that is read, px: two canvas px are one of them."""
INPUT_PX: Final = 64
LAYERS: Final = ((16, 2), (24, 2), (24, 1), (40, 2), (40, 1), (48, 2))
"""(channels, stride) of each convolution, 3x3."""
HIDDEN: Final = 24
CONTRAST_FLOOR: Final = 0.04
"""Added to the deviation by which a picture is divided: what has no contrast stays without."""


@dataclass(frozen=True, slots=True)
class Mouth:
    """What is seen of a mouth.

    Attributes:
        open: 0..1, the state `open` of `models.face`: 0 lips in contact, 1 widest.
        covered: 0..1, how sure it is that something is before it.
    """

    open: float
    covered: float


class MouthReader:
    """The trained network.

    Raises:
        ValueError: its weights are missing.
    """

    def __init__(self, path: Path = WEIGHTS) -> None:
        from safetensors.numpy import load_file

        if not path.is_file():
            raise ValueError(f"The mouth reader's weights {path} are missing; restore them with git.")
        self._weights = {name: tensor.astype(np.float32) for name, tensor in load_file(path).items()}

    def read(self, canvas: UInt8) -> Mouth:
        """Read a canvas (128, 128, 3): the mean of what it and its mirror image say."""
        assert canvas.shape == (SIDE, SIDE, 3), f"expected a canvas of {SIDE} px, got {canvas.shape}"
        left, top, width, height = (edge * SIDE // 256 for edge in BOX)
        seen = canvas[top : top + height, left : left + width].astype(np.float32) / np.float32(255)
        both = (self._logits(seen) + self._logits(seen[:, ::-1])) / 2
        opened, covered = 1 / (1 + np.exp(-both.astype(np.float64)))
        return Mouth(float(opened), float(covered))

    def _logits(self, picture: Floats) -> Floats:
        """(2,) of a picture (64, 64, 3)."""
        x = (picture - picture.mean()) / (picture.std() + np.float32(CONTRAST_FLOOR))
        for number, (_, stride) in enumerate(LAYERS):
            weight, bias = self._weights[f"conv.{number}.weight"], self._weights[f"conv.{number}.bias"]
            around = sliding_window_view(np.pad(x, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
            x = np.maximum(np.tensordot(around[::stride, ::stride], weight, ((2, 3, 4), (1, 2, 3))) + bias, 0)
        flat = x.transpose(2, 0, 1).reshape(-1)
        hidden = np.maximum(self._weights["hidden.weight"] @ flat + self._weights["hidden.bias"], 0)
        return np.asarray(self._weights["out.weight"] @ hidden + self._weights["out.bias"])
