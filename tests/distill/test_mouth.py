"""The stage "mouth": what its pictures show is what is said of them, and NumPy reads what torch has learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.corpus.heads.shards import HeadItem
from distill.data.draws import StepDraw
from distill.data.mouths.covers import DRAWS, MAKERS, Things, covered_by
from distill.data.mouths.crops import REGION, STORED_PX, MouthCrops
from distill.data.mouths.pool import MARGIN, POOL_PX, MouthPool
from distill.data.mouths.spoiling import draw_shadow, spoilt
from distill.stages.mouth import MouthStage
from models.framing.mouth import BOX, INPUT_PX, SIDE, WEIGHTS, MouthReader
from tests.distill.data.test_head_set import SHARD, item_of

CPU = "cpu"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two heads of three frames each, for training and validation."""

    def read_shard(path: Path) -> list[HeadItem]:
        return [item_of(0), item_of(1)]

    monkeypatch.setattr("distill.corpus.heads.shards.read_shard", read_shard)
    (tmp_path / "heads").mkdir()
    for split in ("train", "val"):
        (tmp_path / "heads" / f"{SHARD.replace('train', split)}.npz").write_bytes(b"")
    return tmp_path


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 * seed + row) for row in range(count)]


def places(rows: int) -> torch.Tensor:
    """Where the pixels of the network's input lie on the canvas, (B, 64, 64, 2)."""
    left, top, width, _ = BOX
    step = (torch.arange(INPUT_PX) + 0.5) * (width / INPUT_PX)
    y, x = torch.meshgrid(top + step, left + step, indexing="ij")
    return torch.stack((x, y), -1).expand(rows, -1, -1, -1)


def test_crops_are_the_lower_faces_with_the_state_open(data: Path) -> None:
    crops = MouthCrops(data, "train", 1)
    assert len(crops) == 2 * 4 + 8
    true = item_of(1)
    assert float(crops.opened[4]) == float(true.reference_state[0])
    assert torch.equal(crops.opened[5:8], true.mouth[:, 0])
    left, top, width, height = REGION
    shown = true.frames[2, :, top : top + height, left : left + width].float().mean((1, 2)) / 255
    torch.testing.assert_close(crops.pictures(torch.tensor([7]))[0].mean((1, 2)), shown, rtol=0.01, atol=0.01)
    assert crops.pictures(torch.arange(3)).shape == (3, 3, STORED_PX, STORED_PX)
    wanted = torch.tensor([0.1, 0.5, 0.9])
    found = crops.opened[crops.near(wanted)]
    away = (crops.opened[None] - wanted[:, None]).abs().amin(1)
    assert ((found - wanted).abs() <= away + 0.2).all()


def test_a_picture_of_the_pool_depends_on_its_split_and_number_alone(data: Path, tmp_path: Path) -> None:
    few, more = MouthPool(data, "train", 1, 3), MouthPool(data, "train", 1, 70)
    rows = torch.arange(3)
    torch.testing.assert_close(few.straight(rows), more.straight(rows), rtol=0, atol=1.01 / 255)
    assert torch.equal(few.opened, more.opened[:3])
    torch.testing.assert_close(few.hidden, more.hidden[:3])
    kept = MouthPool(data, "train", 1, 3)
    assert torch.equal(kept.straight(rows), few.straight(rows))
    other = MouthPool(data, "val", 1, 3)
    assert not torch.equal(other.straight(rows), few.straight(rows))
    assert ((more.hidden >= 0) & (more.hidden <= 1)).all() and (more.hidden == 0).sum() >= 10


def test_steps_shift_and_mirror(data: Path) -> None:
    pool, rows = MouthPool(data, "train", 1, 3), torch.tensor([1, 1, 1])
    shifts = torch.tensor([[MARGIN, MARGIN], [MARGIN, MARGIN], [0, 2 * MARGIN]])
    seen = pool.pictures(rows, shifts, torch.tensor([False, True, False]))
    assert POOL_PX == INPUT_PX + 2 * MARGIN and seen.shape == (3, 3, INPUT_PX, INPUT_PX)
    assert torch.equal(seen[0], pool.straight(rows[:1])[0])
    assert torch.equal(seen[1], seen[0].flip(2))
    assert torch.equal(seen[2][:, MARGIN:, :-MARGIN], seen[0][:, :-MARGIN, MARGIN:])


