"""Degradation under load (effort): how many evaluations a window may cost now. Pure; under the scheduler's lock.

When the engine thread is busy nearly all the time, finishes windows late or drops them, the limit goes down
one rung (half the evaluations); when the work at the rung above would fit with room to spare, it goes up
again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from stream.engine.protocol import Controls

SPAN_S = 2.0  # over which busyness is measured
BUSY_LIMIT = 0.92  # above this share of time nothing is left for a hiccup
ROOM_LIMIT = 0.8  # predicted share below which the rung above is tried
FIXED_SHARE = 0.5  # of a window's cost that does not depend on its evaluations (hearing, decoding)
LATE_LIMIT = 2  # late windows within the span
LATE_BUSY = 0.5  # with less to do than this, lateness has another cause, and less work would not help
REST_S = 4.0  # at least this long on a rung before going up; twice as long after each climb that failed
MAX_REST_S = 64.0


class EffortLadder:
    """Rungs of evaluations: the preset's number, then half of it, down to 1.

    Args:
        nfe: the engine's evaluations per window; None leaves the effort alone.
        hop_s: seconds of speech in one window.
    """

    def __init__(self, nfe: int | None, hop_s: float) -> None:
        self._rungs = [nfe] if nfe is None else _halved(nfe)
        self._rung = 0
        self._span_s = max(SPAN_S, 4 * hop_s)
        self._busy: deque[tuple[float, float]] = deque()
        self._late: deque[float] = deque()
        self._changed_s: float | None = None
        self._climbed = False  # the last move went up
        self._rest_s = REST_S

    @property
    def nfe(self) -> int | None:
        """Evaluations a window may cost now."""
        return self._rungs[self._rung]

    @property
    def reduced(self) -> bool:
        """Whether windows get fewer evaluations than the preset says."""
        return self._rung > 0

    def limit(self, controls: Controls) -> Controls:
        """The session's own settings, with the evaluations brought down to the rung."""
        if not self.reduced or self.nfe is None:
            return controls
        return replace(controls, nfe=min(self.nfe, controls.nfe or self.nfe))

    def note_drop(self, now_s: float) -> None:
        """A window was dropped from a full queue."""
        self._late.append(now_s)
        self._judge(now_s)

    def note_batch(self, now_s: float, took_s: float, late: bool) -> None:
        """A batch finished at `now_s` after `took_s`; `late` if any of it missed its deadline."""
        self._busy.append((now_s, took_s))
        if late:
            self._late.append(now_s)
        self._judge(now_s)

    def busy_share(self, now_s: float) -> float:
        """Share of the last seconds the engine spent drawing, 0 … 1."""
        while self._busy and self._busy[0][0] < now_s - self._span_s:
            self._busy.popleft()
        return min(1.0, sum(took for _, took in self._busy) / self._span_s)

    def _judge(self, now_s: float) -> None:
        while self._late and self._late[0] < now_s - self._span_s:
            self._late.popleft()
        share = self.busy_share(now_s)
        if self._changed_s is None:
            self._changed_s = now_s
        since_s = now_s - self._changed_s
        if share > BUSY_LIMIT or (len(self._late) >= LATE_LIMIT and share > LATE_BUSY):
            if self._rung + 1 < len(self._rungs) and (self._rung == 0 or since_s > self._span_s / 2):
                self._move(+1, now_s)
        elif self._rung > 0 and since_s > self._rest_s and not self._late:
            above, here = self._rungs[self._rung - 1], self._rungs[self._rung]
            assert above is not None
            assert here is not None
            if share * (FIXED_SHARE + (1 - FIXED_SHARE) * above / here) < ROOM_LIMIT:
                self._move(-1, now_s)

    def _move(self, rungs: int, now_s: float) -> None:
        if rungs > 0:
            self._rest_s = min(2 * self._rest_s, MAX_REST_S) if self._climbed else REST_S
        self._climbed = rungs < 0
        self._rung += rungs
        self._changed_s = now_s
        self._late.clear()
        self._busy.clear()


def _halved(nfe: int) -> list[int | None]:
    rungs: list[int | None] = [nfe]
    while nfe > 1:
        nfe = (nfe + 1) // 2 if nfe > 3 else nfe - 1
        rungs.append(nfe)
    return rungs
