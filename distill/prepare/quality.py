"""How good a clip is: measures of picture and sound, and the rules that make them a class.

In: canvases (T, 256, 256, 3) uint8, sound (N,) at 16 kHz, and what tracking and lip-sync found. Out: named figures
and a `Grade`: "high", "moderate" or refused, with a sentence for each rule that was broken. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from distill.data.regions import MEASURED_BOX, MOUTH_BOX
from distill.prepare.media import UInt8
from models.face import SAMPLES_PER_FRAME

Floats = npt.NDArray[np.float64]
Quality = Literal["high", "moderate"]

LUMA: Final = np.array([0.299, 0.587, 0.114])
GRID = 8
"""Side of the blocks that video codecs work in, px."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit for one figure.

    Attributes:
        moderate, refuse: limits; None where the rule has no such consequence.
        low: True when too little is bad, False when too much is.
        sentence: what is wrong, with the figure as {x}.
    """

    figure: str
    moderate: float | None
    refuse: float | None
    low: bool
    sentence: str

    def broken(self, value: float, limit: float | None) -> bool:
        """Whether the value lies beyond a limit."""
        return limit is not None and (value < limit if self.low else value > limit)


RULES: Final = (
    Rule("eye_distance_px", 40, 16, True, "the face is small: {x:.0f} px between the eyes"),
    Rule("outside", 0.02, 0.15, False, "{x:.0%} of the face lies beyond the picture"),
    Rule("yaw_deg", 22, 40, False, "the head is turned aside by {x:.0f} degrees"),
    Rule("roll_deg", 25, 50, False, "the head is tilted by {x:.0f} degrees"),
    Rule(
        "likeness",
        0.70,  # a drawn face with glasses that blinks and looks aside has 0.80
        0.50,
        True,
        "the face does not stay as it is (turned, covered): likeness {x:.2f} of 1",
    ),
    Rule("fps", 20, 10, True, "there are only {x:.1f} pictures a second"),
    Rule("bits_per_pixel", 0.012, None, True, "the video is compressed to {x:.3f} bits a pixel"),
    Rule("brightness", 0.20, 0.06, True, "the face is dark: brightness {x:.2f} of 1"),
    Rule("glare", 0.20, 0.60, False, "{x:.0%} of the face is burnt out"),
    Rule("contrast", 0.06, 0.02, True, "the face has little contrast: {x:.3f} of 1"),
    Rule("sharpness", 0.22, 0.05, True, "the picture is not sharp: detail {x:.3f}"),
    Rule("noise", 0.020, 0.120, False, "the picture is noisy: {x:.3f} of 1"),
    Rule("blockiness", 1.30, 2.5, False, "compression shows: block borders stand out {x:.2f} times"),
    Rule("repeated", 0.35, 0.70, False, "{x:.0%} of the pictures repeat the one before"),
    Rule("mouth_motion", None, 0.006, True, "the picture does not move: motion at the mouth {x:.4f}"),
    Rule("level_dbfs", -42, -58, True, "the sound is faint: {x:.0f} dBFS"),
    Rule("snr_db", 16, 5, True, "voice and background are only {x:.0f} dB apart"),
    Rule("clipped", 0.002, 0.05, False, "{x:.1%} of the sound is clipped"),
    Rule("speech", 0.15, 0.05, True, "hardly anybody speaks: {x:.0%} of the time"),
    Rule("bandwidth_hz", 3600, 900, True, "the sound is muffled: nothing above {x:.0f} Hz"),
    Rule("sync", 0.05, None, True, "lip-sync is not confirmed: {x:.2f} above chance"),
    Rule("lag_frames", 1.0, 12, False, "picture and sound are {x:.1f} frames apart"),
)


@dataclass(frozen=True, slots=True)
class Grade:
    """A clip's class, or None for refused, and why it is not better."""

    quality: Quality | None
    reasons: tuple[str, ...]


def grade(figures: Mapping[str, float]) -> Grade:
    """Apply all rules; a figure that was not measured breaks none."""
    refused, moderate = list[str](), list[str]()
    for rule in RULES:
        if rule.figure not in figures:
            continue
        value = figures[rule.figure]
        text = rule.sentence.format(x=value)
        if rule.broken(value, rule.refuse):
            refused.append(text)
        elif rule.broken(value, rule.moderate):
            moderate.append(text)
    if refused:
        return Grade(None, tuple(refused))
    return Grade("moderate" if moderate else "high", tuple(moderate))


def luma_of(canvases: UInt8) -> npt.NDArray[np.float32]:
    """Luma of the face box (T, 160, 160), 0..1."""
    left, top, width, height = MEASURED_BOX
    box = canvases[:, top : top + height, left : left + width].astype(np.float32)
    return np.asarray(box @ (LUMA / 255).astype(np.float32))


