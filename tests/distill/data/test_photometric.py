"""Light and texture: alike within a row, different between rows, by seed, and never out of range."""

from __future__ import annotations

import torch

from distill.data.photometric import draw_light, draw_softness, draw_texture, softened


def rows(count: int, seed: int = 5) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in range(count)]


def pictures(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 2, 3, 24, 20, generator=torch.Generator().manual_seed(1))


def test_equal_pictures_of_a_row_stay_equal() -> None:
    same = pictures()[:, :1].expand(-1, 2, -1, -1, -1)
    lit = draw_light(rows(6)).over(same)
    assert torch.equal(lit[:, 0], lit[:, 1])
    assert float(lit.min()) >= 0 and float(lit.max()) <= 1


def test_rows_differ_and_a_row_depends_on_its_generator_alone() -> None:
    seen = pictures(4)
    lit = draw_light(rows(4)).over(seen)
    assert (lit[0] - draw_light(rows(4, seed=6)).over(seen)[0]).abs().mean() > 0.01
    alone = draw_light(rows(4)[2:3]).over(seen[2:3])
    torch.testing.assert_close(alone[0], lit[2], atol=1e-6, rtol=0)


def test_order_of_brightness_is_kept() -> None:
    """Nothing moves: a brighter pixel of a grey picture stays the brighter one under an even light."""
    ramp = torch.linspace(0.05, 0.95, 16).view(1, 1, 1, 1, 16).expand(8, 1, 3, 4, 16)
    light = draw_light(rows(8))
    even = light.gain.mean((-1, -2), keepdim=True).expand_as(light.gain)
    lit = type(light)(light.gamma, even, light.colour, light.contrast).over(ramp)
    assert (torch.diff(lit.mean(2), dim=-1) > -1e-4).all()


def test_texture_and_softness_are_by_seed() -> None:
    assert torch.equal(draw_texture(rows(3), 16, 24), draw_texture(rows(3), 16, 24))
    assert draw_texture(rows(3), 16, 24).shape == (3, 1, 3, 16, 24)
    seen = pictures(3)
    soft = softened(seen, draw_softness(rows(3)))
    assert soft.shape == seen.shape
    torch.testing.assert_close(softened(seen, torch.zeros(3, 1, 1, 1, 1)), seen)
