"""Where faces are weighted and measured: drawn ones as ever, photographed ones where their mouths lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill.corpus.drawn import Character, sample_identities
from distill.data.pictures import PictureSet
from distill.data.regions import MEASURED_BOX, MOUTH_BOX, eyes_at, mouth_at, weight_map
from models.face import EYE_LINE_Y, FACE_BOX
from models.presets import preset


def test_drawn_faces_are_weighted_where_they_ever_were() -> None:
    """Values of the map that the shipped networks were trained with."""
    assert mouth_at(FACE_BOX) == (80.0, 120) and eyes_at(FACE_BOX) == ((49.0, 52), (111.0, 52))
    weights = weight_map(20, 20, mouth=6.0, eyes=3.0)
    assert weights.shape == (20, 20)
    y = (torch.arange(20) + 0.5)[:, None] * 8
    x = (torch.arange(20) + 0.5)[None] * 8
    expected = torch.ones(20, 20)
    for at_x, at_y, wide, high, much in ((80, 120, 24, 17, 6), (49, 52, 15, 13, 3), (111, 52, 15, 13, 3)):
        expected += much * torch.exp(-0.5 * (((x - at_x) / wide) ** 2 + ((y - at_y) / high) ** 2))
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("box", [FACE_BOX, preset("small").face_box])
def test_the_weights_follow_the_presets_box(box: tuple[int, int, int, int]) -> None:
    weights = weight_map(160, 160, mouth=6.0, eyes=3.0, box=box)
    row, column = divmod(int(weights.argmax()), 160)
    assert column + 0.5 == pytest.approx(80, abs=1)
    assert box[1] + row == pytest.approx(184 if box == FACE_BOX else 186, abs=1.5)
    eyes = weights[EYE_LINE_Y - 6 - box[1]]
    assert float(eyes[49]) > 3.5 and float(eyes[111]) > 3.5


def test_what_is_measured_holds_drawn_and_photographed_lips() -> None:
    """Of 840 pictures of rendered heads: inner lips at rows 175 to 213, the lower lip's rim above 219."""
    top, height = MEASURED_BOX[1] + MOUTH_BOX[1], MOUTH_BOX[3]
    assert top < 175 - 20 and top + height > 219


def test_pictures_of_another_box_are_another_set(tmp_path: Path) -> None:
    box = preset("small").face_box
    usual, lower = (PictureSet(tmp_path, "train", 2, 2, place) for place in (FACE_BOX, box))
    assert usual.root != lower.root and usual.root.name == "pictures-train-2"
    item = lower[1]
    who = Character(sample_identities([1], split="train"), box)
    drawn = who.frames(item.mouth[None], item.expression[None])[0].clamp(0, 1)
    assert torch.equal(item.frames, (drawn * 255).round().byte())
