"""What somebody wants of a face, however they are connected."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from stream.engine.protocol import Controls

MAX_SEED: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Wish:
    """Attributes:
    avatar: id of the face; None leaves it to the server, or to the call that goes on.
    seed: same seed and same sound, same frames.
    controls: settings to begin with; scales that are None are the preset's own, or the call's that goes on.
    """

    avatar: str | None = None
    seed: int = 0
    controls: Controls = field(default_factory=Controls)

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"Expected a seed between 0 and 2^63 - 1, got {self.seed}.")

    def over(self, now: Controls) -> Controls:
        """The settings of a call that goes on: those wished for, and for the others those in force `now`."""
        asked = self.controls
        return replace(
            now,
            audio_scale=now.audio_scale if asked.audio_scale is None else asked.audio_scale,
            reference_scale=now.reference_scale if asked.reference_scale is None else asked.reference_scale,
        )
