"""What one hop of the stream carries: the state of a session, its controls, and what the device reads.

In: nothing. Out: values alone; `models.streaming` computes with them, `models.runtimes.static_hop` records them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from models.motion import MotionState
from models.presets import SCALE_LIMIT


@dataclass(frozen=True, slots=True)
class StreamState:
    """Everything that one session's stream carries from hop to hop."""

    canvas: Tensor  # (1, 3, h, w) the networks' canvas, [0, 1]; (1, 0) where nothing is painted onto it
    picture: Tensor  # (1, H, W, 4) uint8, what leaves is drawn from; (1, 0) where that is the canvas
    latent: Tensor  # (1, C, h, w) of its face box
    banks: tuple[Tensor, ...]  # ReferenceNet's bank per block, (1, L, C)
    features: tuple[Tensor, ...]  # decoder's reference features, (1, W, ., .)
    tone: Tensor  # (1, 3, 4) of the face box: `models.tone`
    noise: Tensor  # (1, 1, C, h, w): the same for every frame, so noise never flickers
    motion: Tensor  # (1, M, C, h, w): the last finished latents
    tail: Tensor | None  # (1, overlap, C, h, w): latents to blend into the next window; None at the start
    gestures: MotionState  # blinks, gaze, head pose
    frame: int  # index of the next frame
    moving: tuple[
        Tensor, ...
    ] = ()  # banks of `motion`, if made ahead by `Streamer.prepare`: per block (1, M, L, 2C)


@dataclass(frozen=True, slots=True)
class HopControls:
    """What a session may turn while it runs."""

    audio_scale: float
    reference_scale: float
    nfe: int
    listening: bool = False  # the other side speaks: the face nods and looks as a listener does

    def __post_init__(self) -> None:
        if not (0.0 <= self.audio_scale <= SCALE_LIMIT and 0.0 <= self.reference_scale <= SCALE_LIMIT):
            raise ValueError(
                f"Guidance scales must lie in 0..{SCALE_LIMIT:g}, got audio {self.audio_scale}, "
                f"reference {self.reference_scale}."
            )
        if not 1 <= self.nfe <= 50:
            raise ValueError(f"nfe must lie in 1..50, got {self.nfe}.")


@dataclass(frozen=True, slots=True)
class HopInputs:
    """What one hop of B sessions reads on the device: tensors alone, so that it can be recorded and replayed."""

    audio: Tensor  # (B, samples)
    expression: Tensor  # (B, T, 4)
    pose: Tensor  # (B * hop, 6)
    scales: Tensor  # (B, 2): reference, audio
    reference: Tensor  # (B, C, h, w)
    motion: Tensor  # (B, M, C, h, w)
    noise: Tensor  # (B, 1, C, h, w)
    tail: Tensor  # (B, overlap, C, h, w)
    has_tail: Tensor  # (B,) bool
    canvas: Tensor  # (B, 3, h, w), or (B, 0)
    picture: Tensor  # (B, H, W, 4) uint8, or (B, 0)
    tone: Tensor  # (B, 3, 4)
    banks: tuple[Tensor, ...]  # per block (B, L, 2C)
    features: tuple[Tensor, ...]  # per decoder level (B, W, ., .)
    moving: tuple[Tensor, ...] = ()  # banks of `motion`, per block (B, M, L, 2C); empty: still to be made


class HopRunner(Protocol):
    """Does a hop's work on the device."""

    def run(self, inputs: HopInputs, nfe: int) -> tuple[Tensor, np.ndarray, dict[str, float]]:
        """Blended latents (B, T, C, h, w), frames (B, hop, H, W, 3) uint8, milliseconds per stage."""
        ...

    def forget(self) -> None:
        """Free what it keeps between hops."""
        ...


def controls_of_rows(controls: HopControls | Sequence[HopControls], rows: int) -> Sequence[HopControls]:
    """One `HopControls` for each of the batch's rows."""
    if isinstance(controls, HopControls):
        return [controls] * rows
    if len(controls) != rows:
        raise ValueError(
            f"Expected one HopControls for all or {rows}, one for each state, got {len(controls)}."
        )
    if len({c.nfe for c in controls}) > 1:
        raise ValueError(
            f"Expected the same nfe for all sessions of a hop, got {sorted({c.nfe for c in controls})}; "
            "run one hop for each."
        )
    return controls
