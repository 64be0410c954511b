"""What is measured on faces as they are: each figure on frames whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from distill.data.speech_set import SpeechItem
from distill.evaluation.faces.line import MOMENTS, Line, find_moments
from distill.evaluation.faces.openings import jaw_drop, on_canvas
from distill.evaluation.faces.pictures import Differences, decibels, detail, silence_share
from distill.evaluation.faces.regions import OUT_PX, regions_of
from distill.evaluation.faces.sheet import Strip, draw_sheets
from distill.evaluation.faces.table import markdown
from models.face import FACE_BOX
from models.presets import preset


def grainy(side: int = OUT_PX) -> np.ndarray:
    """A picture (S, S, 3) with something to follow everywhere."""
    coarse = np.random.default_rng(5).integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("side", [256, 512])
def test_a_chin_is_followed_between_pixels(side: int) -> None:
    picture = grainy(side)
    ways = [0.0, 3.0, 7.5, 18.0]
    frames = np.stack(
        [
            np.asarray(
                Image.fromarray(picture).transform(
                    (side, side),
                    Image.Transform.AFFINE,
                    (1, 0, 0, 0, 1, -way * side / 256),
                    Image.Resampling.BICUBIC,
                )
            )
            for way in ways
        ]
    )
    canvases = np.stack([on_canvas(frame) for frame in frames])
    np.testing.assert_allclose(jaw_drop(canvases, on_canvas(picture)), ways, atol=0.3)


def test_a_canvas_is_the_mean_of_squares() -> None:
    picture = grainy(512)
    mean = picture.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(on_canvas(picture) - mean).max() <= 0.5
    assert on_canvas(picture[::2, ::2]) is not None and on_canvas(grainy(256)).shape == (256, 256, 3)


def test_differences_are_seen_where_they_are() -> None:
    picture, regions = grainy(), regions_of(preset("small").face_box)
    changed = picture.copy()
    changed[regions.eyes] = 255 - picture[regions.eyes]
    changed[regions.rest] = np.where(
        picture[regions.rest] < 128, picture[regions.rest] + 3, picture[regions.rest] - 3
    )
    seen = Differences(np.stack((picture, changed)), picture, regions)
    np.testing.assert_array_equal(seen.mouth, [0, 0])
    np.testing.assert_allclose(seen.rest, [0, 9])
    assert seen.eyes[1] > 100 and 0 < seen.around[1] < 9
    assert decibels(9.0) == pytest.approx(38.588, abs=1e-3) and decibels(0.0) == 99
    many = Differences(np.stack((picture, changed)), np.stack((picture, changed)), regions)
    assert not many.around.any() and not many.eyes.any()


@pytest.mark.parametrize("box", [FACE_BOX, preset("small").face_box])
def test_regions_part_the_face_box(box: tuple[int, int, int, int]) -> None:
    left, top, width, height = box
    regions = regions_of(box)
    inside = np.zeros((OUT_PX, OUT_PX), bool)
    inside[2 * top : 2 * (top + height), 2 * left : 2 * (left + width)] = True
    assert not (regions.mouth & regions.eyes).any() and not (regions.rest & ~inside).any()
    assert ((regions.mouth | regions.eyes | regions.rest)[inside]).all()
    assert (regions.around == ~(regions.mouth | regions.eyes)).all()
    assert regions_of(box, 256).mouth.sum() == pytest.approx(regions.mouth.sum() / 4, rel=0.01)


def test_detail_falls_with_blur_and_silence_is_what_opens_in_it() -> None:
    picture, mouth = grainy(), regions_of(preset("small").face_box).mouth
    soft = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)))
    assert detail(soft[None], mouth) < 0.9 * detail(picture[None], mouth)
    driven = np.array([0.0] * 10 + [1.0] * 10)
    opening = np.array([0.0] * 10 + [10.0] * 10)
    assert silence_share(opening, driven) == 0
    assert silence_share(opening + (driven == 0), driven) == pytest.approx(1 / 9, rel=0.01)


def test_each_moment_is_found_where_it_is() -> None:
    mouth, expression = torch.zeros(80, 6), torch.zeros(80, 4)
    mouth[:, 0] = 0.5  # nowhere else is anything shown
    mouth[3, 0] = 0.0
    mouth[13] = torch.tensor([0.25, 0, 0, 0, 0, 0])
    mouth[23, 0] = 1.0
    mouth[33] = torch.tensor([0.3, -0.3, 1, 0, 0, 0])
    mouth[43] = torch.tensor([0.25, 0.8, 0, 1, 0, 0])
    expression[53, 0], expression[63, 1], expression[73, 3] = 1.0, -0.8, 0.7
    line = Line(item_of(mouth), 0, expression)
    assert list(find_moments(line).values()) == [3, 13, 23, 33, 43, 53, 63, 73]


def item_of(mouth: torch.Tensor) -> SpeechItem:
    frames = len(mouth)
    return SpeechItem(
        torch.zeros(frames * 640),
        mouth,
        torch.zeros(frames, 4),
        torch.zeros(frames, 6),
        torch.ones(frames) > 0,
    )


def test_sheets_hold_a_dozen_strips_and_tables_end_in_the_median(tmp_path: Path) -> None:
    cells = [grainy(64)] * (1 + len(MOMENTS))
    strips = [
        Strip(f"a face with a long name, number {n}", [("opening r  0.10", True)], cells) for n in range(13)
    ]
    written = draw_sheets(tmp_path / "new" / "sheet.png", strips, "title")
    assert [path.name for path in written] == ["sheet.png", "sheet-2.png"]
    with Image.open(written[0]) as first, Image.open(written[1]) as second:
        assert first.width == second.width and first.height > 8 * second.height
    rows = [("a|b", {"r": 0.5, "db": 30.0}), ("c", {"r": 0.7, "db": 40.0})]
    lines = markdown(rows).splitlines()
    assert lines[2] == "| a/b | 0.5 | 30 |" and lines[-1] == "| **median** | 0.6 | 35 |"
