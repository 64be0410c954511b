"""The shortest window that this machine draws in time: measured when a server starts, on its own networks.

In: networks on a device, and hops to try, the shortest first. Out: the first whose cost leaves time to spare, with
what each cost. A short hop answers sooner, a long one costs less a frame (motion frames are read once a window), so
a machine that cannot hold the short one is better served by a longer one than by a queue that never empties.
Runs on the engine's thread before anybody is there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from models.hop import HopControls
from models.networks import Networks
from models.presets import HopChoice
from models.streaming import Streamer

LONGER: Final = (3, 4)
"""Frames of the hops that are tried where the preset's own is too short for a machine."""
SHARE: Final = 0.65
"""A hop may cost this share of the time it covers: beside it the server hears, encodes and sends."""
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class HopFit:
    """Attributes:
    hop_frames: the choice.
    cost_ms: of every hop tried, in frames: median milliseconds of a window, what is done ahead included.
    in_time: whether the choice leaves time to spare.
    """

    hop_frames: int
    cost_ms: dict[int, float]
    in_time: bool


def fit_hop(
    networks: Networks,
    device: torch.device,
    nfe: int,
    longer: Sequence[int] = LONGER,
    share: float = SHARE,
    clock: Callable[[], float] = time.perf_counter,
    picture_px: int | None = None,
) -> HopFit:
    """Leave the networks' preset at the shortest hop that fits, or at the longest where none does.

    Args:
        networks: of a preset with the hop to try first.
        device: theirs.
        nfe: evaluations a window.
        longer: further hops in frames, rising.
        share: of a hop's time that it may cost.
        clock: seconds.
        picture_px: side of the pictures; None takes the preset's canvas.
    """
    own = networks.preset
    usual, cost_ms = own.stream.hop_frames, {}
    for hop in (usual, *(frames for frames in longer if frames > usual)):
        choice = HopChoice(hop, own.stream.overlap_frames, own.stream.lookahead_frames)
        networks.preset = choice.applied(own)
        cost_ms[hop] = _window_ms(networks, device, nfe, clock, picture_px)
        if cost_ms[hop] <= 1e3 * share * hop / own.fps:
            return HopFit(hop, cost_ms, True)
    return HopFit(hop, cost_ms, False)


def _window_ms(
    networks: Networks,
    device: torch.device,
    nfe: int,
    clock: Callable[[], float],
    picture_px: int | None,
) -> float:
    """Median milliseconds of one session's window."""
    streamer, preset = Streamer(networks, device, picture_px=picture_px), networks.preset
    side = streamer.placement.width
    sound = np.random.default_rng(0).normal(0, 0.1, (1, preset.window_samples)).astype(np.float32)
    states = [streamer.open(np.full((side, side, 3), 128, dtype=np.uint8), 0)]
    controls = HopControls(preset.stream.audio_scale, preset.stream.reference_scale, nfe)
    spent = []
    for _ in range(ROUNDS + 1):  # the first one warms up
        began_s = clock()
        states, _, _ = streamer.hop(states, sound, controls)
        states = streamer.prepare(states)
        spent.append(clock() - began_s)
    return 1e3 * statistics.median(spent[1:])
