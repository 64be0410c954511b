"""Lays the microphone's packets on one gapless media timeline. Pure numpy; runs on the event loop.

In: 48 kHz mono chunks with the sender's timestamp and the moment of arrival. Out: contiguous 48 kHz chunks,
in order, starting at sample 0 when the session starts. Lost packets are concealed (`stream.inbound.concealment`); a
microphone that stalls becomes silence fed by the clock, so that the face goes on living; packets that come later
than that are dropped.

The position on this timeline is *media time*, the only clock that windows, frames and returned audio know.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream.inbound.concealment import Concealer
from stream.media import FRAME_GRID_SAMPLES, PACKET_UNIT_SAMPLES, RATE_HZ, Int16Array


@dataclass(frozen=True, slots=True)
class TimelineConfig:
    """Attributes:
    stall_s: how far behind real time the microphone may fall before silence takes its place.
    max_gap_s: a jump of the sender's timestamps beyond this is a new start, not a loss.
    late_s: packets that stay late for this long mean that the sender paused; the timeline follows it.
    baseline_rise: seconds a second by which the least delay seen is forgotten (follows a slower clock).
    trust_s: after silence was put in or a packet came too late, arrivals teach nothing about the least delay
        for this long: a burst after a standstill would seem to come from the future.
    """

    stall_s: float = 0.1
    max_gap_s: float = 1.0
    late_s: float = 0.15
    baseline_rise: float = 1e-3
    trust_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("stall_s", "max_gap_s", "late_s", "baseline_rise", "trust_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"TimelineConfig.{name} must be positive, got {getattr(self, name)}")


class Timeline:
    """One session's media time.

    Args:
        start_s: the clock's reading at which media time is 0.
        config: see `TimelineConfig`.
    """

    def __init__(self, start_s: float, config: TimelineConfig | None = None) -> None:
        self._config = config or TimelineConfig()
        self._length = 0  # samples given out
        self._shift: int | None = None  # media position = sender's position + shift
        self._baseline_s = start_s  # clock reading at which media time 0 was spoken, at the least delay seen
        self._baseline_at_s = start_s
        self._late_since_s: float | None = None
        self._distrust_until_s = start_s
        self._concealer = Concealer()
        self._in_gap = True  # what follows is faded in
        self.concealed_samples = 0
        self.late_samples = 0
        self.restarts = 0

    @property
    def length_samples(self) -> int:
        """Samples given out so far: the timeline's end."""
        return self._length

    def add(self, pcm: Int16Array, pts: int, now_s: float) -> list[Int16Array]:
        """Place one packet.

        Args:
            pcm: (n,) int16 at 48 kHz.
            pts: the sender's position of its first sample, 48 kHz.
            now_s: moment of arrival.

        Returns:
            Contiguous chunks, oldest first: concealment for a gap, if any, then the packet.
        """
        if len(pcm) == 0:
            return []
        if self._shift is None or abs(pts + self._shift - self._length) > self._config.max_gap_s * RATE_HZ:
            self._restart(pts, len(pcm), now_s)
        if pts + self._position_shift < self._length and self._sender_paused(now_s):
            self._restart(pts, len(pcm), now_s)
        gap = pts + self._position_shift - self._length
        if gap < 0:
            dropped = min(-gap, len(pcm))
            self.late_samples += dropped
            self._distrust_until_s = now_s + self._config.trust_s
            pcm = pcm[dropped:]
        else:
            self._late_since_s = None
            self._note_delay(self._length + gap + len(pcm), now_s)
        chunks = [self._conceal(gap)] if gap > 0 else []
        if len(pcm):
            chunks.append(self._concealer.join(pcm) if self._in_gap else pcm)
            self._in_gap = False
            self._concealer.remember(chunks[-1])
            self._length += len(pcm)
        return chunks

    def fill(self, now_s: float) -> Int16Array | None:
        """Silence that brings a stalled timeline back within `stall_s` of real time.

        None if it is not late.
        """
        behind = self._expected(now_s - self._config.stall_s) - self._length
        if behind < RATE_HZ // 100:
            return None
        if self._shift is not None:
            self._distrust_until_s = now_s + self._config.trust_s
        return self._conceal(behind)

    @property
    def _position_shift(self) -> int:
        assert self._shift is not None
        return self._shift

    def _restart(self, pts: int, count: int, now_s: float) -> None:
        """Put a packet at the present, whatever the sender's numbers say,
        so that no delay is added for good.

        At the present, rounded up to a whole number of such packets: then windows, which are whole numbers of
        20 ms packets too, are complete with a packet and do not wait for a part of the next one.
        """
        position = max(self._length, self._expected(now_s) - count)
        if count % PACKET_UNIT_SAMPLES == 0 and FRAME_GRID_SAMPLES % count == 0:
            position = -(-position // count) * count
        self._shift = position - pts
        self.restarts += 1
        self._late_since_s = None

    def _sender_paused(self, now_s: float) -> bool:
        """Whether packets whose place is taken have been coming for too long to be a burst."""
        if self._late_since_s is None:
            self._late_since_s = now_s
        return now_s - self._late_since_s >= self._config.late_s

    def _expected(self, now_s: float) -> int:
        return int((now_s - self._baseline(now_s)) * RATE_HZ)

    def _note_delay(self, end: int, now_s: float) -> None:
        baseline_s = self._baseline(now_s)
        trusted = now_s >= self._distrust_until_s
        self._baseline_s = min(baseline_s, now_s - end / RATE_HZ) if trusted else baseline_s
        self._baseline_at_s = now_s

    def _baseline(self, now_s: float) -> float:
        return self._baseline_s + self._config.baseline_rise * max(0.0, now_s - self._baseline_at_s)

    def _conceal(self, count: int) -> Int16Array:
        """Samples for a gap."""
        self._in_gap = True
        self._length += count
        self.concealed_samples += count
        return self._concealer.extend(count)
