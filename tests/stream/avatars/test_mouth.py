"""A mouth that stands wide open or has something before it is refused or said; good portraits hear of nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from skimage import data

from distill.corpus.drawn import Character, sample_identities
from distill.corpus.drawn.canvas import FULL_BOX
from kernels.machine import ROOT
from models.framing.mouth import Mouth, MouthReader
from stream.avatars.avatar_folder import read_folder
from stream.avatars.framing import UnframedError, find_and_frame, frame_by_points, lay_points
from stream.avatars.judging import (
    COVERED,
    MAYBE_COVERED,
    MAYBE_OPEN,
    WIDE_OPEN,
    mouth_notes,
    mouth_of,
    mouth_problem,
)
from stream.avatars.picture_files import Pixels
from stream.avatars.portrait import Portrait

POINTS = [(203.8, 102.3), (247.0, 104.5), (222.5, 144.0)]
"""The eyes and the mouth of scikit-image's astronaut."""


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(data.astronaut())


def masked(photo: np.ndarray) -> np.ndarray:
    """The astronaut with a cloth mask."""
    image = Image.fromarray(photo)
    cloth = Image.new("L", image.size, 0)
    shape = [(186, 122), (222, 116), (260, 124), (257, 150), (240, 170), (222, 175), (203, 169), (189, 149)]
    ImageDraw.Draw(cloth).polygon(shape, fill=255)
    folds = np.broadcast_to(205 + 14 * np.sin(np.arange(512) / 2.2)[:, None, None], photo.shape)
    folds = (folds * np.array([0.86, 0.97, 1.0])).clip(0, 255).astype(np.uint8)
    image.paste(Image.fromarray(folds), mask=cloth.filter(ImageFilter.GaussianBlur(0.8)))
    return np.asarray(image)


def drawn(opened: float, count: int) -> np.ndarray:
    """Canvases of test characters whose mouths are so far open."""
    identity = sample_identities(list(range(count)), split="test")
    mouth, still = torch.zeros(count, 1, 6), torch.zeros(count, 1, 4)
    mouth[..., 0], mouth[..., 3] = opened, 0.5
    pictures = Character(identity, FULL_BOX).frames(mouth, still)[:, 0]
    return (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def test_a_smile_is_no_open_mouth(photo: np.ndarray) -> None:
    mouth = mouth_of(find_and_frame(Pixels(photo), "x.png"))
    assert mouth.open < MAYBE_OPEN and mouth.covered < MAYBE_COVERED


def test_no_bundled_face_hears_of_its_mouth() -> None:
    entries = read_folder(ROOT / "avatars")[0]
    assert len(entries) >= 10
    for entry in entries:
        assert not mouth_notes(mouth_of(entry.portrait())), entry.avatar.id


def test_drawn_mouths_that_stand_open_are_seen_and_shut_ones_are_not() -> None:
    read = {
        opened: [mouth_of(Portrait.laid_out(Pixels(canvas))) for canvas in drawn(opened, 8)]
        for opened in (0.0, 0.2, 0.9)
    }
    assert all(mouth.open < MAYBE_OPEN for opened in (0.0, 0.2) for mouth in read[opened])
    assert sum(mouth.open > MAYBE_OPEN for mouth in read[0.9]) >= 7
    assert all(mouth.covered < COVERED for mouths in read.values() for mouth in mouths)


def test_a_mask_is_refused_with_what_was_seen_and_taken_where_points_are_set(photo: np.ndarray) -> None:
    image = masked(photo)
    with pytest.raises(
        UnframedError, match=r"x\.png has something in front of its mouth; give one"
    ) as raised:
        find_and_frame(Pixels(image), "x.png")
    assert "set the three points by hand" in raised.value.message and raised.value.status == 422
    assert raised.value.seen.shape == image.shape
    portrait = frame_by_points(Pixels(image), POINTS, "x.png")
    assert [note for note in portrait.notes if "in front of the mouth" in note]
    assert frame_by_points(Pixels(photo), POINTS, "x.png").notes == ()
    assert lay_points(Pixels(image), POINTS, "x.png").notes == ()


def test_what_is_plain_is_refused_what_is_likely_is_said_and_else_nothing() -> None:
    wide, shut = WIDE_OPEN + 0.01, WIDE_OPEN - 0.01
    assert "mouth wide open; give one with the lips together" in mouth_problem(Mouth(wide, 0.0), "ask")
    assert "something in front" in mouth_problem(Mouth(wide, COVERED + 0.01), "ask")
    for mouth in (Mouth(shut, 0.0), Mouth(shut, COVERED - 0.01)):
        assert mouth_problem(mouth, "ask") == ""
    assert mouth_notes(Mouth(MAYBE_OPEN - 0.01, MAYBE_COVERED - 0.01)) == []
    assert "Something may be in front" in mouth_notes(Mouth(shut, MAYBE_COVERED + 0.01))[0]
    assert mouth_notes(Mouth(0.0, MAYBE_COVERED + 0.01), by_hand=True) == []
    assert "seems to stand wide open" in mouth_notes(Mouth(MAYBE_OPEN + 0.01, 0.0))[0]
    assert mouth_notes(Mouth(MAYBE_OPEN + 0.01, 0.0), by_hand=True) == []
    assert "seems to stand wide open" in mouth_notes(Mouth(wide, 0.0), by_hand=True)[0]


def test_missing_weights_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mouth reader's weights .* are missing; restore them"):
        MouthReader(tmp_path / "none.safetensors")