def test_what_is_said_to_be_hidden_is_what_has_changed() -> None:
    rows = 24
    pictures = torch.full((rows, 3, INPUT_PX, INPUT_PX), 0.5)
    others = torch.rand(rows, 3, INPUT_PX, INPUT_PX, generator=torch.Generator().manual_seed(1))
    out, hidden = covered_by(pictures, others, places(rows), generators(rows))
    changed = (out - pictures).abs().amax(1)
    assert changed[hidden < 1e-3].max() < 0.5 * 0.5 + 0.01  # a shadow at most
    assert float((hidden.amax((1, 2)) > 0.9).float().mean()) > 0.3
    assert float((changed[hidden > 0.95] > 0.02).float().mean()) > 0.8
    again, _ = covered_by(pictures[:5], others[:5], places(5), generators(5))
    torch.testing.assert_close(again, out[:5])


@pytest.mark.parametrize("maker", dict.fromkeys(MAKERS))
def test_every_kind_of_thing_is_somewhere_and_of_some_size(
    maker: Callable[[torch.Tensor, torch.Tensor], Things],
) -> None:
    u = torch.rand(32, DRAWS, generator=torch.Generator().manual_seed(2))
    things = maker(u, torch.full((32, 3), 0.6))
    assert (
        (things.there.sum(1) >= 1).all()
        and (things.half[things.there > 0] > 1).all()
        and (things.power >= 2).all()
    )
    assert torch.isfinite(things.at).all() and (things.colour >= 0).all()


def test_shadows_and_spoiling_hide_nothing_and_keep_to_their_rows() -> None:
    rows = 16
    pictures = torch.rand(rows, 3, INPUT_PX, INPUT_PX, generator=torch.Generator().manual_seed(3))
    shadowed = draw_shadow(pictures, places(rows), generators(rows))
    assert (shadowed <= pictures).all() and (shadowed >= 0.24 * pictures).all()
    assert 0 < int((shadowed != pictures).flatten(1).any(1).sum()) < rows
    out = spoilt(pictures, generators(rows))
    assert out.shape == pictures.shape and float(out.min()) >= 0 and float(out.max()) <= 1
    torch.testing.assert_close(spoilt(pictures[:6], generators(6)), out[:6], rtol=0, atol=1e-4)


def test_the_stage_learns_and_what_it_saves_is_read_alike_without_torch(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pool = MouthPool(data, "train", 1, 12)
    stage = MouthStage(pool, MouthPool(data, "val", 1, 12), 12, CPU)
    optimizer = torch.optim.Adam(stage.trainable().parameters(), lr=2e-3)
    losses = []
    for step in range(12):
        loss, figures = stage.loss(StepDraw(0, step % 2, 0, 12, 12))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-2:]) < sum(losses[:2]) and set(figures) == {"gap", "cover"}
    path = tmp_path / "mouth.safetensors"
    stage.save(path, {})
    assert path.stat().st_size <= 200_000
    canvas = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    left, top, width, height = (edge * SIDE // 256 for edge in BOX)
    seen = torch.from_numpy(canvas[top : top + height, left : left + width].copy()).permute(2, 0, 1) / 255
    with torch.no_grad():
        for parameter in stage.net.parameters():
            parameter.copy_(parameter.half().float())
        opened, covered = stage.net(torch.stack((seen, seen.flip(2)))).mean(0).sigmoid().tolist()
    read = MouthReader(path).read(canvas)
    assert read.open == pytest.approx(opened, abs=1e-5) and read.covered == pytest.approx(covered, abs=1e-5)
    stage.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()


def test_what_ships_is_small() -> None:
    assert WEIGHTS.stat().st_size <= 200_000
