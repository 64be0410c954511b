"""The renderer: what moves stays in the face box, crops equal the whole, the mouth means what it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distill.corpus.drawn import Character, render, sample_identities, true_opening
from distill.corpus.drawn.canvas import Box
from models.face import (
    CANVAS_PX,
    CHIN_LINE_Y,
    EXPRESSION_DIMS,
    EYE_LINE_Y,
    EYE_SPREAD_X,
    FACE_BOX,
    MOUTH_DIMS,
    MOUTH_LINE_Y,
)

CROP_EQUALS_WHOLE = 1e-5


def channels(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random mouth and expression channels over their whole ranges, the extremes among them."""
    generator = torch.Generator().manual_seed(seed)
    mouth = torch.rand(count, len(MOUTH_DIMS), generator=generator)
    mouth[:, 1] = mouth[:, 1] * 2 - 1
    expression = torch.rand(count, len(EXPRESSION_DIMS), generator=generator) * 2 - 1
    expression[:, 0] = expression[:, 0].abs()
    mouth[0, 0] = 1.0
    mouth[0, 2:] = 0.0
    expression[1] = torch.tensor([1.0, 1.0, 1.0, 1.0])
    return mouth, expression


def outside_the_box(picture: Tensor, box: Box = FACE_BOX) -> Tensor:
    left, top, width, height = box
    picture = picture.clone()
    picture[..., top : top + height, left : left + width] = 0
    return picture


def test_pictures_are_finite_and_in_range() -> None:
    who = sample_identities(range(24), "test")
    picture = render(who, *channels(24))
    assert picture.shape == (24, 3, CANVAS_PX, CANVAS_PX)
    assert picture.dtype == torch.float32
    assert picture.isfinite().all()
    assert picture.min() >= 0
    assert picture.max() <= 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_nothing_outside_the_face_box_moves(split: str) -> None:
    who = sample_identities(range(16), split)
    character = Character(who)
    mouth, expression = channels(16)
    rest = character.frames(torch.zeros(16, 1, 6), torch.zeros(16, 1, 4))
    moved = character.frames(mouth.unsqueeze(1), expression.unsqueeze(1))
    assert torch.equal(outside_the_box(rest), outside_the_box(moved))
    assert not torch.equal(rest, moved)


def test_the_border_of_the_face_box_does_not_move_either() -> None:
    """No step shows at the edge where a decoded box is set into the reference picture."""
    character = Character(sample_identities(range(16)), FACE_BOX)
    mouth, expression = channels(16)
    rest = character.frames(torch.zeros(16, 1, 6), torch.zeros(16, 1, 4))
    moved = character.frames(mouth.unsqueeze(1), expression.unsqueeze(1))
    inner = (1, 1, FACE_BOX[2] - 2, FACE_BOX[3] - 2)
    torch.testing.assert_close(outside_the_box(rest, inner), outside_the_box(moved, inner), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "box", [FACE_BOX, (60, 70, 51, 41), (0, 0, 256, 100), (200, 200, 56, 56), (0, 255, 1, 1)]
)
def test_a_crop_equals_the_crop_of_the_whole(box: Box) -> None:
    who = sample_identities(range(4), "val")
    mouth, expression = channels(4)
    left, top, width, height = box
    whole = render(who, mouth, expression)[..., top : top + height, left : left + width]
    crop = render(who, mouth, expression, box)
    torch.testing.assert_close(crop, whole, atol=CROP_EQUALS_WHOLE, rtol=0)


def test_cached_frames_equal_single_pictures() -> None:
    who = sample_identities([3, 8], "train")
    mouth, expression = channels(6)
    mouth, expression = mouth.view(2, 3, 6), expression.view(2, 3, 4)
    frames = Character(who, FACE_BOX).frames(mouth, expression)
    assert frames.shape == (2, 3, 3, 160, 160)
    for index in range(3):
        single = render(who, mouth[:, index], expression[:, index], FACE_BOX)
        torch.testing.assert_close(frames[:, index], single, atol=CROP_EQUALS_WHOLE, rtol=0)