def picture_figures(canvases: UInt8) -> dict[str, float]:
    """Measure the face box of canvases (T, 256, 256, 3)."""
    luma = luma_of(canvases)
    some = luma[:: max(1, len(luma) // 24)]
    step = np.abs(np.diff(luma, axis=0)).mean((1, 2)) if len(luma) > 1 else np.zeros(1)
    x, y, width, height = MOUTH_BOX
    mouth = luma[:, y : y + height, x : x + width]
    return {
        "brightness": float(np.median(some.mean((1, 2)))),
        "glare": float((some > 0.98).mean()),
        "contrast": float(np.median(some.std((1, 2)))),
        "sharpness": detail(some),
        "noise": noise(luma),
        "repeated": _repeated(step),
        "mouth_motion": max(float(np.percentile(mouth.std(0), 90)) - noise(luma), 0.0),
    }


def _repeated(step: npt.NDArray[Any]) -> float:
    """Share of pictures that repeat the one before although the face moves just before and just after."""
    if len(step) < 3:
        return 0.0
    still = step < 5e-4
    return float((still[1:-1] & ~still[:-2] & ~still[2:]).mean())


def detail(luma: npt.NDArray[np.float32]) -> float:
    """Fine detail (T, H, W): the 99th percentile of second differences over the picture's contrast range."""
    curve = np.abs(np.diff(luma, n=2, axis=1))[:, :, 1:-1] + np.abs(np.diff(luma, n=2, axis=2))[:, 1:-1]
    extent = np.percentile(luma, 98, axis=(1, 2)) - np.percentile(luma, 2, axis=(1, 2))
    strong = np.percentile(curve, 99, axis=(1, 2))
    return float(np.median(strong / np.maximum(extent, 0.05)))


def noise(luma: npt.NDArray[np.float32]) -> float:
    """Deviation of what flickers from picture to picture, read where the face is stillest (T, H, W)."""
    if len(luma) < 3:
        return 0.0
    flicker = (luma[:-2] - 2 * luma[1:-1] + luma[2:]) / np.sqrt(6.0)
    return float(np.percentile(flicker.std(0), 20))


def blockiness(image: UInt8, box: Floats) -> float:
    """How much luma steps at multiples of 8 px stand out over those between, inside a box of a source picture."""
    height, width = image.shape[:2]
    left, top = max(int(box[0]), 0), max(int(box[1]), 0)
    right, bottom = min(int(box[2]), width), min(int(box[3]), height)
    if right - left < 3 * GRID or bottom - top < 3 * GRID:
        return 1.0
    luma = image[top:bottom, left:right].astype(np.float64) @ LUMA
    ratios = []
    for axis, start in ((1, left), (0, top)):
        step = np.abs(np.diff(luma, axis=axis)).mean(
            axis=1 - axis
        )  # step i is between start + i and the next
        phase = (np.arange(len(step)) + start + 1) % GRID
        border, within = step[phase == 0].mean(), step[(phase >= 2) & (phase <= 6)].mean()
        ratios.append((border + 0.1) / (within + 0.1))
    return float(np.mean(ratios))


def pose_figures(landmarks: Floats) -> dict[str, float]:
    """Head turn and tilt that nine in ten pictures stay below, from landmarks (T, 5, 2) in source px."""
    z = landmarks[..., 0] + 1j * landmarks[..., 1]
    eyes, between = z[:, 1] - z[:, 0], (z[:, 0] + z[:, 1]) / 2
    nose = (z[:, 2] - between) / eyes  # in eye distances, the head's tilt taken out
    yaw = np.degrees(np.arctan(np.abs(nose.real) / 0.5))
    return {
        "eye_distance_px": float(np.median(np.abs(eyes))),
        "yaw_deg": float(np.percentile(yaw, 90)),
        "roll_deg": float(np.percentile(np.abs(np.degrees(np.angle(eyes))), 90)),
    }


def levels_db(audio: npt.NDArray[np.float32]) -> Floats:
    """Level of each frame of 40 ms, dBFS."""
    whole = audio[: len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)
    return np.asarray(10 * np.log10((whole.astype(np.float64) ** 2).mean(1) + 1e-10))


def sound_figures(audio: npt.NDArray[np.float32], background_db: float) -> dict[str, float]:
    """Measure a clip's sound (N,) at 16 kHz.

    Args:
        background_db: level of the whole recording's quietest moments; a clip may have none of its own.
    """
    level = levels_db(audio)
    loud = float(np.percentile(level, 90))
    floor = min(background_db, float(np.percentile(level, 10)))
    spectrum = np.abs(np.fft.rfft(audio[: len(audio) // 512 * 512].reshape(-1, 512) * np.hanning(512))) ** 2
    heard = spectrum.mean(0) > spectrum.mean(0).max() * 10**-5.5
    peak = float(np.abs(audio).max())
    return {
        "level_dbfs": loud,
        "snr_db": loud - floor,
        "clipped": float((np.abs(audio) >= 0.985 * peak).mean()) if peak > 0.5 else 0.0,
        "speech": float((level > max(loud - 25, floor + 6, -60)).mean()),
        "bandwidth_hz": float(np.flatnonzero(heard).max(initial=0) * 16_000 / 512),
    }
