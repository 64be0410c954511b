"""What one measured call does: what is said, what the network does to it, when it is interrupted. Values only.

In: options of `fada bench e2e`. Out: a `CallPlan`, which both clients (`bench.call.peer`,
`bench.call.browser.call`) carry out alike; as JSON it crosses to a client in a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from bench.call.bursts import BurstPlan
from bench.call.relay import Impairment


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One call.

    Attributes:
        bursts: what the microphone says and when it is interrupted.
        avatar: whose face; None leaves it to the server.
        seed: of the stream.
        up, down: what happens to media packets on the way to the server and back; where both are None no relay
            stands between.
        mic_delay_s: extra delay between the moment that counts as spoken and the sending; None leaves out the
            stage that makes it.
    """

    bursts: BurstPlan
    avatar: str | None = None
    seed: int = 0
    up: Impairment | None = None
    down: Impairment | None = None
    mic_delay_s: float | None = None

    @property
    def relayed(self) -> bool:
        """Whether a relay stands between client and server."""
        return self.up is not None or self.down is not None

    def offer_fields(self) -> dict[str, Any]:
        """Further fields of the offer."""
        return {"seed": self.seed, **({"avatar": self.avatar} if self.avatar else {})}

    def to_json(self) -> str:
        """As text for another process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CallPlan:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        for way in ("up", "down"):
            if values[way] is not None:
                values[way]["stalls_s"] = tuple((begin, end) for begin, end in values[way]["stalls_s"])
                values[way] = Impairment(**values[way])
        return cls(**{**values, "bursts": BurstPlan(**values["bursts"])})
