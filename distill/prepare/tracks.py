"""Tracks that a clip of the corpus knows and a video does not: estimated here, or left at zero.

In: canvases (T, 256, 256, 3) and sound. Out: blink (T,) from the eyes, mouth dims (T, 6) from the shipped probe,
and how far the mouth is from rest (T,). Gaze and brow stay 0: nothing here can tell them from a drawing's truth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from distill.data.regions import MEASURED_BOX
from distill.prepare.media import UInt8
from distill.prepare.quality import LUMA, levels_db
from distill.probe import Probe
from models.face import CANVAS_PX, EXPRESSION_DIMS, EYE_LINE_Y, EYE_SPREAD_X

Floats = npt.NDArray[np.float32]

ESTIMATED = {
    "mouth": "read by the probe, which was trained on drawings",
    "blink": "from the fall of contrast in both eyes; checked on drawings only",
    "gaze_x": "unknown, 0",
    "gaze_y": "unknown, 0",
    "brow": "unknown, 0",
}
"""How each track of a prepared clip came about; written into dataset.json."""

EYE_PATCH = (14, 14, 10)
"""Reach of an eye's patch from its centre: sideways, up, down, canvas px."""
CLOSED_FALL = (0.18, 0.62)
"""Fall of an eye's contrast against its median that counts as blink 0 and blink 1."""


def expression_track(canvases: UInt8) -> Floats:
    """Expression (T, 4): the blink, zeros for what is unknown."""
    out = np.zeros((len(canvases), len(EXPRESSION_DIMS)), np.float32)
    out[:, EXPRESSION_DIMS.index("blink")] = blink_track(canvases)
    return out


def blink_track(canvases: UInt8) -> Floats:
    """Blink (T,) 0..1: both eyes lose contrast when lids cover iris and white; the eye that loses less decides."""
    falls = []
    wide, up, down = EYE_PATCH
    for side in (-1, 1):
        x = CANVAS_PX // 2 + side * EYE_SPREAD_X
        patch = canvases[:, EYE_LINE_Y - up : EYE_LINE_Y + down, x - wide : x + wide].astype(np.float32)
        contrast = (patch @ LUMA.astype(np.float32)).std((1, 2))
        falls.append(1 - contrast / max(float(np.median(contrast)), 1e-3))
    none, full = CLOSED_FALL
    return np.clip((np.minimum(*falls) - none) / (full - none), 0.0, 1.0).astype(np.float32)


@torch.no_grad()
def mouth_track(canvases: UInt8, probe: Probe) -> Floats:
    """Mouth dims (T, 6) as the probe reads them."""
    left, top, width, height = MEASURED_BOX
    box = torch.from_numpy(canvases[:, top : top + height, left : left + width].copy()).permute(0, 3, 1, 2)
    read = [probe(part.float() / 255)[1] for part in box.split(16)]
    return np.asarray(torch.cat(read).numpy(), np.float32)


def rest_distance(mouths: Floats, audio: Floats) -> Floats:
    """How far the mouth is from its look in the clip's quiet moments (T,), 0 at rest to 1.

    Args:
        mouths: (T, h, w) small pictures of the mouth. audio: (T * 640,).
    """
    level = levels_db(audio)[: len(mouths)]
    level = np.pad(level, (0, len(mouths) - len(level)), constant_values=-100.0)
    around = np.convolve(np.pad(level, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    quiet = around <= np.percentile(around, 15)
    away = np.sqrt(((mouths - mouths[quiet].mean(0)) ** 2).mean((1, 2)))
    return np.asarray(away / max(float(away.max()), 1e-6), np.float32)
