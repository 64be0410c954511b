"""How long an interruption takes: from `clear` sent to silence heard and a mouth at rest seen.

In flow a `Recording` whose long vowels were interrupted; out flow milliseconds. Pure numpy, no network.

Method. `clear` is sent in the moment in which a long vowel ends in the microphone; some hundred milliseconds of
it have still to come back then, so whatever ends them earlier is the interruption. The voice is silent after the
last 5 ms piece that is louder than a thirtieth (-30 dB) of the vowel before. The mouth is at rest at the first
frame from which on it stays within `latency.RISE` of the largest difference from its rest before the vowel, for
`CALM_S` at least. A voice that had ended before `clear` was sent counts as no event. Between two frames the mouth
is not seen: its figure has a frame's (40 ms) quantisation, and is never rounded down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.call.bursts import MIC_RATE_HZ, VOWEL_S
from bench.call.latency import REST_S, RISE, mouth_motion
from bench.call.recording import Recording
from bench.report import summarise

SEARCH_S = 1.2
"""How long after `clear` its effect is looked for; below the distance to the next vowel."""
CALM_S = 0.3
"""How long a mouth must stay at rest to count as resting."""
_PIECE_SAMPLES = MIC_RATE_HZ // 200
_SILENT = 10 ** (-30 / 20)
_BEFORE_S = 0.25  # of the voice before `clear`: how loud it was


@dataclass(frozen=True, slots=True)
class Interruption:
    """One `clear`; seconds from its sending, None where it was not found."""

    silent_s: float | None
    rest_s: float | None


def find_interruptions(recording: Recording) -> list[Interruption]:
    """Every `clear` of a call, in order."""
    times_s, levels = voice_levels(recording)
    return [
        Interruption(_silent_after(times_s, levels, float(at)), _rest_after(recording, float(at)))
        for at in recording.clear_times_s
    ]


def analyse_interruptions(recording: Recording) -> dict[str, Any]:
    """Percentiles over all interruptions of a call; empty where there were none."""
    found = find_interruptions(recording)
    if not found:
        return {}
    both = [max(i.silent_s, i.rest_s) for i in found if i.silent_s is not None and i.rest_s is not None]
    return {
        "clear_to_silence_ms": summarise(i.silent_s * 1e3 for i in found if i.silent_s is not None),
        "clear_to_rest_ms": summarise(i.rest_s * 1e3 for i in found if i.rest_s is not None),
        "clear_to_both_ms": summarise(value * 1e3 for value in both),
        "sent": len(found),
        "found": len(both),
    }


def voice_levels(recording: Recording) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(end of each 5 ms piece of the returned voice on the client's clock, its rms), both (N,)."""
    times: list[npt.NDArray[np.float64]] = []
    levels: list[npt.NDArray[np.float64]] = []
    ends = [*recording.audio_starts[1:], len(recording.audio)]
    for at, start, end in zip(recording.audio_times_s, recording.audio_starts, ends, strict=True):
        pieces = (int(end) - int(start)) // _PIECE_SAMPLES
        samples = recording.audio[int(start) : int(start) + pieces * _PIECE_SAMPLES].astype(np.float64)
        levels.append(np.sqrt((samples.reshape(pieces, -1) ** 2).mean(axis=1)))
        times.append(at + (np.arange(pieces) + 1) * _PIECE_SAMPLES / MIC_RATE_HZ)
    if not times:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(times), np.concatenate(levels)


def _silent_after(
    times_s: npt.NDArray[np.float64], levels: npt.NDArray[np.float64], clear_s: float
) -> float | None:
    before = levels[(times_s > clear_s - _BEFORE_S) & (times_s <= clear_s)]
    after = (times_s > clear_s) & (times_s <= clear_s + SEARCH_S)
    if before.size == 0 or not after.any() or before.max() < 1e-3:
        return None
    loud = times_s[after][levels[after] > _SILENT * np.percentile(before, 90)]
    return float(loud[-1] - clear_s) if loud.size else None


def _rest_after(recording: Recording, clear_s: float) -> float | None:
    times = recording.video_times_s
    rest = (times >= clear_s - VOWEL_S - REST_S) & (times <= clear_s - VOWEL_S + 0.02)
    speaking = (times > clear_s - _BEFORE_S) & (times <= clear_s)
    after = (times > clear_s) & (times <= clear_s + SEARCH_S)
    if rest.sum() < 3 or speaking.sum() < 2 or after.sum() < 3:
        return None
    template = np.median(recording.mouths[rest], axis=0)
    floor = float(np.median(mouth_motion(recording.mouths[rest], template)))
    speech = float(np.median(mouth_motion(recording.mouths[speaking], template))) - floor
    moving = mouth_motion(recording.mouths[after], template) - floor >= RISE * speech
    seen_s = times[after]
    if speech <= 0:
        return None
    for index in np.flatnonzero(~moving):
        calm = seen_s[index:] <= seen_s[index] + CALM_S
        if not moving[index:][calm].any():
            return float(seen_s[index] - clear_s)
    return None
