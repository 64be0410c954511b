"""From picture to canvas and back: exact where nothing moves, faces on their lines, the rest untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.face import CANVAS_PX, EYE_LINE_Y
from models.framing.similarity import (
    TARGET,
    Similarity,
    cut,
    lay_on_lines,
    middle_square,
    put_back,
    read_laid_out,
)

ROOT = Path(__file__).resolve().parents[3]


def blobs(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture (H, W, 3) with structure everywhere."""
    small = np.random.default_rng(seed).integers(0, 255, (height // 16 + 2, width // 16 + 2, 3))
    return np.asarray(
        Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    )


def test_a_canvas_comes_back_as_it_is() -> None:
    for path in sorted((ROOT / "avatars").glob("*.png")):
        if ".thumb" not in path.name:
            own = np.asarray(Image.open(path).convert("RGB"))
            np.testing.assert_array_equal(read_laid_out(path, len(own)), own)


@pytest.mark.parametrize(("height", "width"), [(100, 300), (301, 200), (333, 333)])
@pytest.mark.parametrize("side", [64, 256, 512])
def test_the_middle_square_is_what_pillow_makes_of_it(height: int, width: int, side: int) -> None:
    picture = blobs(height, width)
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = Image.fromarray(picture[top : top + edge, left : left + edge])
    expected = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
    got = cut(picture, middle_square(width, height), side)
    within = slice(
        4 * side // 64, -4 * side // 64
    )  # at its edge a square knows nothing of what lies beside it
    assert np.abs(got.astype(int) - expected)[within, within].max() <= 2


@pytest.mark.parametrize("angle", [0.0, 0.3, -0.7, np.pi / 2, np.pi])
@pytest.mark.parametrize("scale", [0.2, 1.0, 6.0])
def test_three_points_lie_on_the_lines(angle: float, scale: float) -> None:
    truth = Similarity(scale * np.exp(1j * angle), 31 - 7j)
    points = truth.to_picture(TARGET)
    found = lay_on_lines(points)
    np.testing.assert_allclose(found.to_canvas(points), TARGET, atol=1e-6)


def test_a_longer_face_keeps_its_eyes_on_their_line() -> None:
    points = np.array([100 + 100j, 160 + 100j, 130 + 190j])
    placed = lay_on_lines(points).to_canvas(points)
    np.testing.assert_allclose(placed[:2].imag, EYE_LINE_Y, atol=1e-9)
    assert placed[2].imag > TARGET[2].imag
    assert abs(placed[2].real - CANVAS_PX / 2) < 1e-6


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
def test_cut_samples_the_picture_where_the_similarity_says(angle: float) -> None:
    y, x = np.mgrid[:400, :600].astype(np.float64)
    ramp = np.stack((x / 600 * 255, y / 400 * 255, 0 * x), -1).astype(np.uint8)
    similarity = Similarity(0.7 * np.exp(1j * angle), 0) if angle else Similarity(0.7 + 0j, 0)
    similarity = Similarity(similarity.turn, 128 + 128j - similarity.turn * (300 + 200j))
    canvas = cut(ramp, similarity)
    for at in (90 + 100j, 128 + 128j, 170 + 140j):
        source = complex(similarity.to_picture(np.array([at + 0.5 + 0.5j]))[0])
        seen = canvas[round(at.imag), round(at.real)]
        assert seen[0] == pytest.approx((source.real - 0.5) / 600 * 255, abs=2.5)
        assert seen[1] == pytest.approx((source.imag - 0.5) / 400 * 255, abs=2.5)


@pytest.mark.parametrize("angle", [0.0, 0.25])
def test_beyond_the_picture_its_edge_goes_on(angle: float) -> None:
    picture = np.full((100, 100, 3), 200, np.uint8)
    turn = 1.0 * np.exp(1j * angle)
    canvas = cut(picture, Similarity(turn, 128 + 128j - turn * (10 + 10j)))
    assert canvas.shape == (CANVAS_PX, CANVAS_PX, 3)
    assert canvas.min() == canvas.max() == 200


def test_points_far_apart_cost_no_memory() -> None:
    picture = blobs(3000, 4000)
    canvas = cut(picture, lay_on_lines(np.array([5 + 1500j, 3995 + 1400j, 2000 + 2900j])))
    assert canvas.shape == (CANVAS_PX, CANVAS_PX, 3)


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_put_back_changes_the_canvas_alone(angle: float) -> None:
    picture = blobs(700, 900)
    turn = 0.5 * np.exp(1j * angle)
    similarity = Similarity(turn, 128 + 128j - turn * (450 + 350j))
    same = put_back(picture, cut(picture, similarity, 512), similarity)
    assert np.abs(same.astype(int) - picture).mean() < 1.0
    red = put_back(picture, np.full((512, 512, 3), (255, 0, 0), np.uint8), similarity)
    assert tuple(red[350, 450]) == (255, 0, 0)
    np.testing.assert_array_equal(red[:25], picture[:25])
    np.testing.assert_array_equal(red[:, 850:], picture[:, 850:])


def test_a_similarity_has_a_way_back() -> None:
    for turn, shift in ((0j, 0j), (complex("nan"), 0j), (1 + 0j, complex("inf"))):
        with pytest.raises(ValueError, match="undone"):
            Similarity(turn, shift)
    with pytest.raises(ValueError, match="three different points"):
        lay_on_lines(np.array([3 + 3j] * 3))
