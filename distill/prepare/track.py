"""Following one face through a video and cutting it where it cannot be followed.

In: pictures at 25 fps. Out: a `Survey` of arrays over T pictures, then `Span`s of pictures that show one face
without a cut, and `Loss`es with the reason for everything else. No picture is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from distill.prepare.media import UInt8
from distill.prepare.quality import LUMA, blockiness
from models.framing.finder import Face, FaceFinder, overlap, resize

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SEARCH_EVERY = 12
"""Pictures between two looks at the whole picture; in between only the followed face is looked at."""
LOST_EVERY = 3
"""The same while no face is followed."""
RIVAL = 0.6
"""A second face of this share of the first one's width makes it unclear who speaks."""
BRIDGE = 4
"""A face lost for at most this many pictures is carried across."""
CUT_LEAP = 0.08
CUT_RATIO = 4.0
"""A cut: the whole picture changes by more than CUT_LEAP (0..1) and CUT_RATIO times as much as usual."""
THUMB = (32, 18)


@dataclass(frozen=True, slots=True)
class Span:
    """Pictures [first, last) that can become a clip."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Pictures [first, last) that cannot, and why."""

    first: int
    last: int
    reason: str


@dataclass(slots=True)
class Survey:
    """What the first reading of a video found, one entry for each of T pictures."""

    landmarks: list[Floats] = field(default_factory=list)  # (5, 2), NaN where no face was seen
    rival: list[float] = field(default_factory=list)  # width of the second face over that of the first
    leaps: list[float] = field(default_factory=list)  # mean change of luma, 0..1, from the picture before
    late_s: list[float] = field(default_factory=list)  # distance between the picture's time and its moment
    blocks: list[float] = field(default_factory=list)  # blockiness where it was measured

    def __len__(self) -> int:
        return len(self.leaps)

    def cuts(self) -> Bools:
        """True where a new shot begins (T,)."""
        leap = np.array(self.leaps)
        padded = np.pad(leap, 8, mode="reflect" if len(leap) > 8 else "edge")
        usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 17), axis=1)
        return np.asarray((leap > CUT_LEAP) & (leap > CUT_RATIO * usual))


def survey_faces(video: Iterable[tuple[UInt8, float]], finder: FaceFinder) -> Survey:
    """Read a whole video and follow its largest face."""
    found = Survey()
    face: Face | None = None
    thumb: Floats | None = None
    rival = 0.0
    for index, (image, late_s) in enumerate(video):
        thumb = _glance(found, image, late_s, thumb)
        same_shot = found.leaps[-1] < CUT_LEAP
        known = finder.look_again(image, face) if face is not None and same_shot else None
        lost = known is None and (face is not None or index % LOST_EVERY == 0)
        if lost or index % SEARCH_EVERY == 0:
            everyone = finder.search(image)
            known = known or (everyone[0] if everyone else None)
            others = [f.width for f in everyone if known is not None and overlap(f.box, known.box) < 0.3]
            rival = max(others, default=0.0) / known.width if known is not None else 0.0
        face = known
        found.landmarks.append(np.full((5, 2), np.nan) if face is None else face.landmarks)
        found.rival.append(rival)
        if face is not None and index % SEARCH_EVERY == 0:
            found.blocks.append(blockiness(image, face.box))
    return found


def survey_framed(video: Iterable[tuple[UInt8, float]]) -> Survey:
    """Read a whole video whose face is already in place: only cuts are looked for."""
    found = Survey()
    thumb: Floats | None = None
    for index, (image, late_s) in enumerate(video):
        thumb = _glance(found, image, late_s, thumb)
        found.landmarks.append(np.zeros((5, 2)))
        found.rival.append(0.0)
        if index % SEARCH_EVERY == 0:
            found.blocks.append(blockiness(image, np.array([0, 0, image.shape[1], image.shape[0]], float)))
    return found


def _glance(found: Survey, image: UInt8, late_s: float, before: Floats | None) -> Floats:
    """Note time and change of a picture; returns its small luma (h, w), 0..1."""
    thumb = np.asarray(resize(image, *THUMB) @ (LUMA / 255))
    found.leaps.append(0.0 if before is None else float(np.abs(thumb - before).mean()))
    found.late_s.append(late_s)
    return thumb


def spans(survey: Survey, shortest: int, longest: int) -> tuple[list[Span], list[Loss]]:
    """Cut a surveyed video into spans of shortest..longest pictures, and say what is lost."""
    total = len(survey)
    seen = np.array([not np.isnan(marks).any() for marks in survey.landmarks])
    seen = _bridged(seen)
    crowded = np.array(survey.rival) >= RIVAL
    label = np.where(~seen, "no face is seen", np.where(crowded, "two faces of like size are seen", ""))
    borders = np.flatnonzero(survey.cuts() | np.concatenate(([True], label[1:] != label[:-1])))
    kept, lost = list[Span](), list[Loss]()
    for first, last in zip(borders, [*borders[1:], total], strict=True):
        length = int(last - first)
        if label[first]:
            lost.append(Loss(int(first), int(last), str(label[first])))
        elif length < shortest:
            lost.append(Loss(int(first), int(last), "the shot is shorter than a clip may be"))
        else:
            pieces = -(-length // longest)
            edges = np.linspace(first, last, pieces + 1).round().astype(int)
            kept.extend(Span(a, b) for a, b in pairwise(edges.tolist()))
    return kept, lost


def _bridged(seen: Bools) -> Bools:
    """Fill gaps of at most BRIDGE pictures between two sightings."""
    out = seen.copy()
    at = np.flatnonzero(seen)
    for a, b in pairwise(at):
        if b - a - 1 <= BRIDGE:
            out[a:b] = True
    return out
