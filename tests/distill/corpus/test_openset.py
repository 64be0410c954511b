"""Open-set styles: fixed to the canvas, the same for everyone, with a truth that stays known."""

from __future__ import annotations

import pytest
import torch

from distill.corpus.drawn import Character, sample_identities
from distill.corpus.drawn.openset import _TURNS, KINDS, Proportions, open_style
from models.face import CANVAS_PX, EXPRESSION_DIMS, FACE_BOX, MOUTH_DIMS, MOUTH_LINE_Y


@pytest.fixture(scope="module")
def canvases() -> torch.Tensor:
    """One person with shut and wide open mouth, (2, 3, S, S)."""
    mouth, still = torch.zeros(1, 2, len(MOUTH_DIMS)), torch.zeros(1, 2, len(EXPRESSION_DIMS))
    mouth[0, 1, 0] = 0.9
    return Character(sample_identities([3], split="test")).frames(mouth, still)[0]


SEEDS = {kind: _TURNS.index(kind) for kind in KINDS}


def test_every_dozen_of_seeds_has_every_kind() -> None:
    names = [open_style(seed).name for seed in range(12, 24)]
    assert {name.split(" + ")[-1] for name in names} == set(KINDS)
    assert any("proportions" in name for name in names) and not all("proportions" in name for name in names)


@pytest.mark.parametrize("kind", sorted(SEEDS))
def test_a_style_is_a_fixed_function_of_the_canvas(kind: str, canvases: torch.Tensor) -> None:
    style = open_style(SEEDS[kind])
    both = style(canvases)
    assert both.shape == canvases.shape and both.isfinite().all() and both.min() >= 0 and both.max() <= 1
    torch.testing.assert_close(open_style(SEEDS[kind])(canvases[1:]), both[1:], rtol=0, atol=1e-5)
    # what does not move looks the same in every frame, so a still background stays still
    left, top, width, height = FACE_BOX
    moved = (both[0] - both[1]).abs().amax(0)
    moved[top : top + height, left : left + width] = 0
    assert moved.max() < 0.1 and moved.mean() < 1e-3
    # and the mouth is still there to be read
    assert (both[0] - both[1]).abs().amax(0)[170:205, 100:156].mean() > 0.04
    assert (both - canvases).abs().mean() > 0.03


def test_a_face_box_alone_is_refused(canvases: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="whole canvas"):
        open_style(0)(canvases[..., :160, :160])
    with pytest.raises(ValueError, match="non-negative"):
        open_style(-1)


EXTREMES = (
    Proportions(0.86, 0.82, -5, 0.82, 0.82, -7),
    Proportions(1.1, 1.28, 5, 1.18, 1.15, 3),
    Proportions(0.86, 1.28, -5, 1.18, 0.82, 3),
)


@pytest.mark.parametrize("proportions", EXTREMES)
def test_proportions_never_fold_and_leave_the_edges(proportions: Proportions) -> None:
    line = torch.arange(CANVAS_PX) + 0.5
    x, y = proportions.source(line[None], line[:, None])
    assert torch.diff(x, dim=1).min() > 0.2 and torch.diff(y, dim=0).min() > 0.2
    edge = torch.ones(CANVAS_PX, CANVAS_PX, dtype=torch.bool)
    edge[3:-3, 3:-3] = False
    moved = torch.maximum((x - line[None]).abs(), (y - line[:, None]).abs())
    assert moved[edge].max() < 2.0


@pytest.mark.parametrize("proportions", EXTREMES)
def test_the_true_gap_is_what_the_warp_makes_of_it(proportions: Proportions) -> None:
    """A dark band between two rows is warped, and its height measured in the picture."""
    mouth_y, gap = torch.tensor([float(MOUTH_LINE_Y)]), torch.tensor([20.0])
    rows = (torch.arange(CANVAS_PX) + 0.5).view(1, 1, -1, 1).expand(1, 3, -1, CANVAS_PX)
    upper, lower = float(mouth_y - 0.34 * gap), float(mouth_y + 0.66 * gap)
    band = ((rows - upper + 0.5).clamp(0, 1) * (lower - rows + 0.5).clamp(0, 1)).contiguous()
    measured = proportions(band)[0, 0, :, CANVAS_PX // 2].sum()
    style = open_style(0)
    known = type(style)(0, "", proportions, ()).opening_px(gap, mouth_y)
    assert float(known) == pytest.approx(float(measured), abs=0.4)
    assert abs(float(known) - 20) > 0.5
    shut = type(style)(0, "", proportions, ()).opening_px(torch.zeros(1), mouth_y)
    assert float(shut) == pytest.approx(0, abs=1e-3)


def test_proportions_refuse_what_would_fold() -> None:
    with pytest.raises(ValueError, match="folds"):
        Proportions(mouth_height=2.0)
    with pytest.raises(ValueError, match="chin_drop"):
        Proportions(chin_drop=20)
