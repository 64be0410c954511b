"""The values that every folder of the server passes on: arrays, rates, and a picture on its way out.

Nothing here knows a network, a clock or a session; every folder of `stream` may import this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
UInt8Array = npt.NDArray[np.uint8]

RATE_HZ: Final = 48_000  # of voices, in and out
PACKET_SAMPLES: Final = 480  # of the voice that leaves: 10 ms
PACKET_UNIT_SAMPLES: Final = 120  # 2.5 ms, of which Opus packets are multiples
FRAME_GRID_SAMPLES: Final = 1920  # 40 ms, a frame
FADE_SAMPLES: Final = 240  # 5 ms: an edge shorter than this clicks


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of the media timeline.

    Attributes:
        arrived_s: the clock when it arrived.
        voice: (n,) int16 at 48 kHz, contiguous with the piece before.
        engine: (m,) float32 at the engine's rate in [-1, 1], contiguous with the piece before; the same moments.
    """

    arrived_s: float
    voice: Int16Array
    engine: Float32Array


@dataclass(frozen=True, slots=True)
class Codecs:
    """What a call was negotiated in, as MIME types."""

    audio: str
    video: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What the video track sends in one slot.

    Attributes:
        slot: the slot it is for.
        media_frame: the drawn frame it shows; None for the reference picture.
        fresh: False when it repeats the picture before.
        image: (H, W, 3) uint8 RGB; never written to.
    """

    slot: int
    media_frame: int | None
    fresh: bool
    image: UInt8Array
