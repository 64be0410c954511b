"""Contact sheets with labels: a strip of cells for each face, what it is and how it fares at its left.

In: strips. Out: PNG files of at most a dozen strips, so that a person can look at one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from distill.evaluation.faces.line import MOMENTS
from distill.evaluation.faces.pictures import Spoken
from distill.evaluation.measures import UInt8

CELL_PX: Final = 224
LABEL_PX: Final = 216
TOP_PX: Final = 76
GAP_PX: Final = 6
ROWS: Final = 12
INK, PALE, PAPER, ALARM = (24, 24, 28), (120, 120, 128), (250, 250, 248), (190, 40, 30)
WANTED: Final = (
    ("r_opening", "opening r", "{:.2f}", 0.6),
    ("r_jaw", "jaw r", "{:.2f}", 0.6),
    ("silence_share", "silence", "{:.1%}", None),
    ("rest_db", "rest", "{:.1f} dB", 30.0),
    ("detail", "detail", "{:.2f}", 0.8),
)
"""Figures of a picture on its label: key, label, format, least value that is not drawn in red."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One row of a sheet.

    Attributes:
        name: on top of its label.
        lines: below it, each with whether it is an alarm.
        cells: square pictures (S, S, 3), the framed picture first.
        small: in small letters below.
    """

    name: str
    lines: Sequence[tuple[str, bool]]
    cells: Sequence[UInt8]
    small: Sequence[str] = ()


def strips_of(spoken: Sequence[Spoken]) -> list[Strip]:
    """A strip for each picture; the best first: those whose mouth answers and whose face stays."""
    return [
        Strip(
            one.picture.name,
            [
                (f"{label}  {form.format(one.figures[key])}", least is not None and one.figures[key] < least)
                for key, label, form, least in WANTED
            ],
            (one.picture.canvas, *one.moments),
            one.picture.notes[:2],
        )
        for one in sorted(spoken, key=_worth, reverse=True)
    ]


def _worth(one: Spoken) -> float:
    figures = one.figures
    answer = 0.5 * (figures["r_opening"] + figures["r_jaw"])
    return answer + min(figures["rest_db"], 36.0) / 36.0 - max(0.0, figures["silence_share"])


def draw_sheets(
    path: Path, strips: Sequence[Strip], title: str, columns: Iterable[str] = ("framed", *MOMENTS)
) -> list[Path]:
    """Write the sheet, ``ROWS`` strips on each; further ones are `NAME-2.png` and so on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns, written = tuple(columns), []
    for number, first in enumerate(range(0, len(strips), ROWS), 1):
        place = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        _sheet(strips[first : first + ROWS], title, columns).save(place)
        written.append(place)
    return written


def _sheet(strips: Sequence[Strip], title: str, columns: Sequence[str]) -> Image.Image:
    step = CELL_PX + GAP_PX
    sheet = Image.new("RGB", (LABEL_PX + len(columns) * step, TOP_PX + len(strips) * step), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP_PX, 8), title, INK, _font(20))
    for column, name in enumerate(columns):
        draw.text((LABEL_PX + column * step + 2, 46), name, INK, _font(18))
    for number, strip in enumerate(strips):
        top = TOP_PX + number * step
        _label(draw, strip, top)
        for column, cell in enumerate(strip.cells[: len(columns)]):
            sheet.paste(_cell(cell), (LABEL_PX + column * step, top))
    return sheet


def _label(draw: ImageDraw.ImageDraw, strip: Strip, top: int) -> None:
    draw.text((GAP_PX, top + 4), _short(strip.name, 23), INK, _font(17))
    at = top + 34
    for text, alarm in strip.lines:
        draw.text((GAP_PX, at), text, ALARM if alarm else PALE, _font(15))
        at += 22
    for note in strip.small:
        for text in _wrapped(note, 34)[:2]:
            draw.text((GAP_PX, at), text, PALE, _font(12))
            at += 15


def _cell(picture: UInt8) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture)).resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _wrapped(text: str, most: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
