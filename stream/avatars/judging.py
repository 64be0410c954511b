"""Whether a face that was found can speak, and what a person should know of how it was framed.

In: a picture, the face in it, the similarity onto the canvas. Out: the end of a sentence that refuses it, or notes,
a sentence each. Measured are how large, how turned and how dark it is, how much of it lies beyond the picture, how
far its mouth is open and whether something is before it. A refusal is the worse error: the mouth's are for what is
plain, and three points set by hand turn them into notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from models.framing.finder import Face
from models.framing.mouth import SIDE, Mouth, MouthReader
from models.framing.similarity import Complexes, outside_share
from stream.avatars.portrait import Portrait

MIN_EYES_PX: Final = 14.0
"""Least distance between the eyes: on the canvas it becomes 62 px. Thumbnails of 100 px and more pass."""
MIN_DOUBTED_PX: Final = 20.0
"""The same for a face of which the finder is not sure: of that size it may as well be a bird."""
SOFT_EYES_PX: Final = 62.0
MAX_YAW_DEG: Final = 40.0
SOME_YAW_DEG: Final = 20.0
MIN_SPREAD: Final = 0.6
"""Least distance between the eyes in lengths from eyes to mouth: 1 in a face seen from the front."""
MAX_OUTSIDE: Final = 0.25
MIN_LIGHT: Final = 0.06
MIN_CONTRAST: Final = 0.02
SURE: Final = 0.5
RIVAL: Final = 0.6
"""A second face of that share of the first one's width is worth a word."""
WIDE_OPEN: Final = 0.68
"""Of the state `open`, as it is read: laughing shows teeth at less."""
MAYBE_OPEN: Final = 0.6
COVERED: Final = 0.95
"""How sure the reader must be that something is before the mouth."""
MAYBE_COVERED: Final = 0.7
LUMA: Final = np.array([0.299, 0.587, 0.114])


def three_of(face: Face) -> Complexes:
    z = face.landmarks[:, 0] + 1j * face.landmarks[:, 1]
    return np.array([z[0], z[1], (z[3] + z[4]) / 2])


def spread_of(face: Face) -> float:
    left, right, mouth = three_of(face)
    return float(abs(right - left) / max(abs(mouth - (left + right) / 2), 1e-6))


def _yaw_deg(face: Face) -> float:
    """How far the head is turned aside, by the nose's way from the middle of the eyes."""
    z = face.landmarks[:, 0] + 1j * face.landmarks[:, 1]
    nose = (z[2] - (z[0] + z[1]) / 2) / (z[1] - z[0])
    return float(np.degrees(np.arctan(abs(nose.real) / 0.5)))


def problem_of(portrait: Portrait, face: Face, ask: str) -> str:
    """Why a face cannot be used, as the end of a sentence; "" if it can."""
    left, right, _ = three_of(face)
    eyes_px, yaw_deg = abs(right - left), _yaw_deg(face)
    if eyes_px < (MIN_EYES_PX if face.score >= SURE else MIN_DOUBTED_PX):
        return f"is too small: {eyes_px:.0f} px between the eyes, at least {MIN_DOUBTED_PX:.0f} are needed."
    if yaw_deg > MAX_YAW_DEG or spread_of(face) < MIN_SPREAD:
        return f"is seen from the side; give one that is seen from the front, or {ask}."
    outside = outside_share(portrait.similarity, *portrait.size)
    if outside > MAX_OUTSIDE:
        return f"lies beyond the picture's edge by {outside:.0%}; give one that is seen whole."
    luma = portrait.canvas(64)[16:56, 12:52] @ (LUMA / 255)
    if float(luma.mean()) < MIN_LIGHT:
        return f"is too dark: brightness {luma.mean():.2f} of 1, at least {MIN_LIGHT} is needed."
    if float(luma.std()) < MIN_CONTRAST:
        return f"has too little contrast: {luma.std():.3f} of 1, at least {MIN_CONTRAST} is needed."
    return ""


def notes_of(face: Face, found: Sequence[Face]) -> list[str]:
    notes = []
    rivals = sum(other.width >= RIVAL * face.width for other in found[1:])
    if len(found) > 1:
        like = f", {rivals} of them of like size" if rivals else ""
        notes.append(f"{len(found)} faces are seen{like}; the largest is taken.")
    left, right, _ = three_of(face)
    if abs(right - left) < SOFT_EYES_PX:
        notes.append(f"The face is small ({abs(right - left):.0f} px between the eyes) and will look soft.")
    if _yaw_deg(face) > SOME_YAW_DEG:
        notes.append(
            f"The head is turned aside by some {_yaw_deg(face):.0f} degrees; frontal ones speak better."
        )
    if face.score < SURE:
        notes.append(
            "The face was found with little certainty: look at what was seen, is something before it?"
        )
    return notes


@cache
def _reader() -> MouthReader:
    return MouthReader()


def mouth_of(portrait: Portrait) -> Mouth:
    """How the mouth of a framed face stands; some milliseconds."""
    return _reader().read(portrait.canvas(SIDE))


def mouth_problem(mouth: Mouth, ask: str) -> str:
    """Why a mouth cannot be moved, as the end of a sentence; "" if it can."""
    if mouth.covered > COVERED:
        return f"has something in front of its mouth; give one without, or, to take it all the same, {ask}."
    if mouth.open > WIDE_OPEN:
        return (
            f"has its mouth wide open; give one with the lips together, or, to take it all the same, {ask}."
        )
    return ""


def mouth_notes(mouth: Mouth, by_hand: bool = False) -> list[str]:
    """What a person should know of a mouth; of one that was set by hand only what is plain."""
    if mouth.covered > (COVERED if by_hand else MAYBE_COVERED):
        return ["Something may be in front of the mouth; it would not move with it: look at what was seen."]
    if mouth.open > (WIDE_OPEN if by_hand else MAYBE_OPEN):
        return ["The mouth seems to stand wide open; a face with the lips together speaks better."]
    return []
