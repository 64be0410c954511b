"""What the pacer measures about itself: rate, latency, skew, drops. Pure; event loop only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from stream.media import Picture


@dataclass(frozen=True, slots=True)
class PacingReport:
    """A second of output in numbers. Milliseconds; None where nothing was measured."""

    fps: float
    latency_ms: float | None
    skew_ms: float | None
    skew_p95_ms: float | None
    held_frames: int
    dropped_frames: int
    moves: int
    reserve_ms: float | None


class PacingStats:
    """Counters over a session's life and short histories for the once-a-second report."""

    def __init__(self, fps: int) -> None:
        self._slot_s = 1 / fps
        self._arrivals: dict[int, float] = {}
        self._sent_s: deque[float] = deque(maxlen=4 * fps)
        self._latency_s: deque[float] = deque(maxlen=fps)  # a moving delay must show soon
        self._skew_s: deque[float] = deque(maxlen=4 * fps)
        self._new_latency_s: deque[float] = deque(maxlen=4 * fps)
        self._new_skew_s: deque[float] = deque(maxlen=4 * fps)
        self._reserve_s: deque[float] = deque(maxlen=2 * fps)
        self._voice_lag_s = 0.0
        self.dropped_frames = 0  # drawn, but never shown
        self.held_frames = 0  # slots that repeated a picture although the voice went on
        self.missed_slots = 0  # slots whose time had passed before the video track got to them
        self.missing_voice_slots = 0
        self.stalls = 0
        self.moves = 0

    def note_arrival(self, position: int, count: int, slot_samples: int, arrived_s: float) -> None:
        """Remember when the first sample of each media frame came in.

        A packet's first sample arrives with it, the others as much later as they were spoken: where frames begin
        within packets is chance, and would move the latency by up to a packet from call to call.
        """
        first = -(-position // slot_samples)
        sample_s = self._slot_s / slot_samples
        for frame in range(first, -(-(position + count) // slot_samples)):
            self._arrivals[frame] = arrived_s + (frame * slot_samples - position) * sample_s
        while len(self._arrivals) > 200:
            del self._arrivals[next(iter(self._arrivals))]

    def note_picture(self, wanted: int, shown: int | None, fresh: bool) -> None:
        """Count a slot that repeats a picture although the voice went on."""
        if not fresh and shown is not None and shown < wanted:
            self.held_frames += 1

    def note_reserve(self, spare_s: float) -> None:
        """A window came so long before its first frame had to be chosen."""
        self._reserve_s.append(spare_s)

    def note_voice_sent(self, lag_s: float) -> None:
        """The voice of the present slot went out `lag_s` after it was due."""
        self._voice_lag_s = lag_s

    def note_sent(self, now_s: float, late_s: float, voice_frame: int | None, picture: Picture) -> None:
        """A picture goes out `late_s` after it was due.

        Skew is positive when the picture is later than the voice it belongs to; slots without a voice of
        their own (`voice_frame` None) have none.
        """
        self._sent_s.append(now_s)
        if voice_frame is None or picture.media_frame is None:
            return
        skew_s = late_s - self._voice_lag_s + (voice_frame - picture.media_frame) * self._slot_s
        self._skew_s.append(skew_s)
        self._new_skew_s.append(skew_s)
        arrived_s = self._arrivals.get(picture.media_frame)
        if picture.fresh and arrived_s is not None:
            self._latency_s.append(now_s - arrived_s)
            self._new_latency_s.append(now_s - arrived_s)

    def drain(self) -> tuple[list[float], list[float]]:
        """Latencies and skews in seconds noted since the last call, for histograms."""
        drained = list(self._new_latency_s), list(self._new_skew_s)
        self._new_latency_s.clear()
        self._new_skew_s.clear()
        return drained

    def report(self, now_s: float) -> PacingReport:
        """The last seconds in numbers."""
        return PacingReport(
            fps=self._fps(now_s),
            latency_ms=_ms(self._latency_s, 50),
            skew_ms=_ms(self._skew_s, 50),
            skew_p95_ms=_ms([abs(skew) for skew in self._skew_s], 95),
            held_frames=self.held_frames,
            dropped_frames=self.dropped_frames + self.missed_slots,
            moves=self.moves,
            reserve_ms=_ms(self._reserve_s, 5),
        )

    def _fps(self, now_s: float) -> float:
        recent = [sent for sent in self._sent_s if sent > now_s - 2.0]
        if len(recent) < 2:
            return 0.0
        end_s = recent[-1] if now_s - recent[-1] < 0.2 else now_s
        return round((len(recent) - 1) / max(end_s - recent[0], 1e-3), 1)


def _ms(values_s: deque[float] | list[float], percentile: float) -> float | None:
    return round(1000.0 * float(np.percentile(np.asarray(values_s), percentile)), 1) if values_s else None
