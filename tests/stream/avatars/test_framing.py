"""A face is found, framed, or refused with the true reason and a picture of what was seen.

The photograph is scikit-image's astronaut (NASA, public domain), read from the installed package, never copied.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from kernels.machine import ROOT
from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, MOUTH_LINE_Y
from models.framing.finder import MIN_SCORE, FaceFinder
from models.framing.similarity import TARGET
from stream.avatars.framing import FAINT, UnframedError, draw_seen, find_and_frame, frame_by_points
from stream.avatars.picture_files import Pixels
from stream.errors import MediaError

EYES = (203.8 + 102.3j, 247.0 + 104.5j)
MOUTH = 222.5 + 144.0j


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(data.astronaut())


def framed_points(image: np.ndarray, points: list[complex]) -> np.ndarray:
    portrait = find_and_frame(Pixels(np.ascontiguousarray(image)), "x.png")
    return portrait.similarity.to_canvas(np.array(points))


def refused(image: np.ndarray) -> UnframedError:
    with pytest.raises(UnframedError) as raised:
        find_and_frame(Pixels(np.ascontiguousarray(image)), "x.png")
    assert raised.value.message.count("\n") == 0 and "x.png" in raised.value.message
    assert max(raised.value.seen.shape[:2]) <= 768 and raised.value.seen.shape[2] == 3
    return raised.value


def assert_on_the_lines(points: np.ndarray) -> None:
    left, right, mouth = points
    assert abs(left - complex(CANVAS_PX / 2 - EYE_SPREAD_X, EYE_LINE_Y)) < 6
    assert abs(right - complex(CANVAS_PX / 2 + EYE_SPREAD_X, EYE_LINE_Y)) < 6
    assert abs(mouth - complex(CANVAS_PX / 2, MOUTH_LINE_Y)) < 9


@pytest.mark.parametrize("quarters", range(4))
def test_eyes_and_mouth_lie_on_the_lines_however_the_picture_lies(photo: np.ndarray, quarters: int) -> None:
    points = [*EYES, MOUTH]
    for _ in range(quarters):  # (x, y) -> (y, width - x)
        points = [complex(z.imag, 512 - z.real) for z in points]
    assert_on_the_lines(framed_points(np.rot90(photo, quarters), points))


@pytest.mark.parametrize("scale", [0.6, 1.0, 3.0])
def test_the_whole_picture_is_kept_at_its_own_size(photo: np.ndarray, scale: float) -> None:
    side = round(512 * scale)
    image = np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS))
    portrait = find_and_frame(Pixels(image), "x.png")
    assert portrait.size == (side, side)
    assert_on_the_lines(portrait.similarity.to_canvas(np.array([*EYES, MOUTH]) * scale))
    assert any("soft" in note for note in portrait.notes) == (scale <= 1)


def test_a_close_up_and_a_grey_one(photo: np.ndarray) -> None:
    shift = 150 + 40j
    assert_on_the_lines(framed_points(photo[40:190, 150:290], [*(z - shift for z in EYES), MOUTH - shift]))
    grey = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    assert_on_the_lines(framed_points(grey, [*EYES, MOUTH]))


def test_of_several_faces_the_largest_is_taken_and_said(photo: np.ndarray) -> None:
    small = np.asarray(Image.fromarray(photo).resize((358, 358), Image.Resampling.LANCZOS))
    both = np.concatenate((np.pad(small, ((0, 154), (0, 0), (0, 0)), mode="edge"), photo), 1)
    portrait = find_and_frame(Pixels(both), "x.png")
    assert_on_the_lines(portrait.similarity.to_canvas(np.array([*EYES, MOUTH]) + 358))
    assert portrait.notes[0] == "2 faces are seen, 1 of them of like size; the largest is taken."


def test_a_thumbnail_is_framed(photo: np.ndarray) -> None:
    """100 px of head and shoulders, as people's pictures lie beside their names."""
    small = np.asarray(Image.fromarray(photo[:270, 90:360]).resize((100, 100), Image.Resampling.LANCZOS))
    points = [(z - 90) * (100 / 270) for z in (*EYES, MOUTH)]
    assert_on_the_lines(framed_points(small, points))


def test_a_drawing_that_the_finder_hardly_takes_for_a_face_is_looked_at_again() -> None:
    """Below the score of a photograph, but a face from both sides: framed, and said to be doubtful."""
    image = np.asarray(Image.open(ROOT / "avatars" / "freya.png").convert("RGB"))
    found = [face.score for face in FaceFinder().search(image, least=FAINT)]
    assert len(found) == 1 and found[0] < MIN_SCORE
    portrait = find_and_frame(Pixels(image), "x.png")
    assert_on_the_lines(portrait.similarity.to_canvas(TARGET))
    assert any("little certainty" in note for note in portrait.notes)


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "brick"])
def test_no_face(name: str) -> None:
    image = np.asarray(getattr(data, name)())
    image = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
    said = refused(image).message
    assert "No face was found in x.png" in said and "set the three points by hand" in said


def test_a_profile() -> None:
    image = np.repeat(np.asarray(data.camera())[..., None], 3, 2)[60:200, 170:310]
    large = np.asarray(Image.fromarray(image).resize((560, 560), Image.Resampling.LANCZOS))
    assert "seen from the side" in refused(large).message or "No face" in refused(large).message


def test_too_small_too_dark_and_beyond_the_edge(photo: np.ndarray) -> None:
    small = np.asarray(Image.fromarray(photo).resize((140, 140), Image.Resampling.LANCZOS))
    assert "too small: 1" in refused(small).message
    assert "too dark" in refused((photo * 0.06).astype(np.uint8)).message
    assert "beyond the picture's edge" in refused(photo[:130, 185:265]).message


def test_three_points_set_by_hand() -> None:
    cat = np.asarray(data.chelsea())
    portrait = frame_by_points(Pixels(cat), [(184, 105), (260, 118), (214, 168)], "cat.png")
    placed = portrait.similarity.to_canvas(np.array([184 + 105j, 260 + 118j, 214 + 168j]))
    assert abs(placed[:2].imag.mean() - EYE_LINE_Y) < 1e-6
    assert abs(placed[2] - complex(CANVAS_PX / 2, MOUTH_LINE_Y)) < 12
    reduced = frame_by_points(Pixels(cat, scale=0.5), [(368, 210), (520, 236), (428, 336)], "cat.png")
    assert abs(reduced.similarity.turn - portrait.similarity.turn) < 1e-9
    assert draw_seen(portrait.pixels, portrait.similarity).shape == cat.shape


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([(184, 105), (260, 118), (214, 999)], "inside of cat.png, which has 451x300 pixels"),
        ([(184, 105), (190, 105), (187, 140)], "too close together"),
        ([(184, 105), (260, 118), (222, 114)], "too close together"),
        ([(260, 118), (184, 105), (214, 168)], "no face: expected the left eye"),
        ([(184, 105), (260, 118), (220, 20)], "no face"),
        ([(184, 105)], "three points"),
    ],
)
def test_points_that_are_no_face(points: list[tuple[float, float]], why: str) -> None:
    with pytest.raises(MediaError, match=why):
        frame_by_points(Pixels(np.asarray(data.chelsea())), points, "cat.png")
