"""What a viewer gets: pictures per second, freezes, and whether the mouth moves with the voice.

In: a page with a call that is live, in whichever browser. Out: frozen dataclasses. The measuring itself
runs in the page (`probe.js`), once per presented picture; here its rows become figures. Also used by hand
and by benchmarks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from models.face import CANVAS_PX, FPS, MOUTH_LINE_Y

CALLER: Final = "[data-testid=avatar-video]"
VIEWER: Final = "[data-testid=watch-video]"
PROBE: Final = Path(__file__).with_name("probe.js")
FREEZE_S: Final = max(3 / FPS, 1 / FPS + 0.150)
"""A longer time without a new picture is a freeze. The rule is freezeCount's in W3C "Identifiers for WebRTC's
Statistics API"; the frame time is the one wanted, since by the mean one met a slide show would never freeze."""
STILL_CHANGE: Final = 0.02
"""Mean luma change below which two pictures count as the same one."""
STILL_S: Final = 0.5
"""A run of equal pictures this long counts as frozen time even when pictures keep arriving."""
LOUD_DBFS: Final = -45.0
QUIET_DBFS: Final = -60.0
MARGIN_S: Final = 0.2
"""Pictures this near to a change between speech and silence are left out of both."""

_MOUTH_BOX: Final = (
    CANVAS_PX / 2 - 28,
    MOUTH_LINE_Y - 18,
    56,
    44,
)  # left, top, width, height in canvas pixels
_HAIR_BOX: Final = (CANVAS_PX / 2 - 44, 32, 88, 24)  # above the face box: only head motion changes it

Float64Array = npt.NDArray[np.float64]


