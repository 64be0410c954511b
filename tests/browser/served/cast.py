"""Plain cartoon faces, so that the browser tests need neither the bundled avatars nor their renderer.

In: a folder. Out: pictures and `index.json` in the form of `avatars/`. Eyes, mouth and chin lie where
`models.face` says they lie in a well-framed picture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from models.face import CANVAS_PX, CHIN_LINE_Y, EYE_LINE_Y, EYE_SPREAD_X, MOUTH_LINE_Y

THUMBNAIL_PX: Final = 96
_FINER: Final = 3  # drawn this many times larger, then reduced: smooth edges


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of one face."""

    name: str
    skin: str
    hair: str
    ground: str
    clothes: str


CAST: Final = (
    Look("Ada", "#e9c8a8", "#5a3425", "#8fb8c9", "#d96c4a"),
    Look("Bruno", "#8a5a3c", "#1d1513", "#e6c77b", "#3c6e71"),
    Look("Chiyo", "#f2d3b8", "#20202a", "#e8a5b5", "#5b4b8a"),
    Look("Dele", "#5f3b28", "#0f0d0d", "#9fc49a", "#f0b429"),
    Look("Eva", "#f6d9c6", "#b5532a", "#c7b7e8", "#2f5d50"),
    Look("Farid", "#c99a6e", "#2a1b12", "#f0cfa0", "#27476e"),
)


def draw_face(look: Look) -> Image.Image:
    """One face with its mouth closed, 256 x 256 RGB."""
    side = CANVAS_PX * _FINER
    picture = Image.new("RGB", (side, side), look.ground)
    pen = ImageDraw.Draw(picture)

    def oval(left: float, top: float, right: float, bottom: float, colour: str) -> None:
        pen.ellipse([edge * _FINER for edge in (left, top, right, bottom)], fill=colour)

    middle = CANVAS_PX / 2
    oval(26, 222, CANVAS_PX - 26, 420, look.clothes)
    pen.rectangle(
        [(middle - 20) * _FINER, 190 * _FINER, (middle + 20) * _FINER, 240 * _FINER], fill=look.skin
    )
    oval(66, 30, CANVAS_PX - 66, 160, look.hair)
    oval(76, 52, CANVAS_PX - 76, CHIN_LINE_Y, look.skin)
    pen.pieslice([72 * _FINER, 28 * _FINER, 184 * _FINER, 150 * _FINER], 180, 360, fill=look.hair)
    for eye_x in (middle - EYE_SPREAD_X, middle + EYE_SPREAD_X):
        oval(eye_x - 11, EYE_LINE_Y - 8, eye_x + 11, EYE_LINE_Y + 8, "#fffaf4")
        oval(eye_x - 6, EYE_LINE_Y - 6, eye_x + 6, EYE_LINE_Y + 6, "#2b2430")
        pen.line(
            [(eye_x - 13) * _FINER, 105 * _FINER, (eye_x + 13) * _FINER, 105 * _FINER],
            fill=look.hair,
            width=4 * _FINER,
        )
    oval(middle - 20, MOUTH_LINE_Y - 4, middle + 20, MOUTH_LINE_Y + 4, "#8e3b38")
    return picture.resize((CANVAS_PX, CANVAS_PX), Image.Resampling.LANCZOS)


def write_cast(folder: Path) -> Path:
    """Writes every face, its thumbnail and the list.

    Args:
        folder: existing, empty.

    Returns:
        `folder`.
    """
    rows = []
    for look in CAST:
        name = look.name.lower()
        face = draw_face(look)
        face.save(folder / f"{name}.png")
        face.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS).save(folder / f"{name}.thumb.png")
        rows.append(
            {
                "id": name,
                "name": look.name,
                "image": f"{name}.png",
                "thumbnail": f"{name}.thumb.png",
                "about": f"{look.name} is a cartoon from the tests.",
            }
        )
    (folder / "index.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder
