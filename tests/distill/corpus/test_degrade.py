"""Moderate quality: every defect does what its label says, by the seed alone."""

from __future__ import annotations

import pytest
import torch

from distill.corpus.degrade import (
    DEFECTS,
    PICTURE_DEFECTS,
    SYNC_DEFECTS,
    Defects,
    delayed,
    draw_defects,
    moved,
    sound_delays,
    spoil_pictures,
)


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 9, 64), torch.linspace(0, 9, 64), indexing="ij")
    picture = torch.stack((x.sin(), y.cos(), (x + y).sin())) * 0.35 + 0.5
    return picture.expand(12, -1, -1, -1).contiguous()


@pytest.mark.parametrize("name", PICTURE_DEFECTS)
def test_a_picture_defect_changes_the_picture_and_stays_in_range(name: str, clip: torch.Tensor) -> None:
    wrong = Defects((name,), 0.8, seed=5)
    out = spoil_pictures(clip, wrong)
    assert out.shape == clip.shape and out.min() >= 0 and out.max() <= 1
    assert (out - clip).abs().mean() > 0.005
    assert torch.equal(out, spoil_pictures(clip, wrong)), "the same seed gives the same clip"


@pytest.mark.parametrize("name", SYNC_DEFECTS)
def test_a_sound_defect_leaves_the_picture_alone(name: str, clip: torch.Tensor) -> None:
    assert torch.equal(spoil_pictures(clip, Defects((name,), 0.8, seed=5)), clip)


def test_darkness_darkens_and_blur_blurs(clip: torch.Tensor) -> None:
    assert spoil_pictures(clip, Defects(("dark",), 1.0, 1)).mean() < 0.75 * clip.mean()
    sharp = clip.diff(dim=-1).abs().mean()
    assert spoil_pictures(clip, Defects(("blur",), 1.0, 1)).diff(dim=-1).abs().mean() < 0.95 * sharp


def test_late_sound_shows_the_mouth_of_sound_to_come() -> None:
    track = torch.arange(60.0).unsqueeze(1)
    late = next(d for d in (Defects(("late_audio",), 1.0, s) for s in range(50)) if sound_delays(5, d)[0] > 0)
    by = float(sound_delays(5, late)[0])
    assert 2 <= by <= 6
    torch.testing.assert_close(delayed(track, sound_delays(5, late), 20)[:, 0], torch.arange(20.0, 25.0) + by)
    drift = sound_delays(40, Defects(("drifting_audio",), 1.0, 3))
    assert drift[0] == 0 and 2 <= drift[-1].abs() <= 5
    assert not sound_delays(5, Defects(("noise",), 1.0, 3)).any()


def test_defects_are_drawn_by_seed_and_never_none() -> None:
    drawn = [draw_defects(seed) for seed in range(400)]
    assert drawn[7] == draw_defects(7) and all(d.names for d in drawn)
    for name in DEFECTS:
        assert any(d.has(name) for d in drawn), name
    assert all(sum(n in SYNC_DEFECTS for n in d.names) <= 1 for d in drawn)
    assert all(d.names == ("blur",) for d in (draw_defects(s, ("blur",)) for s in range(20)))
    with pytest.raises(ValueError, match="at least one allowed defect"):
        draw_defects(1, ())
    with pytest.raises(ValueError, match="Unknown defects \\['evil'\\]"):
        Defects(("evil",), 1.0, 1)


def test_moving_moves_by_pixels(clip: torch.Tensor) -> None:
    out = moved(clip, 3.0, -2.0, 1.0)
    torch.testing.assert_close(out[..., 5:50, 10:60], clip[..., 7:52, 7:57], atol=2e-5, rtol=0)
