"""Notices that the other side has fallen silent, and not that this process did. Pure; event loop only.

A machine that is paused or swaps for seconds hears nobody meanwhile. So silence is counted in the time for which we
were awake to hear: a look that comes late adds no more than two looks in time.
"""

from __future__ import annotations

import math

from stream.clock import Clock


class Vigil:
    """See the module's docstring.

    Args:
        clock: the time.
        most_s: silence after which the other side counts as gone.
        every_s: time between two looks.
    """

    def __init__(self, clock: Clock, most_s: float, every_s: float) -> None:
        self._clock = clock
        self._most_s = most_s
        self._every_s = every_s
        self._looked_s = clock.now()
        self._heard_s = -math.inf
        self._silent_s = 0.0

    def silent(self, heard_s: float) -> bool:
        """Look once: whether nothing has been heard for too long.

        Args:
            heard_s: the clock's reading when something was heard last.
        """
        now_s = self._clock.now()
        awake_s = min(now_s - self._looked_s, 2 * self._every_s)
        self._looked_s = now_s
        if heard_s > self._heard_s:
            self._heard_s, self._silent_s = heard_s, 0.0
        else:
            self._silent_s += awake_s
        return self._silent_s > self._most_s
