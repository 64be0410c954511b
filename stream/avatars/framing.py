"""Where the face is: a picture becomes a portrait, or one sentence that says why it does not.

In: pixels, and three points where the finder sees nothing. Out: a `Portrait` whose eyes and mouth lie on the lines
of `models.face`, or an `UnframedError` with a picture of what was seen. Any thread; some tenths of a second.

Whether a face that was found can speak is judged in `stream.avatars.judging`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from models.framing.finder import Face, FaceFinder, overlap, resize
from models.framing.similarity import Similarity, lay_on_lines
from stream.avatars.judging import (
    LUMA,
    MIN_EYES_PX,
    MIN_SPREAD,
    mouth_notes,
    mouth_of,
    mouth_problem,
    notes_of,
    problem_of,
    spread_of,
    three_of,
)
from stream.avatars.picture_files import Pixels
from stream.avatars.portrait import Portrait
from stream.errors import MediaError
from stream.media import UInt8Array

FAINT: Final = 0.18
"""Least score of a face that nothing else competes with; of sixty landscapes none gave more than 0.17."""
FAINT_MIRRORED: Final = 0.12
FAINT_SHARE: Final = 0.12
"""Least width of such a face, of the picture's."""
LOOK_PX: Final = 1280
"""The longer side at which a picture is searched; what is found is looked at again in the picture itself."""
QUICK_PX: Final = 320
CLOSE_PX: Final = 256
SEEN_PX: Final = 768
ASK: Final = "set the three points by hand, two eyes and the mouth"
"""What to do where the finder sees nothing; a command adds how."""

Points = Sequence[tuple[float, float]]


class UnframedError(MediaError):
    """No face can be framed in a picture.

    Attributes:
        seen: (H, W, 3) uint8, the picture as it was looked at, with what was found drawn into it.
    """

    def __init__(self, message: str, seen: UInt8Array) -> None:
        super().__init__("no_face", message, 422)
        self.seen = seen


def find_and_frame(pixels: Pixels, name: str, ask: str = ASK) -> Portrait:
    """Find the largest face of a picture and lay it on the canvas.

    Args:
        name: what the picture is called in sentences.
        ask: what they advise where a person may know better.

    Raises:
        UnframedError: none is found, or it cannot be used.
    """
    with _FINDING:  # one at a time: each takes a core and some memory
        found = _look(pixels.rgb)
    if not found:
        raise UnframedError(
            f"No face was found in {name}; give one that is seen from the front, or {ask}.",
            draw_seen(pixels, None),
        )
    face = found[0]
    marks = three_of(face)
    portrait = Portrait(pixels, lay_on_lines(marks), marks=marks)
    mouth = mouth_of(portrait)
    if problem := problem_of(portrait, face, ask) or mouth_problem(mouth, ask):
        raise UnframedError(f"The face in {name} {problem}", draw_seen(pixels, portrait.similarity, face))
    return replace(portrait, notes=(*notes_of(face, found), *mouth_notes(mouth)))


def frame_by_points(pixels: Pixels, points: Points, name: str) -> Portrait:
    """Lay three points set by hand on the canvas, and say what is seen there: a person knows better.

    Raises:
        MediaError: see `lay_points`.
    """
    portrait = lay_points(pixels, points, name)
    return replace(portrait, notes=tuple(mouth_notes(mouth_of(portrait), by_hand=True)))


def lay_points(pixels: Pixels, points: Points, name: str) -> Portrait:
    """Lay three points on the canvas, without a look at what is there.

    Args:
        points: the viewer's left eye, right eye and the middle of the mouth, px of the upright file.

    Raises:
        MediaError: they lie outside of the picture, are no face, or too close together.
    """
    z = np.array([complex(*point) for point in points], np.complex128) * pixels.scale
    height, width = pixels.rgb.shape[:2]
    inside = (z.real >= 0) & (z.real <= width) & (z.imag >= 0) & (z.imag <= height)
    if len(z) != 3 or not inside.all():
        size = f"{round(width / pixels.scale)}x{round(height / pixels.scale)}"
        raise MediaError(
            "bad_points",
            f"Expected three points inside of {name}, which has {size} pixels, got {_said(points)}.",
            422,
        )
    eyes, mouth = z[1] - z[0], z[2] - z[:2].mean()
    if abs(eyes) < MIN_EYES_PX or abs(mouth) < MIN_EYES_PX / 2:
        raise MediaError(
            "bad_points",
            f"The points in {name} lie too close together: expected at least {MIN_EYES_PX:.0f} px between the eyes "
            f"and half of that to the mouth, got {_said(points)}.",
            422,
        )
    below = (mouth / eyes).imag  # how far the mouth lies below the eyes' line, in eye distances
    if not 0.3 < below < 4 or abs((mouth / eyes).real) > 1:
        raise MediaError(
            "bad_points",
            f"The points in {name} are no face: expected the left eye, the right eye and the mouth below them, as "
            f"the viewer sees them, got {_said(points)}.",
            422,
        )
    return Portrait(pixels, lay_on_lines(z), marks=z)