def test_a_character_does_not_depend_on_its_batch() -> None:
    mouth, expression = channels(5)
    together = render(sample_identities([9, 2, 30, 4, 5]), mouth, expression)
    alone = render(sample_identities([30]), mouth[2:3], expression[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=CROP_EQUALS_WHOLE, rtol=0)


def test_the_same_seed_gives_the_same_picture() -> None:
    mouth, expression = channels(3)
    first = render(sample_identities([1, 2, 3]), mouth, expression)
    again = render(sample_identities(torch.tensor([1, 2, 3])), mouth, expression)
    assert torch.equal(first, again)


def test_faces_are_framed_as_stated() -> None:
    for split in ("train", "val", "test"):
        who = sample_identities(range(300), split)
        assert ((who.eye_y - EYE_LINE_Y).abs() <= 8).all()
        assert ((who.eye_x - EYE_SPREAD_X).abs() <= 5).all()
        assert ((who.mouth_y - MOUTH_LINE_Y).abs() <= 6).all()
        assert ((who.chin_y - CHIN_LINE_Y).abs() <= 6).all()
        assert ((2 * who.mouth_half_width >= 52) & (2 * who.mouth_half_width <= 66)).all()


def test_opening_rises_with_open_whatever_else_the_mouth_does() -> None:
    who = sample_identities([7]).repeat(40)
    mouth = torch.zeros(21, 40, 6)
    mouth[..., 1:] = channels(40)[0][:, 1:]
    mouth[..., 0] = torch.linspace(0, 1, 21).view(-1, 1)
    opening = torch.stack([true_opening(who, row) for row in mouth])
    assert (opening[0] == 0).all()
    assert (opening.diff(dim=0) > 0).all()
    assert opening.max() <= 34


def test_the_drawn_gap_is_the_true_opening() -> None:
    """Teeth and tongue away, the dark between the lips at the middle column is as high as stated."""
    who = sample_identities([0, 15, 28, 31], "val")
    mouth = torch.zeros(4, 6, 6)
    mouth[..., 0] = torch.tensor([0.3, 0.6, 1.0] * 2)
    mouth[:, 3:, 3:5] = 1.0  # the same with teeth and tongue
    frames = Character(who, FACE_BOX).frames(mouth, torch.zeros(4, 6, 4), (127, 150, 2, 74)).mean((2, 4))
    for index in range(3):
        reach = ((frames[:, index] - frames[:, index + 3]).abs() > 0.01).sum(-1)
        opening = true_opening(who, mouth[:, index])
        assert (reach <= opening + 2).all()
        assert (reach >= 0.45 * opening - 2).all()


def test_a_closed_mouth_shows_neither_teeth_nor_tongue() -> None:
    who = sample_identities(range(6))
    mouth = torch.zeros(6, 6)
    mouth[:, 1] = torch.linspace(-1, 1, 6)
    mouth[:, 2] = torch.linspace(0, 1, 6)
    shown = mouth.clone()
    shown[:, 3:5] = 1.0
    assert torch.equal(render(who, mouth, torch.zeros(6, 4)), render(who, shown, torch.zeros(6, 4)))


def test_every_mouth_channel_is_seen() -> None:
    who = sample_identities(range(6))
    mouth = torch.zeros(6, 13, 6)
    mouth[..., 0] = 0.5
    for dim in range(6):
        mouth[:, 2 * dim + 1, dim] += 0.1
        mouth[:, 2 * dim + 2, dim] += 0.5
    frames = Character(who, FACE_BOX).frames(mouth, torch.zeros(6, 13, 4))
    difference = (frames[:, 1:] - frames[:, :1]).abs().amax((2, 3, 4))
    assert (difference > 0.02).all()


def test_every_expression_channel_is_seen_and_leaves_the_mouth() -> None:
    who = sample_identities(range(6))
    expression = torch.cat((torch.zeros(1, 4), torch.eye(4))).expand(6, -1, -1)
    frames = Character(who, FACE_BOX).frames(torch.zeros(6, 5, 6), expression)
    difference = (frames[:, 1:] - frames[:, :1]).abs()
    assert (difference.amax((2, 3, 4)) > 0.02).all()
    assert difference[..., 150 - FACE_BOX[1] :, :].max() == 0


def test_a_blink_hides_the_eyes() -> None:
    """With the lids shut, the gaze no longer changes the picture."""
    character = Character(sample_identities(range(8)), FACE_BOX)
    shut = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]).expand(8, -1, -1)
    frames = character.frames(torch.zeros(8, 2, 6), shut)
    assert torch.equal(frames[:, 0], frames[:, 1])


def test_wrong_arguments_are_named() -> None:
    who = sample_identities([0])
    with pytest.raises(ValueError, match="Expected mouth of shape"):
        render(who, torch.zeros(1, 5), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="Expected expression of shape"):
        render(who, torch.zeros(1, 6), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="Expected a box inside"):
        render(who, torch.zeros(1, 6), torch.zeros(1, 4), (200, 0, 100, 100))
    with pytest.raises(ValueError, match="larger box"):
        Character(who, FACE_BOX).frames(torch.zeros(1, 1, 6), torch.zeros(1, 1, 4), (0, 0, 256, 256))
