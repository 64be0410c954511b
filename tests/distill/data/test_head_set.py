"""Shards of rendered heads as sets: pairs with a flow, pictures with true mouths, laid out part by part."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distill.corpus.heads.anatomy import LANDMARKS
from distill.corpus.heads.shards import HeadItem
from distill.data.head_set import HeadMotions, HeadPictures, opening_of
from distill.data.regions import MEASURED_BOX

SHARD = "train-00000000x2-3-256"


def item_of(seed: int, frames: int = 3) -> HeadItem:
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    return HeadItem(
        reference=(255 * some(3, 256, 256)).byte(),
        frames=(255 * some(frames, 3, 256, 256)).byte(),
        flow=some(frames, 2, 256, 256),
        hole=some(frames, 256, 256) < 0.1,
        matte=torch.zeros(0),
        material=torch.zeros(0),
        landmarks=200 * some(1 + frames, len(LANDMARKS), 2),
        mouth=some(frames, 6),
        expression=some(frames, 4),
        reference_state=some(11),
        view=some(3),
        pose=some(frames, 6),
        meta={},
    )


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """One shard of two heads in ``tmp_path / "heads"``; the list of shards that were inflated."""
    inflated: list[Path] = []

    def read_shard(path: Path) -> list[HeadItem]:
        inflated.append(path)
        return [item_of(0), item_of(1)]

    monkeypatch.setattr("distill.corpus.heads.shards.read_shard", read_shard)
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / f"{SHARD}.npz").write_bytes(b"")
    return inflated


def test_pictures_are_the_frames_measured_part_with_their_truth(tmp_path: Path, read: list[Path]) -> None:
    pictures, true = HeadPictures(tmp_path, "train"), item_of(1)
    assert len(pictures) == 2
    item = pictures[1]
    left, top, width, height = MEASURED_BOX
    assert torch.equal(item.frames, true.frames[..., top : top + height, left : left + width])
    assert torch.equal(item.mouth, true.mouth) and torch.equal(item.expression, true.expression)
    lower, upper = (true.landmarks[1:, LANDMARKS.index(f"{lip}_lip_in"), 1] for lip in ("lower", "upper"))
    assert torch.equal(item.opening_px, (lower - upper).clamp_min(0))
    other = HeadPictures(tmp_path, "train", box=(48, 88, 160, 160))[0]
    assert torch.equal(other.frames, item_of(0).frames[..., 88:248, 48:208])
    assert len(read) == 1  # the second set finds all parts laid out


def test_only_what_is_missing_is_laid_out(tmp_path: Path, read: list[Path]) -> None:
    """A training that maps frames and flow goes on undisturbed when pictures' truth is added beside them."""
    motions = HeadMotions(tmp_path, "train")
    first = motions[0]
    ready = tmp_path / "heads" / "ready"
    before = {path.name: path.stat().st_mtime_ns for path in ready.glob("*.npy")}
    assert f"{SHARD}.openings.npy" not in before and len(before) == 5
    assert len(HeadPictures(tmp_path, "train")[0].frames) == 3
    after = {path.name: path.stat().st_mtime_ns for path in ready.glob("*.npy")}
    assert set(after) - set(before) == {f"{SHARD}.openings.npy"}
    assert all(after[name] == time for name, time in before.items())
    again = HeadMotions(tmp_path, "train")[0]
    assert torch.equal(again.frames, first.frames) and again.flow is not None and first.flow is not None
    assert torch.equal(again.flow, first.flow) and torch.equal(again.states, first.states)
    assert len(read) == 2


def test_closed_lips_have_no_gap() -> None:
    landmarks = torch.zeros(2, len(LANDMARKS), 2)
    landmarks[:, LANDMARKS.index("upper_lip_in"), 1] = 180.0
    landmarks[:, LANDMARKS.index("lower_lip_in"), 1] = torch.tensor([179.5, 192.0])
    assert opening_of(landmarks).tolist() == [0.0, 12.0]
