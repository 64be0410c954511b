"""The measuring probe's training: what it learns from, and that its losses say what they should."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from distill.data.draws import StepDraw
from distill.data.pictures import PictureItem, PictureSet
from distill.data.styled_pictures import StyledPictures
from distill.probe import FEATURE_DIMS, IDENTITY_DIMS, Probe, load_probe
from distill.stages.probe import TEMPERATURE, Heads, ProbeStage, contrast

CPU = "cpu"


def test_contrast_is_nothing_for_told_apart_people_and_log_of_the_rest_for_all_alike() -> None:
    rows = 5
    apart = torch.eye(8)[:rows].unsqueeze(1).expand(-1, 2, -1)
    expected = math.log(1 + (2 * rows - 2) * math.exp(-1 / TEMPERATURE))
    assert float(contrast(apart)) == pytest.approx(expected, abs=1e-6)
    alike = torch.ones(rows, 2, 4) / 2
    assert float(contrast(alike)) == pytest.approx(math.log(2 * rows - 1), rel=1e-5)


def test_styled_pictures_depend_on_their_index_alone(tmp_path: Path) -> None:
    drawn = StyledPictures(tmp_path / "a", "train", 4, frames=2)
    first = drawn[3]
    again = StyledPictures(tmp_path / "b", "train", 9, frames=2)
    with torch.autocast(CPU, torch.bfloat16):
        torch.testing.assert_close(again[3].frames, first.frames, rtol=0, atol=0)
    torch.testing.assert_close(drawn[3].frames, first.frames, rtol=0, atol=0)  # now from the disk
    assert first.frames.shape == (2, 3, 160, 160) and first.opening_px[0] == 0
    other = StyledPictures(tmp_path / "a", "train", 4, frames=2, first_style=500)
    assert (other[3].frames != first.frames).any()


def test_the_stage_takes_steps_and_its_probe_can_be_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pictures = PictureSet(tmp_path / "data", "train", 3, frames=3)
    stage = ProbeStage(pictures, PictureSet(tmp_path / "data", "val", 2, frames=3), 6, CPU)
    optimizer = torch.optim.Adam(stage.trainable().parameters(), lr=1e-3)
    losses = []
    for step in range(10):
        loss, figures = stage.loss(StepDraw(0, step % 2, 0, 6, 6))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-2:]) < sum(losses[:2]) and set(figures) == {"gap", "who", "r_open"}
    stage.save(tmp_path / "probe.safetensors", {})
    probe = load_probe(tmp_path / "probe.safetensors")
    assert isinstance(probe, Probe)
    picture = torch.rand(4, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    embedded = probe.embed(picture)
    assert embedded.shape == (4, IDENTITY_DIMS) and probe.features(picture).shape == (4, 2 * FEATURE_DIMS)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(4))


class HeadsLike:
    """Pictures in the form of rendered heads: a dark mouth that is as high as its opening."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> PictureItem:
        opening = torch.tensor([0.0, 10.0, 20.0]) + index
        frames = torch.full((3, 3, 160, 160), 180, dtype=torch.uint8)
        for frame, gap in zip(frames, opening.int().tolist(), strict=True):
            frame[:, 118 : 118 + gap, 60:100] = 20
        mouth = torch.zeros(3, 6)
        mouth[:, 0] = opening / 30
        return PictureItem(frames, mouth, torch.zeros(3, 4), opening)


def test_a_probe_learns_on_from_heads_and_is_validated_on_them(tmp_path: Path) -> None:
    """Rendered heads come in by their share, and the checkpoint's notes say how well they are read."""
    torch.manual_seed(0)
    pictures, others = (PictureSet(tmp_path / "data", split, 2, frames=3) for split in ("train", "val"))
    trained, draw = Probe(), StepDraw(0, 0, 0, 4, 4)
    plain = ProbeStage(pictures, others, 4, CPU, trained=trained)
    assert plain.probe is trained
    alone = ProbeStage(pictures, others, 4, CPU, Heads(HeadsLike(), HeadsLike(), 1.0), trained)
    assert float(plain.loss(draw)[0].detach()) != float(alone.loss(draw)[0].detach())
    optimizer = torch.optim.Adam(alone.trainable().parameters(), lr=2e-3)
    for step in range(25):
        loss, _ = alone.loss(StepDraw(0, step, 0, 4, 4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    figures = alone.evaluate()
    assert {"r_opening", "styled_r_opening", "heads_r_opening", "heads_r_blink"} <= set(figures)
    assert figures["heads_r_opening"] > 0.8
    assert set(plain.validation) == {"", "styled_"}
