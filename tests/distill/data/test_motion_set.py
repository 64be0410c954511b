"""Pairs of reference and frame: the flow stays true through jitter and mirror, rows depend on their seed alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from distill.data.drawn_motions import DrawnMotions
from distill.data.head_set import HeadMotions
from distill.data.jitter import Jitter
from distill.data.motion_set import MotionItem, draw_pairs
from models.face import CANVAS_PX, FACE_BOX
from models.modules.mover import doubled, warp

BOX = (16, 20, 64, 64)
SIDE = 96


class Slides:
    """Soft pictures; frames are the reference moved by a flow that is known, with no hole."""

    def __init__(self, known: bool = True) -> None:
        self.known = known

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> MotionItem:
        generator = torch.Generator().manual_seed(index)
        coarse = torch.rand(1, 3, 12, 12, generator=generator)
        reference = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
        half = SIDE // 2
        states = torch.cat((torch.zeros(1, 10), torch.randn(2, 10, generator=generator)))
        sides = torch.stack(
            (torch.zeros(2, 4), 1.5 * states[1:, :4]), dim=1
        )  # down or up, alike left and right
        bend = F.interpolate(sides.unsqueeze(-1), (half, half), mode="bicubic")
        frames = warp(reference.expand(2, -1, -1, -1), doubled(bend))
        made = (reference[0] * 255).byte(), (frames * 255).byte(), states
        if not self.known:
            return MotionItem(*made)
        return MotionItem(*made, bend.half(), torch.zeros(2, half, half, dtype=torch.uint8))


def rows(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in range(count)]


@pytest.mark.parametrize(
    "jitter",
    [Jitter(0, 0, 0, 0, 0), Jitter(0.2, 0, 0, 0, 0), Jitter(0, 0.1, 0.1, 0, 0), Jitter(0.1, 0.1, 0.05, 3, 0)],
)
def test_the_flow_stays_true_through_the_jitter(jitter: Jitter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference moved by the batch's flow is the batch's target, before light is laid over both."""
    monkeypatch.setattr("distill.data.motion_set._lit", lambda both, *_: both)
    batch = draw_pairs([Slides()], rows(12), BOX, jitter, grain=0.0)
    moved = warp(batch.reference, doubled(batch.flow))
    inner = (..., slice(8, -8), slice(8, -8))
    assert (batch.reference - batch.target)[inner].abs().mean() > 0.02
    assert (moved - batch.target)[inner].abs().mean() < 0.006


def test_a_row_is_its_seed_alone() -> None:
    many, one = draw_pairs([Slides()], rows(5), BOX), draw_pairs([Slides()], rows(5)[3:4], BOX)
    for name in ("reference", "target", "seen", "flow", "hole", "known", "states"):
        torch.testing.assert_close(getattr(many, name)[3], getattr(one, name)[0], atol=1e-5, rtol=0)


def test_shapes_ranges_and_what_nobody_knows() -> None:
    batch = draw_pairs([Slides(known=False)], rows(6), BOX, Jitter(still=0.0))
    assert batch.reference.shape == batch.target.shape == batch.seen.shape == (6, 3, 64, 64)
    assert batch.flow.shape == (6, 2, 32, 32) and batch.hole.shape == (6, 1, 64, 64)
    assert not batch.known.any()
    assert float(batch.reference.min()) >= 0 and float(batch.reference.max()) <= 1


def test_a_flow_without_its_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="hole"):
        MotionItem(torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(2, 10), torch.zeros(1, 2, 2, 2))


def test_the_state_is_the_targets_and_a_mirror_turns_its_gaze() -> None:
    item = Slides()[0]
    states = torch.arange(30.0).view(3, 10) + 1
    told = MotionItem(item.reference, item.frames, states, item.flow, item.hole)
    batch = draw_pairs([[told]], rows(24), BOX, Jitter(still=0.2))  # type: ignore[list-item]
    rest = [dim for dim in range(10) if dim != 7]
    assert {int(row[0]) for row in batch.states[:, 0]} == {1}
    assert {int(row[0]) for row in batch.states[:, 1]} == {1, 11, 21}
    for row in batch.states.flatten(0, 1):
        assert row[rest].tolist() == states[int(row[0]) // 10][rest].tolist()
        assert abs(row[7]) == states[int(row[0]) // 10][7]
    assert {bool(row[7] > 0) for row in batch.states[:, 1]} == {True, False}


def test_states_come_with_every_picture() -> None:
    with pytest.raises(ValueError, match="state"):
        MotionItem(torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 10))


def test_drawn_characters_are_pairs_without_a_flow(tmp_path: Path) -> None:
    drawn = DrawnMotions(tmp_path, "train", 2, frames=2)
    first, again = drawn[1], DrawnMotions(tmp_path, "train", 2, frames=2)[1]
    assert first.reference.shape == (3, CANVAS_PX, CANVAS_PX) and first.frames.shape[0] == 2
    assert torch.equal(first.frames, again.frames) and first.flow is None
    left, top, width, height = FACE_BOX
    outside = first.frames[0].clone()
    outside[:, top : top + height, left : left + width] = first.reference[
        :, top : top + height, left : left + width
    ]
    assert torch.equal(outside, first.reference), "only the face box of a drawn character changes"


def test_without_rendered_heads_one_is_told_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--stage heads"):
        HeadMotions(tmp_path, "train")