class Page(Protocol):
    """What can be asked a JavaScript function: a page of Playwright, a `Visit`."""

    def evaluate(self, function: str, argument: object = None, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Playback:
    """How smoothly the pictures came.

    Attributes:
        seconds: length measured.
        frames: pictures presented.
        fps: pictures presented per second.
        longest_gap_s: longest time without a new picture.
        freezes: gaps that are freezes.
        frozen_ratio: share of the time spent in freezes or in runs of unchanging pictures, 0..1.
        still_ratio: the part of it in which pictures came but did not change.
    """

    seconds: float
    frames: int
    fps: float
    longest_gap_s: float
    freezes: int
    frozen_ratio: float
    still_ratio: float


@dataclass(frozen=True, slots=True)
class MouthMotion:
    """Mean absolute luma change from picture to picture, 0..255, in speech and in silence.

    Attributes:
        speech_frames, silence_frames: pictures counted in each.
        mouth_speech, mouth_silence: in the mouth region.
        hair_speech, hair_silence: above the face, where only the head's motion shows.
    """

    speech_frames: int
    silence_frames: int
    mouth_speech: float
    mouth_silence: float
    hair_speech: float
    hair_silence: float

    @property
    def ratio(self) -> float:
        """How many times more the mouth moves in speech than in silence."""
        return self.mouth_speech / max(self.mouth_silence, 1e-6)


def _relative(box: tuple[float, float, float, float]) -> list[float]:
    return [edge / CANVAS_PX for edge in box]


def _probe(page: Page, seconds: float, video: str) -> tuple[Float64Array, float]:
    """Rows of `probe.js` (see there) and the length measured in seconds."""
    wanted = {
        "selector": video,
        "seconds": seconds,
        "regions": {"mouth": _relative(_MOUTH_BOX), "hair": _relative(_HAIR_BOX)},
    }
    found = page.evaluate(PROBE.read_text(encoding="utf-8"), wanted)
    rows = np.asarray(found["rows"], dtype=np.float64).reshape(-1, 6)
    return rows, float(found["measured_ms"]) / 1000


def playback_from_rows(rows: Float64Array, seconds: float) -> Playback:
    """Figures of smoothness from the probe's rows.

    Args:
        rows: (N, 6) float64, see `probe.js`.
        seconds: length measured, the wait for the first picture included.

    Returns:
        The figures; all time counts as frozen when fewer than two pictures came.
    """
    if len(rows) < 2:
        return Playback(seconds, len(rows), 0.0, seconds, 1, 1.0, 0.0)
    times_s = rows[:, 0] / 1000
    presented = rows[-1, 1] - rows[0, 1]
    span_s = times_s[-1] - times_s[0]
    edges = np.concatenate([[0.0], times_s, [max(seconds, times_s[-1])]])
    gaps = np.diff(edges)
    frozen = gaps > FREEZE_S
    # The gap before picture k shows picture k - 1; a run of equal pictures is frozen time all through.
    still = np.zeros_like(frozen)
    still[1:-1] = _long_runs(rows[1:, 2] < STILL_CHANGE, gaps[1:-1])
    total_s = edges[-1]
    return Playback(
        seconds=round(float(total_s), 3),
        frames=int(presented) + 1,
        fps=round(float(presented / span_s), 2),
        longest_gap_s=round(float(gaps.max()), 3),
        freezes=int(frozen.sum()),
        frozen_ratio=round(float(gaps[frozen | still].sum() / total_s), 5),
        still_ratio=round(float(gaps[still & ~frozen].sum() / total_s), 5),
    )


def _long_runs(same: npt.NDArray[np.bool_], gaps_s: Float64Array) -> npt.NDArray[np.bool_]:
    """Which gaps lie in runs of unchanging pictures that last at least `STILL_S`."""
    chosen = np.zeros_like(same)
    start = 0
    for index in range(len(same) + 1):
        if index < len(same) and same[index]:
            continue
        chosen[start:index] = gaps_s[start:index].sum() >= STILL_S
        start = index + 1
    return chosen


def mouth_motion_from_rows(rows: Float64Array) -> MouthMotion:
    """Figures of the mouth's motion from the probe's rows; the returned sound tells speech from silence.

    Args:
        rows: (N, 6) float64, see `probe.js`.

    Returns:
        Means over the pictures well inside speech and well inside silence; 0 where there are none.
    """
    times_s, loudness = rows[:, 0] / 1000, rows[:, 5]
    speech = _inside(loudness > LOUD_DBFS, loudness >= QUIET_DBFS, times_s)
    silence = _inside(loudness < QUIET_DBFS, loudness < QUIET_DBFS, times_s)

    def mean(column: int, chosen: npt.NDArray[np.bool_]) -> float:
        return round(float(rows[chosen, column].mean()), 4) if chosen.any() else 0.0

    return MouthMotion(
        speech_frames=int(speech.sum()),
        silence_frames=int(silence.sum()),
        mouth_speech=mean(3, speech),
        mouth_silence=mean(3, silence),
        hair_speech=mean(4, speech),
        hair_silence=mean(4, silence),
    )


def _inside(
    is_kind: npt.NDArray[np.bool_], may_border: npt.NDArray[np.bool_], times_s: Float64Array
) -> npt.NDArray[np.bool_]:
    """Pictures of one kind whose neighbours within `MARGIN_S` all satisfy `may_border`."""
    chosen = is_kind.copy()
    chosen[:1] = False  # the first picture has no change
    for index in np.flatnonzero(chosen):
        near = np.abs(times_s - times_s[index]) <= MARGIN_S
        chosen[index] = bool(may_border[near].all())
    return chosen


def measure(page: Page, seconds: float, video: str = CALLER) -> tuple[Playback, MouthMotion]:
    """Watches the avatar for some seconds and tells how smoothly its pictures came and how its mouth moved.

    Args:
        page: with a live call, whose microphone both speaks and rests within `seconds`.
        seconds: how long to watch.
        video: selector of the video to watch.
    """
    rows, measured_s = _probe(page, seconds, video)
    return playback_from_rows(rows, measured_s), mouth_motion_from_rows(rows)


def as_json(*figures: Playback | MouthMotion) -> dict[str, float]:
    """The figures as one flat dictionary, for reports."""
    return {name: value for figure in figures for name, value in asdict(figure).items()}
