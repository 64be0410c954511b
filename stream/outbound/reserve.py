"""Playout headroom (reserve): the time drawn frames have to spare, and what it asks of the clock. Pure; event loop.

In: for each window, when its first frame was due to be chosen and when it came. Out: seconds by which the clock
should go later (more delay) or earlier, a little at every slot, so that all but the rarest windows come `guard_s`
early and no more. So the delay follows what hearing, drawing and the network take just now, and a microphone
whose clock runs faster or slower than ours is followed without a sample put in or left out: the slots themselves
go at the microphone's pace, and the receiver hears a sender whose clock is 0.02% off, as any sender's is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReserveConfig:
    """Attributes:
    guard_s: time that all but the rarest windows shall have to spare.
    history_windows: windows that are looked back on; all of them, before delay is given back.
    stragglers: as many of the latest among a full history may come later still.
    patience_windows: windows late in a row after which the delay grows by whole slots even in speech.
    dead_band_s: an error too small to act on.
    speech_earlier_s, speech_later_s: at most so much a slot while somebody speaks.
    quiet_earlier_s, quiet_later_s: at most so much a slot in a pause.
    """

    guard_s: float = 0.006
    history_windows: int = 50
    stragglers: int = 1
    patience_windows: int = 3
    dead_band_s: float = 0.001
    speech_earlier_s: float = 0.0001
    speech_later_s: float = 0.001
    quiet_earlier_s: float = 0.001
    quiet_later_s: float = 0.004

    def __post_init__(self) -> None:
        for name in ("history_windows", "patience_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"ReserveConfig.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.stragglers < self.history_windows:
            raise ValueError("ReserveConfig needs 0 <= stragglers < history_windows")


class Reserve:
    """The reserves of the last windows, against an output clock that may move.

    Kept as media time minus arrival, so that a move of the clock moves all of them with it.
    """

    def __init__(self, config: ReserveConfig | None = None) -> None:
        self.config = config or ReserveConfig()
        self._earliness: deque[float] = deque(maxlen=self.config.history_windows)
        self._low = 0.0

    def __len__(self) -> int:
        return len(self._earliness)

    @property
    def settled(self) -> bool:
        """Whether enough windows were seen to give delay back."""
        return len(self._earliness) == self.config.history_windows

    def note(self, media_s: float, arrived_s: float) -> None:
        """A window whose first frame has that media time came."""
        self._earliness.append(media_s - arrived_s)
        # One straggler is forgiven as soon as there is something to compare it with.
        forgiven = self.config.stragglers if len(self._earliness) >= 4 else 0
        self._low = sorted(self._earliness)[forgiven]

    def clear(self) -> None:
        """Forget everything."""
        self._earliness.clear()

    def low_s(self, anchor_s: float) -> float:
        """The reserve that all but stragglers had; `anchor_s` is when media time 0 is due."""
        return self._low + anchor_s

    def recent_s(self, anchor_s: float) -> list[float]:
        """The reserves of the last windows, as many as patience asks for or fewer."""
        count = self.config.patience_windows
        return [value + anchor_s for value in list(self._earliness)[-count:]]

    def impatient(self, anchor_s: float) -> bool:
        """Whether the last windows were all late."""
        recent = self.recent_s(anchor_s)
        return len(recent) == self.config.patience_windows and max(recent) < 0

    def nudge_s(self, anchor_s: float, quiet: bool) -> float:
        """Seconds by which the next slot shall be later (or, negative, earlier) than it would be."""
        config = self.config
        if not self._earliness:
            return 0.0
        short_s = config.guard_s - self.low_s(anchor_s)
        if short_s > config.dead_band_s:
            return min(short_s, config.quiet_later_s if quiet else config.speech_later_s)
        if -short_s > config.dead_band_s and self.settled:
            return -min(-short_s, config.quiet_earlier_s if quiet else config.speech_earlier_s)
        return 0.0
