"""What the end-to-end client writes down, and the analysis reads: one value, one npz file.

In flow times and pictures as they came; out flows the same from disk. No pickles.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.face import CANVAS_PX, MOUTH_LINE_Y

MOUTH_SEARCH_PX = 6
"""Head motion, in canvas pixels each way, which the analysis takes out by moving the picture."""

_HALF_WIDTH, _ABOVE, _BELOW = 34, 14, 34
MOUTH_VIEW = (
    CANVAS_PX // 2 - _HALF_WIDTH - MOUTH_SEARCH_PX,
    MOUTH_LINE_Y - _ABOVE - MOUTH_SEARCH_PX,
    2 * (_HALF_WIDTH + MOUTH_SEARCH_PX),
    _ABOVE + _BELOW + 2 * MOUTH_SEARCH_PX,
)
"""(left, top, width, height) of the kept part in canvas pixels: the mouth with the search's margin."""

_AS_TEXT = ("marks_s", "stats", "told")


@dataclass(frozen=True, slots=True)
class Recording:
    """One call as the client saw it. All times are seconds on the client's monotonic clock.

    Attributes:
        onset_samples: (E,) first mic sample of each syllable, at 48 kHz.
        mic_times_s: (M,) when each 20 ms of the microphone was handed to the encoder.
        video_times_s: (F,) when each video frame counts as seen: its last packet's arrival, or its display.
        mouths: (F, h, w) uint8 luma of `MOUTH_VIEW` of each frame.
        repeated: (F,) bool, the frame equals the one before in every pixel.
        audio_times_s: (P,) when each returned audio packet counts as heard: its arrival, or its playout.
        audio_starts: (P,) index into `audio` of each packet's first sample.
        audio: (S,) float32 mono at 48 kHz, the packets' samples one after another.
        marks_s: moments of the call by name: offer_sent, answered, connected, first_video, first_audio.
        stats: the server's once-a-second messages, each with `at_s`, when it came.
        clear_times_s: (C,) when each `clear` was sent.
        received_s: (F,) where `video_times_s` are displays: when each frame's last packet arrived.
        told: what else was told, by name: the server's `hello`, the relay's packets, the browser's counts.
    """

    onset_samples: npt.NDArray[np.int64]
    mic_times_s: npt.NDArray[np.float64]
    video_times_s: npt.NDArray[np.float64]
    mouths: npt.NDArray[np.uint8]
    repeated: npt.NDArray[np.bool_]
    audio_times_s: npt.NDArray[np.float64]
    audio_starts: npt.NDArray[np.int64]
    audio: npt.NDArray[np.float32]
    marks_s: dict[str, float] = field(default_factory=dict)
    stats: list[dict[str, Any]] = field(default_factory=list)
    clear_times_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    received_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    told: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = len(self.video_times_s)
        if len(self.mouths) != frames or len(self.repeated) != frames:
            raise ValueError(
                f"expected one mouth picture and mark for each of {frames} frames, "
                f"got {len(self.mouths)} and {len(self.repeated)}."
            )
        if len(self.audio_times_s) != len(self.audio_starts):
            raise ValueError(
                f"expected one start for each of {len(self.audio_times_s)} audio packets, "
                f"got {len(self.audio_starts)}."
            )

    def save(self, path: Path) -> None:
        """Write to an npz file."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _AS_TEXT}
        text = json.dumps({name: getattr(self, name) for name in _AS_TEXT})
        with path.open("wb") as file:
            np.savez_compressed(file, text=np.array(text), **arrays)

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            text = json.loads(str(stored["text"]))
            return cls(**{name: stored[name] for name in stored.files if name != "text"}, **text)
