"""How a picture is taken: the light and the camera, drawn from a seed's stream of numbers.

In: a random stream (and a split, whose kinds of light are its own). Out: `Light`, `Camera`. Colours are linear RGB;
angles are radians; directions point to the light, x to the viewer's right, y up, z to the viewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

LIGHTS: Final = {
    "train": ("window", "overcast", "sun", "soft box", "ceiling"),
    "val": ("lamp",),
    "test": ("stage",),
}


@dataclass(frozen=True, slots=True)
class Light:
    """Directional lights, the first with a shadow, and the sky's light from above and below."""

    kind: str
    directions: Floats  # (L, 3) unit
    colours: Floats  # (L, 3)
    above: Floats  # (3,)
    below: Floats  # (3,)
    side: float  # how much more of the sky's light comes from the right
    softness: float  # of the shadow's edge, decimetres


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the head is seen from, and what the camera does to the picture."""

    yaw: float
    pitch: float
    roll: float
    distance: float  # decimetres
    off_x: float  # how badly the face is framed, canvas px
    off_y: float
    off_scale: float
    exposure: float  # middle grey of the skin, 0..1
    contrast: float
    saturation: float
    white: Floats  # (3,) gains
    blur_px: float
    sharpening: float
    noise: float
    vignette: float


def _unit(azimuth: float, elevation: float) -> list[float]:
    level = math.cos(elevation)
    return [math.sin(azimuth) * level, math.sin(elevation), math.cos(azimuth) * level]


def draw_light(rng: np.random.Generator, split: str) -> Light:
    """A plausible light of one of the split's kinds."""
    kind = str(rng.choice(LIGHTS[split]))
    side = float(rng.choice((-1.0, 1.0)))
    # kind: azimuth, elevation (degrees), strength of key, of fill, of sky, warmth of key, softness
    ranges = {
        "window": ((25, 75), (0, 30), (0.7, 1.5), (0.0, 0.3), (0.25, 0.6), (-0.10, 0.06), (0.10, 0.25)),
        "overcast": ((-40, 40), (35, 70), (0.25, 0.6), (0.0, 0.2), (0.7, 1.1), (-0.08, 0.02), (0.2, 0.35)),
        "sun": ((10, 60), (25, 55), (1.2, 2.2), (0.0, 0.3), (0.4, 0.8), (0.0, 0.15), (0.03, 0.08)),
        "soft box": ((5, 50), (10, 40), (0.7, 1.4), (0.2, 0.6), (0.25, 0.6), (-0.05, 0.08), (0.12, 0.3)),
        "ceiling": ((-30, 30), (45, 70), (0.5, 1.0), (0.1, 0.4), (0.4, 0.8), (0.0, 0.12), (0.15, 0.3)),
        "lamp": ((30, 70), (0, 35), (0.8, 1.5), (0.0, 0.3), (0.2, 0.45), (0.12, 0.25), (0.06, 0.15)),
        "stage": ((40, 75), (15, 50), (1.2, 2.0), (0.1, 0.4), (0.2, 0.4), (-0.1, 0.1), (0.04, 0.1)),
    }[kind]  # fmt: skip
    azimuth, elevation, key, fill, sky, warmth, soft = (float(rng.uniform(*r)) for r in ranges)
    azimuth, elevation = math.radians(azimuth) * side, math.radians(elevation)
    directions, colours = [_unit(azimuth, elevation)], [[(1 + warmth) * key, key, (1 - 1.3 * warmth) * key]]
    if fill > 0.08:
        tint = float(rng.normal(0, 0.06))
        directions.append(_unit(-azimuth * rng.uniform(0.5, 1.3), math.radians(rng.uniform(-10, 35))))
        colours.append([(1 + tint) * fill, fill, (1 - tint) * fill])
    if kind == "stage" or rng.random() < 0.25:
        level = float(rng.uniform(0.4, 1.3))
        hue = rng.uniform(0.3, 1.0, 3) if kind == "stage" else np.ones(3)
        behind = math.radians(rng.uniform(115, 160)) * float(rng.choice((-1.0, 1.0)))
        directions.append(_unit(behind, math.radians(rng.uniform(5, 45))))
        colours.append((hue * level).tolist())
    tint = float(rng.normal(-0.01, 0.05))
    above = np.array([1 + tint, 1, 1 - 1.2 * tint]) * sky
    below = np.array([1.0, 0.88, 0.78]) * sky * rng.uniform(0.4, 0.85)
    return Light(
        kind,
        np.array(directions, np.float32),
        np.array(colours, np.float32),
        above.astype(np.float32),
        below.astype(np.float32),
        float(rng.normal(0.0, 0.3)),
        soft,
    )


def draw_camera(rng: np.random.Generator) -> Camera:
    yaw = rng.normal(0, 7) if rng.random() < 0.75 else rng.choice((-1, 1)) * rng.uniform(10, 24)
    return Camera(
        yaw=math.radians(float(np.clip(yaw, -24, 24))),
        pitch=math.radians(float(np.clip(rng.normal(-1, 4.5), -11, 10))),
        roll=math.radians(float(np.clip(rng.normal(0, 2.0), -5, 5))),
        distance=float(rng.uniform(6.0, 15.0)),
        off_x=float(rng.normal(0, 1.0)),
        off_y=float(rng.normal(0, 1.0)),
        off_scale=float(rng.normal(0, 0.02)),
        exposure=float(rng.uniform(0.40, 0.60)),
        contrast=float(rng.uniform(0.9, 1.2)),
        saturation=float(rng.uniform(0.88, 1.15)),
        white=np.exp(rng.normal(0, 0.04) * np.array([1, 0, -1]) + rng.normal(0, 0.01, 3)).astype(np.float32),
        blur_px=float(max(0.0, rng.normal(0.3, 0.25))),
        sharpening=float(max(0.0, rng.normal(0.25, 0.25))),
        noise=float(max(0.0, rng.normal(0.006, 0.005))),
        vignette=float(max(0.0, rng.normal(0.05, 0.08))),
    )
