"""How many bits a second the picture may cost, from what the receiver reports. Pure decisions; event loop only.

In: loss and round-trip time, about once a second. Out: a rate from a short ladder. Every change builds the encoder
anew and costs a key frame, so there are few steps, drops are quick and rises are slow.
Source: the loss-based controller of draft-ietf-rmcat-gcc-02, section 6, on a ladder of rates; round-trip time
stands in for its delay-based one, since receivers tell aiortc no arrival times.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

STEP: Final = 0.75  # one rung of the ladder
LOWEST_BPS: Final = 120_000


@dataclass(frozen=True, slots=True)
class BitRateConfig:
    """Attributes:
    high_loss: fraction lost above which the rate falls, by half of that fraction and at least one rung.
    low_loss: fraction below which it may rise.
    queueing_s: round-trip time above the least seen that counts as a filling queue.
    settle_s: after a drop, reports say nothing for this long: they still tell of the old rate.
    remembered_s: how long the least round-trip time counts; after a change of route it would mislead for ever.
    calm_s: time without loss before a rise; doubles when a rise had to be taken back, up to `patience_s`.
    """

    high_loss: float = 0.10
    low_loss: float = 0.02
    queueing_s: float = 0.25
    settle_s: float = 2.0
    calm_s: float = 5.0
    patience_s: float = 60.0
    remembered_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.low_loss < self.high_loss < 1:
            raise ValueError(
                f"BitRateConfig needs 0 < low_loss < high_loss < 1, got {self.low_loss}, {self.high_loss}."
            )


class BitRateControl:
    """One viewer's rate.

    Args:
        highest_bps: the rate of a good network, which is also the first.
        config: see `BitRateConfig`.

    Raises:
        ValueError: the highest rate is not above 0.
    """

    def __init__(self, highest_bps: int, config: BitRateConfig | None = None) -> None:
        if highest_bps <= 0:
            raise ValueError(f"Expected a rate above 0, got {highest_bps}.")
        self._config = config or BitRateConfig()
        self.ladder = _ladder(highest_bps)
        self._rung = 0  # 0 is the highest
        self._rtts: deque[tuple[float, float]] = deque()
        self._deaf_until_s = float("-inf")
        self._calm_since_s: float | None = None
        self._wait_s = self._config.calm_s
        self._rose_s = float("-inf")

    @property
    def bit_rate(self) -> int:
        """Bits a second, now."""
        return self.ladder[self._rung]

    def note(self, lost: float, rtt_s: float | None, now_s: float) -> int:
        """Take a receiver's report in.

        Args:
            lost: fraction of packets lost since the report before, 0..1.
            rtt_s: round-trip time; None if it is not known. One below 0, or that is no number, is none: a clock
            that
                was set back gives such.
            now_s: the clock.

        Returns:
            The rate from now on.
        """
        config = self._config
        if rtt_s is not None and not 0.0 <= rtt_s < math.inf:
            rtt_s = None
        queueing = rtt_s is not None and rtt_s > self._least_rtt_s(rtt_s, now_s) + config.queueing_s
        if now_s < self._deaf_until_s:
            return self.bit_rate
        if lost > config.high_loss or queueing:
            self._fall(lost, now_s)
        elif lost > config.low_loss:
            self._calm_since_s = None
        else:
            self._rise(now_s)
        return self.bit_rate

    def _least_rtt_s(self, rtt_s: float, now_s: float) -> float:
        """The least round-trip time of the last `remembered_s`, this one included."""
        rtts = self._rtts
        while rtts and rtts[-1][1] >= rtt_s:
            rtts.pop()
        rtts.append((now_s, rtt_s))
        while rtts[0][0] < now_s - self._config.remembered_s:
            rtts.popleft()
        return rtts[0][1]

    def _fall(self, lost: float, now_s: float) -> None:
        config = self._config
        if now_s - self._rose_s < 2 * config.calm_s:  # the last rise was too much
            self._wait_s = min(2 * self._wait_s, config.patience_s)
        wanted = self.bit_rate * (1 - 0.5 * lost)
        self._rung = min(self._rung + 1, len(self.ladder) - 1)
        while self.ladder[self._rung] > wanted and self._rung + 1 < len(self.ladder):
            self._rung += 1
        self._calm_since_s = None
        self._deaf_until_s = now_s + config.settle_s

    def _rise(self, now_s: float) -> None:
        if self._calm_since_s is None:
            self._calm_since_s = now_s
        if self._rung and now_s - self._calm_since_s >= self._wait_s:
            self._rung -= 1
            self._calm_since_s = self._rose_s = now_s
        if now_s - self._rose_s > 4 * self._config.patience_s:
            self._wait_s = self._config.calm_s


def _ladder(highest_bps: int) -> tuple[int, ...]:
    rates = [highest_bps]
    while rates[-1] * STEP >= LOWEST_BPS:
        rates.append(int(rates[-1] * STEP))
    return tuple(rates)
