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
from distill.evaluation.faces.openings import jaw_drop, on_canvas
from distill.evaluation.faces.performers import Performer
from distill.evaluation.faces.regions import Regions, regions_of
from distill.evaluation.measures import Bools, Floats, UInt8, best_lag, pearson, quiet_frames
from distill.evaluation.readings import read_mouth
from distill.probe import Probe

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
        `jaw_drop` and by how much the mouth's region differs from the picture, which know no network; ``lag``:
        frames by which the picture is late, by the probe; ``silence_share``: gap where the mouth is told to be
        shut, beyond the picture's own and the least of the frames, as a share of its range; ``r_blink``;
        ``rest_db``, ``worst_rest_db``, ``around_db``: likeness to the framed picture outside mouth and eyes, in
        the face box (all frames, the worst one) and on the whole canvas; ``detail``: gradient energy of the
        mouth's region over the picture's.
    """
    seen = Differences(frames, framed, regions)
    canvases = np.stack([on_canvas(frame) for frame in (framed, *frames)])
    opening, blink = read_mouth(probe, probe_boxes(canvases))
    opening, still = opening[1:], float(opening[0])
    driven = line.opening
    figures = {
        "r_opening": pearson(opening, driven),
        "r_jaw": pearson(jaw_drop(canvases[1:], canvases[0]), driven),
        "r_change": pearson(seen.mouth, driven),
        "lag": float(best_lag([opening], [driven])[0]),
        "silence_share": silence_share(opening - min(still, float(np.percentile(opening, 5))), driven),
        "r_blink": pearson(blink[1:], line.blink),
        "rest_db": decibels(seen.rest.mean()),
        "worst_rest_db": decibels(seen.rest.max()),
        "around_db": decibels(seen.around.mean()),
        "detail": detail(frames, regions.mouth) / max(detail(framed[None], regions.mouth), 1e-6),
    }
    return {key: round(value, 4) for key, value in figures.items()}


class Differences:
    """How frames (T, S, S, 3) differ from one picture (S, S, 3) or from as many, by region: one walk over them.

    Attributes:
        mouth, eyes, rest, around: (T,) mean squared differences, levels of 255.
    """

    def __init__(self, frames: UInt8, others: UInt8, regions: Regions) -> None:
        masks = {name: getattr(regions, name) for name in ("mouth", "eyes", "rest", "around")}
        found: dict[str, list[float]] = {name: [] for name in masks}
        for number, frame in enumerate(frames):
            other = others if others.ndim == 3 else others[number]
            difference = frame.astype(np.int32) - other
            squares = np.einsum("ijc,ijc->ij", difference, difference)
            for name, mask in masks.items():
                found[name].append(float(squares[mask].mean(dtype=np.float64)) / 3)
        self.mouth, self.eyes, self.rest, self.around = (np.array(found[name]) for name in masks)


def decibels(mean_square: float) -> float:
    """PSNR in dB of a mean squared difference of levels of 255; at most 99."""
    return min(99.0, float(10 * np.log10(255.0**2 / max(mean_square, 1e-12))))


def probe_boxes(canvases: UInt8) -> UInt8:
    """What the probe looks at of canvases (T, 256, 256, 3): its face box (T, 160, 160, 3)."""
    left, top, width, height = MEASURED_BOX
    return np.ascontiguousarray(canvases[:, top : top + height, left : left + width])


def silence_share(opening: Floats, driven: Floats) -> float:
    """How far a mouth (T,) px stands open where it is told to be shut, as a share of its range.

    0 where it is never told so; a range below a pixel, as of a mouth that does not answer, counts as one.
    """
    quiet = quiet_frames(driven)
    spread = float(np.percentile(opening, 97.5) - np.percentile(opening, 2.5))
    return float(opening[quiet].clip(0).mean()) / max(spread, 1.0) if quiet.any() else 0.0


def detail(frames: UInt8, where: Bools) -> float:
    """Gradient energy of luma over ``where`` (S, S): mean squared step to the right and down, levels of 255."""
    rows, columns = (np.flatnonzero(where.any(axis)) for axis in (1, 0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inner = where[part][:-1, :-1]
    total = 0.0
    for frame in frames:
        luma = frame[part] @ LUMA
        steps = np.diff(luma, axis=1)[:-1] ** 2 + np.diff(luma, axis=0)[:, :-1] ** 2
        total += float(steps[inner].mean(dtype=np.float64))
    return total / len(frames)
