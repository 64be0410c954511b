"""A portrait keeps the whole picture, its transparency and the way from it to the canvas and back."""

from __future__ import annotations

import numpy as np
import pytest

from models.framing.similarity import Similarity
from stream.avatars.picture_files import Pixels
from stream.avatars.portrait import Portrait


def test_the_middle_square_of_a_picture_that_is_laid_out() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255
    portrait = Portrait.laid_out(Pixels(picture))
    assert portrait.size == (300, 100)
    canvas = portrait.canvas(64)
    assert canvas.shape == (64, 64, 3) and canvas[:, 4:-4].min() > 250
    assert portrait.canvas(100)[:, 1:-1].min() == 255


def test_transparency_lies_on_white_and_is_kept_beside() -> None:
    alpha = np.zeros((80, 80), np.uint8)
    alpha[:40] = 255
    portrait = Portrait.laid_out(Pixels(np.zeros((80, 80, 3), np.uint8), alpha))
    canvas, matte = portrait.canvas(80), portrait.matte(80)
    np.testing.assert_array_equal(matte, alpha)
    np.testing.assert_array_equal(canvas[:40], 0)
    np.testing.assert_array_equal(canvas[40:], 255)
    opaque = Portrait.laid_out(Pixels(np.zeros((80, 80, 3), np.uint8)))
    assert opaque.matte(32).min() == 255


def test_a_canvas_drawn_anew_goes_back_where_it_came_from() -> None:
    picture = np.full((300, 400, 3), 90, np.uint8)
    portrait = Portrait(Pixels(picture), Similarity(2 + 0j, 128 + 128j - 2 * (200 + 150j)))
    drawn = portrait.canvas(512).copy()
    drawn[246:266, 246:266] = 255
    whole = portrait.put_back(drawn)
    assert whole.shape == picture.shape
    assert whole[150, 200].min() > 250
    assert (whole[:80] == 90).all()


def test_pictures_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="16 each way"):
        Portrait.laid_out(Pixels(np.zeros((15, 90, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        Pixels(np.zeros((90, 90), np.uint8))
    with pytest.raises(ValueError, match="transparency"):
        Pixels(np.zeros((90, 90, 3), np.uint8), np.zeros((9, 9), np.uint8))
