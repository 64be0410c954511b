"""The head-pose warp: still at rest, moves the right way, shows no emptiness, stays smooth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.face import POSE_DIMS
from models.framing.picture_warp import PictureWarp, with_alpha
from models.framing.placement import Placement, moving_part
from models.framing.similarity import Similarity, cut
from models.modules.mover import Moves, compose, packed
from models.warp import HeadWarp, displacement_fields

SIDE = 256
LIMITS = {"yaw": 0.25, "pitch": 0.18, "roll": 0.12, "shift_x": 8.0, "shift_y": 8.0, "breath": 1.0}


def pose(**values: float) -> Tensor:
    return torch.tensor([[values.get(name, 0.0) for name in POSE_DIMS]])


def dot(x: int, y: int, side: int = SIDE) -> Tensor:
    """A soft white dot on black at (x, y)."""
    rows, columns = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    spot = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
    return spot.expand(1, 3, -1, -1).contiguous()


def as_bytes(picture: Tensor) -> Tensor:
    """(1, 3, H, W) in [0, 1] as `PictureWarp` takes it."""
    return with_alpha((picture[0].permute(1, 2, 0) * 255).round().byte())


def where_is(picture: Tensor) -> tuple[float, float]:
    """Centre of mass of what is bright, (x, y)."""
    weight = picture[0, 0]
    side = torch.arange(weight.shape[0]) + 0.5
    total = weight.sum()
    return float((weight.sum(0) * side).sum() / total), float((weight.sum(1) * side).sum() / total)


def moved_by(x: int, y: int, **values: float) -> tuple[float, float]:
    at = where_is(HeadWarp(SIDE, SIDE)(dot(x, y), pose(**values)))
    return at[0] - x, at[1] - y


def test_a_zero_pose_changes_nothing() -> None:
    frames = torch.rand(3, 3, SIDE, SIDE)
    assert torch.equal(HeadWarp(SIDE, SIDE)(frames, torch.zeros(3, 6)), frames)


def test_a_still_picture_beside_a_moved_one_changes_nothing() -> None:
    frames = torch.rand(2, 3, SIDE, SIDE)
    moved = HeadWarp(SIDE, SIDE)(frames, torch.cat((pose(), pose(yaw=0.2))))
    assert torch.equal(moved[0], frames[0])
    assert not torch.equal(moved[1], frames[1])


def test_a_small_pose_is_a_small_change() -> None:
    frames = dot(128, 150)
    moved = HeadWarp(SIDE, SIDE)(frames, pose(yaw=1e-4, pitch=1e-4, roll=1e-4, shift_x=1e-3))
    assert (moved - frames).abs().max() < 5e-3


def test_directions_are_those_of_the_channels() -> None:
    assert moved_by(128, 140, yaw=0.2)[0] > 4
    assert moved_by(128, 140, pitch=0.15)[1] < -3
    dx, dy = moved_by(128, 90, roll=0.1)
    assert dx > 8
    assert abs(dy) < 2
    assert moved_by(90, 130, roll=0.1)[1] < -2
    assert moved_by(128, 140, shift_x=6.0)[0] == pytest.approx(6.0, abs=0.5)
    assert moved_by(128, 140, shift_y=6.0)[1] == pytest.approx(6.0, abs=0.5)  # rows count downwards
    assert moved_by(60, 238, breath=1.0)[1] < -0.4


def test_the_middle_of_the_face_moves_more_than_its_edge() -> None:
    assert moved_by(128, 140, yaw=0.2)[0] > 1.5 * moved_by(66, 140, yaw=0.2)[0] > 0
    assert moved_by(128, 140, pitch=0.15)[1] < 1.5 * moved_by(128, 66, pitch=0.15)[1] < 0


def test_shoulders_follow_less_than_the_head() -> None:
    head, shoulder = moved_by(128, 140, shift_x=8.0)[0], moved_by(50, 240, shift_x=8.0)[0]
    assert 0.5 < shoulder < 0.5 * head


@pytest.mark.parametrize("seed", range(4))
def test_no_emptiness_shows_at_the_borders(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    limits = torch.tensor([LIMITS[name] for name in POSE_DIMS])
    extreme = (torch.rand(8, 6, generator=generator) * 2 - 1).sign() * limits
    moved = HeadWarp(SIDE, SIDE)(torch.ones(8, 3, SIDE, SIDE), extreme)
    assert moved.min() > 0.999


@pytest.mark.parametrize("seed", range(4))
def test_the_picture_never_folds(seed: int) -> None:
    """Neighbouring pixels are read in order, in rows and in columns, at the ends of all ranges."""
    generator = torch.Generator().manual_seed(seed)
    limits = torch.tensor([LIMITS[name] for name in POSE_DIMS])
    extreme = (torch.rand(16, 6, generator=generator) * 2 - 1).sign() * limits
    grid = HeadWarp(SIDE, SIDE).sampling_grid(extreme)
    inner = grid[:, 16:-16, 16:-16]
    assert (inner[..., 0].diff(dim=2) > 0).all()
    assert (inner[..., 1].diff(dim=1) > 0).all()


@pytest.mark.parametrize("size", [(256, 256), (512, 512), (63, 111)])
def test_other_sizes_move_alike(size: tuple[int, int]) -> None:
    height, width = size
    frames = torch.rand(2, 3, height, width)
    moved = HeadWarp(height, width)(frames, pose(yaw=0.2).expand(2, -1))
    assert moved.shape == frames.shape
    assert moved.isfinite().all()


def test_rows_of_a_batch_do_not_mix() -> None:
    frames = torch.rand(3, 3, SIDE, SIDE)
    poses = torch.cat((pose(yaw=0.1), pose(roll=0.1), pose(pitch=-0.1)))
    warp = HeadWarp(SIDE, SIDE)
    together = warp(frames, poses)
    for row in range(3):
        torch.testing.assert_close(
            together[row : row + 1], warp(frames[row : row + 1], poses[row : row + 1]), atol=1e-4, rtol=0
        )


def test_dtype_and_layout_are_kept() -> None:
    frames = torch.rand(1, 3, SIDE, SIDE).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    moved = HeadWarp(SIDE, SIDE)(frames, pose(yaw=0.1))
    assert moved.dtype == torch.bfloat16
    assert moved.shape == frames.shape


def test_wrong_shapes_are_named() -> None:
    warp = HeadWarp(SIDE, SIDE)
    with pytest.raises(ValueError, match="Expected frames"):
        warp(torch.rand(1, 3, 128, 128), pose())
    with pytest.raises(ValueError, match="Expected pose"):
        warp(torch.rand(2, 3, SIDE, SIDE), pose())
    with pytest.raises(ValueError, match="at least 16x16"):
        HeadWarp(8, 8)


def test_moves_at_the_networks_own_size_are_what_the_decoder_composes() -> None:
    """A picture of twice the networks' size: the same moves, at the picture's own sharpness."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(1, 3, 20, 20, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    box = (48, 88, 160, 160)
    picture = (picture * 255).round() / 255
    inner = picture[:, :, 88:248, 48:208]
    bend = torch.nn.functional.interpolate(
        3 * torch.randn(2, 2, 4, 4, generator=generator), (80, 80), mode="bicubic"
    )
    matte = torch.nn.functional.interpolate(
        torch.randn(2, 1, 5, 5, generator=generator), (160, 160), mode="bilinear"
    )
    paint = torch.rand(2, 3, 9, 9, generator=generator)
    paint = torch.nn.functional.interpolate(paint, (160, 160), mode="bilinear")
    moves = Moves(bend, 4 * matte - 2, paint)
    composed = compose(inner.expand(2, -1, -1, -1), moves, "bicubic").clamp(0, 1)
    frames = PictureWarp(Placement.canvas(SIDE))(as_bytes(picture), None, packed(moves, SIDE), box)
    seen = frames[:, 88:248, 48:208].permute(0, 3, 1, 2).float() / 255
    assert (seen - composed).abs().max() < 0.02
    outside = frames.clone()
    outside[:, 88:248, 48:208] = 0
    still = (picture[0].permute(1, 2, 0) * 255).round().byte()
    still[88:248, 48:208] = 0
    assert torch.equal(outside[0], still)

    double = torch.nn.functional.interpolate(picture, scale_factor=2, mode="bicubic").clamp(0, 1)
    large = PictureWarp(Placement.canvas(2 * SIDE))(as_bytes(double), None, packed(moves, SIDE), box)
    small = torch.nn.functional.avg_pool2d(large.permute(0, 3, 1, 2).float() / 255, 2)
    assert (small - frames.permute(0, 3, 1, 2).float() / 255).abs().mean() < 0.01


