"""Identities: deterministic, varied, and split without overlap."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from distill.corpus.drawn import Identity, sample_identities
from distill.corpus.drawn.identity import (
    BACKDROPS,
    CLOTHES,
    FACIAL_HAIR,
    GLASSES,
    HAIR_STYLES,
    HELD_OUT_HAIR,
    HELD_OUT_STYLE,
    STYLES,
)


def columns(who: Identity) -> dict[str, torch.Tensor]:
    return {f.name: getattr(who, f.name) for f in fields(Identity)}


def test_splits_share_no_seed() -> None:
    seeds = [set(sample_identities(range(500), split).seed.tolist()) for split in ("train", "val", "test")]
    assert len(set.union(*seeds)) == 1500


def test_only_the_test_split_has_the_held_out_style_hair_and_colours() -> None:
    seen = {split: sample_identities(range(1200), split) for split in ("train", "val", "test")}
    for split, who in seen.items():
        held_out = split == "test"
        assert bool((who.style == HELD_OUT_STYLE).any()) is held_out
        assert bool((who.hair_style == HELD_OUT_HAIR).any()) is held_out
        green = who.hair[:, 1] > who.hair[:, 0] + 0.1
        greenish = green & (who.hair[:, 1] > who.hair[:, 2] - 0.08)
        assert bool(greenish.any()) is held_out


def test_every_kind_occurs() -> None:
    who = sample_identities(range(1500), "test")
    for column, kinds in (
        (who.style, STYLES),
        (who.hair_style, HAIR_STYLES),
        (who.glasses, GLASSES),
        (who.facial_hair, FACIAL_HAIR),
        (who.clothes, CLOTHES),
    ):
        assert set(column.tolist()) == set(range(len(kinds)))
    assert set(who.backdrop.tolist()) == set(range(len(BACKDROPS)))


def test_traits_do_not_hang_together() -> None:
    """Continuous traits drawn independently correlate by chance only."""
    who = sample_identities(range(2000))
    names = ("face_width", "chin_y", "eye_y", "eye_width", "brow_gap", "nose_width", "mouth_y", "upper_lip",
             "freckles", "ear_size", "neck_width", "hair_volume", "light_x", "blush")  # fmt: skip
    table = torch.stack([getattr(who, name) for name in names])
    correlation = torch.corrcoef(table) - torch.eye(len(names))
    assert correlation.abs().max() < 0.12


def test_a_seed_is_the_same_character_alone_and_among_others() -> None:
    many, one = sample_identities(range(20), "val"), sample_identities([13], "val")
    for name, column in columns(many).items():
        assert torch.equal(column[13:14], getattr(one, name)), name


def test_select_and_repeat() -> None:
    who = sample_identities(range(5))
    assert len(who.select([1, 3])) == 2
    assert torch.equal(who.select([1, 3]).skin, who.skin[[1, 3]])
    assert torch.equal(who.select(slice(2, 4)).seed, who.seed[2:4])
    assert torch.equal(who.select(who.seed > 3).seed, who.seed[who.seed > 3])
    twice = who.repeat(2)
    assert len(twice) == 10
    assert torch.equal(twice.seed[2:4], who.seed[[1, 1]])


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a split"):
        sample_identities([0], "dev")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        sample_identities([-1])
