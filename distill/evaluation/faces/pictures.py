"""Pictures of any kind that speak: how the mouth answers, and what stays the picture's own.

In: framed pictures (512, 512, 3) with names, who makes them speak, a `Line`. Out: a `Spoken` each: figures and the
frames of eight moments. Nothing true is known of such frames, so they are held against what drove them and
against the picture itself, the head held still.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from distill.data.regions import MEASURED_BOX
from distill.evaluation.faces.line import Line, find_moments
from distill.evaluation.faces.openings import change_in, jaw_drop
from distill.evaluation.faces.performers import Performer, resized
from distill.evaluation.faces.regions import Regions, regions_of
from distill.evaluation.measures import Bools, Floats, UInt8, best_lag, pearson, psnr, quiet_frames
from distill.evaluation.readings import read_mouth
from distill.probe import Probe
from models.face import CANVAS_PX

LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Framed:
    """A picture on the canvas.

    Attributes:
        name: what it is called.
        canvas: (512, 512, 3) uint8.
        notes: what the framing said of it.
    """

    name: str
    canvas: UInt8
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spoken:
    """A picture that spoke.

    Attributes:
        figures: numbers as `figures_of` gives them.
        moments: (8, 512, 512, 3), one for each of `MOMENTS`.
    """

    picture: Framed
    figures: Mapping[str, float]
    moments: UInt8


def speak(performer: Performer, pictures: Iterable[Framed], line: Line, probe: Probe) -> Iterator[Spoken]:
    """Let each picture say the line."""
    at = list(find_moments(line).values())
    regions = regions_of(performer.preset.face_box)
    for picture in pictures:
        frames = performer.perform(picture.canvas, line)
        yield Spoken(picture, figures_of(frames, picture.canvas, line, regions, probe), frames[at])


def figures_of(frames: UInt8, framed: UInt8, line: Line, regions: Regions, probe: Probe) -> dict[str, float]:
    """Figures of one picture's frames (T, 512, 512, 3).

    Returns:
        ``r_opening``: of the probe's lip gap with the opening that drove it; ``r_jaw``, ``r_change``: the same by
        `jaw_drop` and `change_in`, which know no network; ``lag``: frames by which the picture is late, by the
        probe; ``silence_share``: gap where the mouth is told to be shut, beyond the picture's own and the least
        of the frames, as a share of its range;
        ``r_blink``; ``rest_db``, ``worst_rest_db``, ``around_db``: likeness to the framed picture outside mouth
        and eyes, in the face box (all frames, the worst one) and on the whole canvas; ``detail``: gradient energy
        of the mouth's region over the picture's.
    """
    opening, blink = read_mouth(probe, small_boxes(frames))
    still = float(read_mouth(probe, small_boxes(framed[None]))[0][0])
    driven = line.opening
    figures = {
        "r_opening": pearson(opening, driven),
        "r_jaw": pearson(jaw_drop(frames, framed), driven),
        "r_change": pearson(change_in(frames, framed, regions.mouth), driven),
        "lag": float(best_lag([opening], [driven])[0]),
        "silence_share": silence_share(opening - min(still, float(np.percentile(opening, 5))), driven),
        "r_blink": pearson(blink, line.blink),
        "rest_db": psnr_to(frames, framed, regions.rest),
        "worst_rest_db": min(psnr(frame[None], framed[None], regions.rest) for frame in frames),
        "around_db": psnr_to(frames, framed, regions.around),
        "detail": detail(frames, regions.mouth) / max(detail(framed[None], regions.mouth), 1e-6),
    }
    return {key: round(value, 4) for key, value in figures.items()}


def small_boxes(frames: UInt8) -> UInt8:
    """What the probe looks at of frames (T, S, S, 3): its face box (T, 160, 160, 3)."""
    left, top, width, height = MEASURED_BOX
    small = np.stack([resized(frame, CANVAS_PX) for frame in frames])
    return np.ascontiguousarray(small[:, top : top + height, left : left + width])


def silence_share(opening: Floats, driven: Floats) -> float:
    """How far a mouth stands open where it is told to be shut, as a share of its range; 0 without such frames."""
    quiet = quiet_frames(driven)
    spread = float(np.percentile(opening, 97.5) - np.percentile(opening, 2.5))
    return float(opening[quiet].clip(0).mean()) / max(spread, 1e-6) if quiet.any() else 0.0


def psnr_to(frames: UInt8, framed: UInt8, where: Bools) -> float:
    """PSNR in dB of frames (T, S, S, 3) against one picture (S, S, 3) over ``where``."""
    return psnr(frames, np.broadcast_to(framed, frames.shape), where)


def detail(frames: UInt8, where: Bools) -> float:
    """Gradient energy of luma over ``where`` (S, S): mean squared step to the right and down, levels of 255."""
    total = 0.0
    inner = where[:-1, :-1]
    for frame in frames:
        luma = frame.astype(np.float32) @ LUMA
        step = np.diff(luma, axis=1)[:-1] ** 2 + np.diff(luma, axis=0)[:, :-1] ** 2
        total += float(step[inner].mean(dtype=np.float64))
    return total / len(frames)