def test_in_a_larger_picture_the_head_moves_as_on_its_canvas_and_nothing_far_from_it() -> None:
    """Twice as large and turned: what is cut out of the frame is the canvas, moved; there is no seam around it."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 24, 32, generator=generator)
    whole = torch.nn.functional.interpolate(coarse, (1200, 1400), mode="bicubic").clamp(0, 1)
    image = (whole[0].permute(1, 2, 0) * 255).round().byte().numpy()
    similarity = Similarity(0.55 + 0.1j, -250.0 - 250.0j)
    left, top, width, height = moving_part(similarity, 1400, 1200)
    part = np.ascontiguousarray(image[top : top + height, left : left + width])
    inner = Similarity(similarity.turn, similarity.shift + similarity.turn * complex(left, top))
    move = torch.zeros(1, 8, 8, 8)
    move[..., :2] = 0.02
    turned = pose(yaw=0.12, pitch=-0.08, roll=0.06, shift_x=5.0, shift_y=4.0, breath=1.0)
    box = (48, 88, 160, 160)
    drawn = PictureWarp(Placement(width, height, inner))(
        with_alpha(torch.from_numpy(part)), turned, move, box
    )
    framed = PictureWarp(Placement.canvas(SIDE))(
        with_alpha(torch.from_numpy(cut(image, similarity, SIDE).copy())), turned, move, box
    )
    seen = cut(drawn[0].numpy(), inner, SIDE)
    middle = np.s_[24:-24, 24:-24]  # near its border the canvas is mirrored, where the frame goes on
    assert np.abs(seen[middle].astype(int) - framed[0].numpy()[middle]).mean() < 1.0
    moved = np.abs(drawn[0].numpy().astype(int) - part).max(-1)
    edge = np.concatenate(
        (moved[:2].ravel(), moved[-2:].ravel(), moved[:, :2].ravel(), moved[:, -2:].ravel())
    )
    assert min(left, top) > 0 and left + width < 1400 and top + height < 1200
    assert moved.max() > 20 and edge.max() == 0


def test_the_fields_go_on_beyond_the_canvas_without_a_step() -> None:
    """Along lines across the canvas's border, displacements change no faster than within it."""
    for x, y in ((torch.linspace(-90, 346, 4361), torch.full((4361,), 200.0)),
                 (torch.full((4361,), 120.0), torch.linspace(-90, 346, 4361))):  # fmt: skip
        fields = displacement_fields(x[None], y[None])[:, :, 0]
        steps = fields.diff(dim=-1).abs().amax(-1) / 0.1
        assert float(fields[..., 0].abs().max()) == float(fields[..., -1].abs().max()) == 0.0
        assert bool((steps < 1.5).all()) or float(steps.max()) < 4.0
