"""What callers may turn while their face is drawn: the two guidance scales, and whether it listens. Pure.

In: fields from anybody (an offer, the data channel, PATCH /sessions/ID/controls), the settings in force, the
engine's ranges. Out: checked `Controls`, or a `ValueError` with one sentence and nothing changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from stream.engine.protocol import Controls, EngineSpec

SCALES: Final = ("audio_scale", "reference_scale")


def read_scale(fields: Mapping[str, Any], name: str) -> float | None:
    """A field as a number; None where it is absent or null.

    Raises:
        ValueError: it is something else.
    """
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Expected {name} to be a number or null, got {json.dumps(value)[:40]}.")
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf


def read_listening(fields: Mapping[str, Any], now: bool) -> bool:
    """Whether the face shall listen; null means no, absent means as before.

    Raises:
        ValueError: it is something else.
    """
    value = fields.get("listening", now)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"Expected listening to be true, false or null, got {json.dumps(value)[:40]}.")
    return bool(value)


def read_controls(fields: Mapping[str, Any], now: Controls, spec: EngineSpec) -> Controls:
    """The settings that fields ask for; those absent stay, null means the preset's own.

    Raises:
        ValueError: a field is no number or out of the engine's range.
    """
    wanted = {name: read_scale(fields, name) if name in fields else getattr(now, name) for name in SCALES}
    controls = Controls(nfe=now.nfe, listening=read_listening(fields, now.listening), **wanted)
    check_scales(controls, spec)
    return controls


def check_scales(controls: Controls, spec: EngineSpec) -> None:
    """Hold settings to what the engine was made for.

    Raises:
        ValueError: a scale is out of range.
    """
    for name in SCALES:
        value, offered = getattr(controls, name), getattr(spec, name)
        if value is not None and not offered.low <= value <= offered.high:
            raise ValueError(f"Expected {name} between {offered.low:g} and {offered.high:g}, got {value:g}.")


def in_force(controls: Controls, spec: EngineSpec) -> dict[str, float]:
    """The scales that count, the preset's own put in where nobody asked for another."""
    own = {name: getattr(spec, name).default for name in SCALES}
    asked = {name: getattr(controls, name) for name in SCALES}
    return {name: own[name] if asked[name] is None else asked[name] for name in SCALES}


def controls_in_force(controls: Controls, spec: EngineSpec) -> dict[str, float]:
    """All that callers may turn, as it counts now: the scales, and `listening` as true or false."""
    return {**in_force(controls, spec), "listening": controls.listening}


def offered_scales(spec: EngineSpec) -> dict[str, dict[str, float]]:
    """The body of GET /controls: low, high and default of each scale."""
    return {name: asdict(getattr(spec, name)) for name in SCALES}
