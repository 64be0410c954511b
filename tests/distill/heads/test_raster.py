"""The rasteriser: known triangles, C against PyTorch, blending."""

from __future__ import annotations

import pytest
import torch

from distill.corpus.heads.drawing import raster
from distill.corpus.heads.drawing.native import library


def _soup(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two frames of random triangles: screen (2, 3 * count, 3) and triangles."""
    generator = torch.Generator().manual_seed(seed)
    screen = torch.rand(2, 3 * count, 3, generator=generator) * torch.tensor([70.0, 50.0, 0.1])
    screen += torch.tensor([-5.0, -5.0, 0.05])
    return screen, torch.arange(3 * count).view(-1, 3)


def test_a_square_of_two_triangles_covers_each_pixel_once() -> None:
    screen = torch.tensor([[[2.0, 1.0, 0.1], [6.0, 1.0, 0.1], [6.0, 4.0, 0.1], [2.0, 4.0, 0.1]]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    surface = raster.draw_triangles(screen, triangles, (8, 8), cull=False)
    rows, columns = surface.pixel // 8, surface.pixel % 8
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [
        (r, c) for r in (1, 2, 3) for c in (2, 3, 4, 5)
    ]
    torch.testing.assert_close(surface.weights.sum(1), torch.ones(12))
    found = raster.interpolate(surface, triangles, screen)
    torch.testing.assert_close(found[0], columns + 0.5)
    torch.testing.assert_close(found[1], rows + 0.5)


def test_what_faces_away_is_culled() -> None:
    screen = torch.tensor([[[1.0, 6.0, 0.1], [6.0, 6.0, 0.1], [1.0, 1.0, 0.1]]])
    front, back = torch.tensor([[0, 1, 2]]), torch.tensor([[0, 2, 1]])
    assert len(raster.draw_triangles(screen, front, (8, 8)).pixel) > 0
    assert len(raster.draw_triangles(screen, back, (8, 8)).pixel) == 0


def test_the_nearer_triangle_wins() -> None:
    corners = [[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]]
    screen = torch.tensor([[[*c, 0.1] for c in corners] + [[*c, 0.2] for c in corners]])
    surface = raster.draw_triangles(screen, torch.arange(6).view(2, 3), (8, 8), cull=False)
    assert surface.triangle.unique().tolist() == [1]


@pytest.mark.parametrize("count", [1, 63, 400])
def test_c_draws_what_pytorch_draws(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library() is not None, "the tests need a C compiler"
    screen, triangles = _soup(count, count)
    ours = raster.draw_triangles(screen, triangles, (40, 60), cull=False)
    depth = raster.depth_map(screen, triangles, (40, 60))
    near = raster.nearer(screen, triangles, (40, 60), ours.dense(ours.inverse_depth).flatten(), -0.01)
    values = torch.rand(2, 3 * count, 5)
    read = raster.interpolate(ours, triangles, values)
    monkeypatch.setattr(raster, "usable", lambda _: None)
    theirs = raster.draw_triangles(screen, triangles, (40, 60), cull=False)
    assert torch.equal(ours.pixel, theirs.pixel) and torch.equal(ours.triangle, theirs.triangle)
    torch.testing.assert_close(ours.weights, theirs.weights, atol=1e-4, rtol=0)
    torch.testing.assert_close(depth, raster.depth_map(screen, triangles, (40, 60)))
    solid = theirs.dense(theirs.inverse_depth).flatten()
    assert len(near.pixel) == len(raster.nearer(screen, triangles, (40, 60), solid, -0.01).pixel)
    torch.testing.assert_close(read, raster.interpolate(theirs, triangles, values), atol=1e-4, rtol=0)


def test_weights_of_a_stack_are_those_of_over() -> None:
    pixel = torch.tensor([5, 2, 5, 5])
    depth = torch.tensor([0.1, 0.3, 0.3, 0.2])
    alpha = torch.tensor([0.5, 0.7, 0.4, 0.25])
    order, weight = raster.blend_weights(pixel, depth, alpha)
    found = torch.zeros(4).index_put((order,), weight)
    torch.testing.assert_close(found, torch.tensor([0.5 * 0.6 * 0.75, 0.7, 0.4, 0.25 * 0.6]))


def test_pixels_inside_a_ring() -> None:
    ring = torch.tensor([[[1.0, 1.0], [5.0, 1.0], [5.0, 4.0], [1.0, 4.0]]])
    inside = raster.inside_polygon(ring, (6, 8))
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[1:4, 1:5] = True
    assert torch.equal(inside[0], expected)
