"""What turning the two guidance scales does, with one branch: the mouth's amplitude and the face's likeness.

In: a streamer, the probe, a suite of clips. Out: one figure per scale, and whether each rises or falls throughout.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from distill.evaluation.run import evaluate
from distill.evaluation.suites import Suite
from distill.probe import Probe
from models.hop import HopControls
from models.streaming import Streamer

VALUES: Final = 7
CLIPS: Final = 4
SECONDS: Final = 3.0


def sweep(
    streamer: Streamer, probe: Probe, suite: Suite, controls: HopControls, data: Path, values: int = VALUES
) -> dict[str, Any]:
    """Measure ``values`` audio scales and as many reference scales over the preset's ranges, one at a time.

    Args:
        streamer: with ``move_head`` False.
        suite: measured on its first clips (4 of 3 s at most).
        controls: what the other scale and nfe stay at.

    Returns:
        ``amplitude_by_audio_scale`` and ``identity_distance_by_reference_scale``: {scale: figure}, and
        ``amplitude_rises``, ``identity_distance_falls``: whether every value is beyond the one before.
    """
    if values < 2:
        raise ValueError(f"A sweep needs 2 values or more, got {values}.")
    suite = replace(suite, clips=min(suite.clips, CLIPS), seconds=min(suite.seconds, SECONDS))
    stream = streamer.preset.stream

    def along(scales: Sequence[float], turned: Callable[[float], HopControls], key: str) -> dict[str, float]:
        return {f"{s:.4g}": evaluate(streamer, probe, suite, turned(s), data)[key] for s in scales}

    amplitude = along(
        _steps(stream.audio_scale_range, values),
        lambda scale: replace(controls, audio_scale=scale),
        "amplitude_ratio",
    )
    distance = along(
        _steps(stream.reference_scale_range, values),
        lambda scale: replace(controls, reference_scale=scale),
        "identity_distance",
    )
    return {
        "amplitude_by_audio_scale": amplitude,
        "amplitude_rises": all(a < b for a, b in itertools.pairwise(amplitude.values())),
        "identity_distance_by_reference_scale": distance,
        "identity_distance_falls": all(a > b for a, b in itertools.pairwise(distance.values())),
    }


def _steps(limits: tuple[float, float], values: int) -> list[float]:
    low, high = limits
    return [low + (high - low) * index / (values - 1) for index in range(values)]