def draw_seen(pixels: Pixels, similarity: Similarity | None, face: Face | None = None) -> UInt8Array:
    """What was seen, at most 768 px: the picture, the canvas cut out of it, eyes and mouth."""
    height, width = pixels.rgb.shape[:2]
    scale = min(1.0, SEEN_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(pixels.rgb).resize(size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    thick = max(2, max(size) // 200)
    if similarity is not None:
        corners = similarity.to_picture(np.array([0, 256, 256 + 256j, 256j, 0])) * scale
        draw.line([(z.real, z.imag) for z in corners], fill=(255, 170, 0), width=thick)
    if face is not None:
        for x, y in face.landmarks * scale:
            box = (x - 2 * thick, y - 2 * thick, x + 2 * thick, y + 2 * thick)
            draw.ellipse(box, outline=(0, 230, 120), width=2)
    return np.asarray(image)


_FINDING: Final = threading.Lock()


@cache
def _finder() -> FaceFinder:
    return FaceFinder()


def _look(image: UInt8Array) -> list[Face]:
    """Faces, the largest first, looked at closely; where none stands upright, also with the picture turned."""
    finder = _finder()
    scale = min(1.0, LOOK_PX / max(image.shape[:2]))
    small = image
    if scale < 1:
        small = resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    upright = finder.search(small) or finder.search(small, QUICK_PX)
    if upright and spread_of(upright[0]) >= MIN_SPREAD:
        found = [_grown(face, 1 / scale) for face in upright]
        return [finder.look_again(image, found[0], CLOSE_PX) or found[0], *found[1:]]
    for quarters in (1, 3, 2):
        turned = np.ascontiguousarray(np.rot90(small, quarters))
        found = finder.search(turned, QUICK_PX)
        sure = found and (not upright or found[0].score > upright[0].score - 0.2)
        if sure and spread_of(found[0]) >= MIN_SPREAD:
            best = finder.look_again(turned, found[0], CLOSE_PX) or found[0]
            return [_grown(_turned_back(face, quarters, small), 1 / scale) for face in (best, *found[1:])]
    if upright:
        return [_grown(face, 1 / scale) for face in upright]
    return [_grown(face, 1 / scale) for face in _faint(finder, small)]


def _faint(finder: FaceFinder, image: UInt8Array) -> list[Face]:
    """A large face that is hardly one to the finder, as in drawings and paintings: looked for again, and in more
    contrast; believed where its landmarks are a face's and the mirrored picture says the same."""
    scale = min(1.0, QUICK_PX / max(image.shape[:2]))
    small = resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    width = small.shape[1]
    for picture in (small, _stretched(small)):
        some = [f for f in finder.search(picture, QUICK_PX, FAINT) if f.width >= FAINT_SHARE * width]
        some = [face for face in some if _is_laid_out(face)]
        if some:
            mirrored = finder.search(np.ascontiguousarray(picture[:, ::-1]), QUICK_PX, FAINT_MIRRORED)
            sure = [face for face in some if any(_agree(face, other, width) for other in mirrored)]
            if sure:
                return [_grown(face, 1 / scale) for face in sure]
    return []


def _stretched(image: UInt8Array) -> UInt8Array:
    """More contrast: the 2nd to the 98th percentile of light over all levels."""
    low, high = np.percentile(image[::4, ::4] @ LUMA, (2, 98))
    levels = (np.arange(256) - low) * (255 / max(high - low, 1.0))
    return np.asarray(levels.clip(0, 255).astype(np.uint8)[image])


def _is_laid_out(face: Face) -> bool:
    """Whether landmarks lie to each other as in a face seen from the front."""
    z = face.landmarks[:, 0] + 1j * face.landmarks[:, 1]
    eyes, mouth, down = z[1] - z[0], z[4] - z[3], (z[3] + z[4]) / 2 - (z[0] + z[1]) / 2
    if not eyes or not down:
        return False
    nose = ((z[2] - (z[0] + z[1]) / 2) / down).real
    wide = 0.75 < abs(eyes / down) < 1.5 and 0.45 < (mouth / eyes).real < 1.15
    return bool(
        wide and abs((down / eyes).real) < 0.25 and abs((mouth / eyes).imag) < 0.2 and 0.3 < nose < 0.8
    )


def _agree(face: Face, mirrored: Face, width: int) -> bool:
    """Whether a face found in the mirrored picture is the same one."""
    left, top, right, bottom = mirrored.box
    return overlap(face.box, np.array([width - right, top, width - left, bottom])) > 0.5


def _grown(face: Face, factor: float) -> Face:
    """A face in a picture that is larger by a factor."""
    return replace(face, box=face.box * factor, landmarks=face.landmarks * factor)


def _turned_back(face: Face, quarters: int, image: UInt8Array) -> Face:
    """A face found in `np.rot90(image, quarters)`, in the picture's own pixels."""
    height, width = image.shape[:2]

    def back(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = points[:, 0], points[:, 1]
        moved = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[quarters]
        return np.stack(moved, 1)

    box = back(face.box.reshape(2, 2))
    return replace(face, box=np.concatenate((box.min(0), box.max(0))), landmarks=back(face.landmarks))


def _said(points: Points) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
