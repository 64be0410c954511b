"""Heads: the same from the same seed, framed as photographs are, and moved as the channels say, with true flow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from distill.corpus.heads import Head, HeadClip, Kit, make_clip
from distill.corpus.heads.anatomy import LANDMARKS
from distill.corpus.heads.drawing import raster, shade
from distill.corpus.heads.drawing.native import library
from distill.corpus.heads.head import WINDOW
from distill.corpus.heads.shards import Moments, read_shard, render_shard, shard_path
from distill.corpus.heads.traits import HELD_OUT_SKINS, SPLITS, draw_traits
from distill.data.speech_set import SpeechItem
from distill.stages import heads as stage
from models.face import EYE_LINE_Y, EYE_SPREAD_X

pytestmark = pytest.mark.slow  # npm and pip fetch a hundred megabytes the first time


def _mark(landmarks: torch.Tensor, name: str) -> torch.Tensor:
    return landmarks[..., LANDMARKS.index(name), :]


def _warped(clip: HeadClip) -> torch.Tensor:
    """The reference moved by the true flow, (T, 3, H, W) 0..255."""
    reference = clip.reference.permute(2, 0, 1)[None].float().expand(len(clip.frames), -1, -1, -1)
    size = reference.shape[-1]
    at = torch.arange(size) + 0.5
    x, y = at + clip.truth.flow[:, 0], at.view(-1, 1) + clip.truth.flow[:, 1]
    grid = torch.stack((x, y), -1) * 2 / size - 1
    return F.grid_sample(reference, grid, mode="bicubic", padding_mode="border", align_corners=False)


def test_the_same_seed_gives_the_same_pictures(kit: Kit, clip: HeadClip) -> None:
    again = make_clip(Head(kit.traits(22), kit), clip.mouth[1:2], clip.expression[1:2], torch.zeros(11))
    assert torch.equal(again.reference, clip.reference)
    assert torch.equal(again.frames[0], clip.frames[1])


def test_frames_drawn_together_equal_frames_drawn_alone(head: Head, clip: HeadClip) -> None:
    together = make_clip(head, clip.mouth, clip.expression, torch.zeros(11), at_once=4)
    difference = (together.frames.int() - clip.frames.int()).abs()
    assert difference.max() <= 1
    assert torch.equal(together.truth.hole, clip.truth.hole)


def test_shapes_and_ranges(clip: HeadClip) -> None:
    assert clip.reference.shape == (256, 256, 3) and clip.reference.dtype == torch.uint8
    assert clip.frames.shape == (4, 256, 256, 3)
    assert clip.truth.flow.shape == (4, 2, 256, 256) and clip.truth.flow.isfinite().all()
    assert clip.truth.hole.shape == (4, 256, 256)
    assert 0.15 < clip.truth.matte.mean() < 0.95
    assert clip.truth.landmarks.shape == (4, len(LANDMARKS), 2)


def test_framed_as_photographs_are(clip: HeadClip) -> None:
    marks = clip.reference_truth.landmarks[0]
    right, left = _mark(marks, "right_eye"), _mark(marks, "left_eye")
    middle = (right + left) / 2
    assert abs(float(middle[1]) - EYE_LINE_Y) < 5
    assert abs(float(left[0] - right[0]) / 2 - EYE_SPREAD_X) < 4
    mouth = (_mark(marks, "mouth_right") + _mark(marks, "mouth_left")) / 2
    assert 176 < float(mouth[1]) < 194


def test_what_shows_the_reference_again_is_the_reference(clip: HeadClip) -> None:
    same = (clip.frames[0].int() - clip.reference.int()).abs()
    assert same.max() <= 1
    assert clip.truth.flow[0].abs().max() < 0.02
    assert clip.truth.hole[0].float().mean() < 1e-3


def test_nothing_changes_outside_the_window(clip: HeadClip) -> None:
    left, top, width, height = WINDOW
    outside = torch.ones(256, 256, dtype=torch.bool)
    outside[top - 3 : top + height + 3, left - 3 : left + width + 3] = False
    assert torch.equal(clip.frames[1][outside], clip.reference[outside])


def test_flow_moves_the_reference_onto_the_frame(clip: HeadClip) -> None:
    """Where it moves by more than half a pixel, the moved reference is much nearer to the frame than itself."""
    moved = (clip.truth.flow.norm(dim=1) > 0.5) & ~clip.truth.hole
    frames = clip.frames.permute(0, 3, 1, 2).float()
    warped = (_warped(clip) - frames).abs().mean(1)
    copied = (clip.reference.permute(2, 0, 1).float() - frames).abs().mean(1)
    for t, share in ((1, 0.5), (2, 0.62)):  # lids change their shade as they close
        assert moved[t].sum() > 500
        assert warped[t][moved[t]].mean() < share * copied[t][moved[t]].mean()


def test_an_open_mouth_is_a_hole(clip: HeadClip) -> None:
    marks = clip.truth.landmarks[1]
    x, y = ((_mark(marks, "upper_lip_in") + _mark(marks, "lower_lip_in")) / 2).round().long().tolist()
    assert clip.truth.hole[1, y, x]
    inside = (clip.truth.material[1] == shade.TEETH) | (clip.truth.material[1] == shade.INSIDE)
    assert inside.sum() > 40


def test_channels_move_what_they_say(clip: HeadClip) -> None:
    marks, rest = clip.truth.landmarks, clip.reference_truth.landmarks[0]

    def gap(upper: str, lower: str) -> torch.Tensor:
        return (_mark(marks, lower) - _mark(marks, upper))[:, 1]

    lips, lids = gap("upper_lip_in", "lower_lip_in"), gap("left_upper_lid", "left_lower_lid")
    assert lips[0].abs() < 1.5 and lips[1] > 8
    assert lids[0] > 4 and lids[2] < 2 and (lids[1] - lids[0]).abs() < 0.5
    assert _mark(marks, "chin")[1, 1] > _mark(rest, "chin")[1] + 4
    eye = clip.truth.material[3] == shade.EYE
    gaze = clip.truth.flow[3, 0][eye & ~clip.truth.hole[3]]
    assert gaze.median() < -1  # the iris came from the left, so it went to the viewer's right


def test_c_lights_as_pytorch_does(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library() is not None, "the tests need a C compiler"
    mouth = torch.tensor([[0.4, 0.2, 0.0, 0.5, 0.0, 0.0]])
    ours = head.shoot(mouth, torch.zeros(1, 4)).light
    monkeypatch.setattr(raster, "usable", lambda _: None)
    monkeypatch.setattr(shade, "usable", lambda _: None)
    theirs = head.shoot(mouth, torch.zeros(1, 4)).light
    difference = (ours - theirs).abs()
    assert difference.mean() < 1e-4 and (difference > 0.01).float().mean() < 1e-3


def test_splits_share_nothing() -> None:
    names = tuple(
        f"{age}_{tone}skinned_{sex}_diffuse{number}"
        for age in ("young", "middleage", "old")
        for tone in ("light", "dark")
        for sex in ("male", "female")
        for number in ("", "2", "3")
    )
    seen = {split: [draw_traits(seed, split, names) for seed in range(80)] for split in SPLITS}
    lights = {split: {t.light.kind for t in some} for split, some in seen.items()}
    styles = {split: {t.hair for t in some} - {"", "cropped"} for split, some in seen.items()}
    for kinds in (lights, styles):
        assert not kinds["train"] & kinds["val"] and not kinds["train"] & kinds["test"]
        assert not kinds["val"] & kinds["test"]
    held = {skin for group in HELD_OUT_SKINS.values() for skin in group}
    assert not {skin for t in seen["train"] for skin in t.skins} & held
    for split, group in HELD_OUT_SKINS.items():
        assert {skin for t in seen[split] for skin in t.skins} <= set(group)


@pytest.mark.parametrize(("seed", "split"), [(-1, "train"), (0, "all")])
def test_odd_requests_are_refused(seed: int, split: str) -> None:
    with pytest.raises(ValueError, match="Expected a"):
        draw_traits(seed, split)


def test_a_shard_gives_back_what_was_rendered(kit: Kit, clip: HeadClip, tmp_path: Path) -> None:
    path = shard_path(tmp_path, "train", 22, 1, 2, 256)
    shown = Moments(clip.mouth[1:3], clip.expression[1:3], torch.zeros(2, 6))
    render_shard(path, kit, "train", 22, [shown], 256)
    (item,) = read_shard(path)
    direct = make_clip(Head(kit.traits(22), kit), shown.mouth, shown.expression)
    assert torch.equal(item.reference.permute(1, 2, 0), direct.reference)
    left, top, width, height = WINDOW
    window = (slice(None), slice(top, top + height), slice(left, left + width))
    assert torch.equal(item.frames.permute(0, 2, 3, 1)[window], direct.frames[window])
    torch.testing.assert_close(item.flow, direct.truth.flow, atol=0.02, rtol=0)
    assert torch.equal(item.hole, direct.truth.hole)
    assert item.meta["seed"] == 22 and item.landmarks.shape == (3, len(LANDMARKS), 2)


@pytest.mark.slow
def test_every_person_has_a_face(kit: Kit) -> None:
    """Heads of every split: the face is in the picture, lit, and closes its mouth."""
    for split in SPLITS:
        for seed in range(3):
            head = Head(kit.traits(seed, split), kit)
            clip = make_clip(head, torch.zeros(1, 6), torch.zeros(1, 4), torch.zeros(11))
            skin = clip.truth.material[0] == shade.SKIN
            level = clip.frames[0].float().mean(-1)[skin].mean()
            assert skin[90:230, 70:190].float().mean() > 0.35, (split, seed)
            assert 25 < level < 235, (split, seed)
            inside = clip.truth.material[0] == shade.TEETH
            assert inside.sum() < 12, (split, seed)


@pytest.mark.gpu
def test_cuda_draws_what_the_cpu_draws(kit: Kit, clip: HeadClip) -> None:
    """All frames at once on CUDA: the same pictures but for edges, the same truth."""
    there = make_clip(
        Head(kit.traits(22), kit, device="cuda"), clip.mouth, clip.expression, torch.zeros(11), at_once=4
    )
    difference = (there.frames.int() - clip.frames.int()).abs().float()
    assert difference.mean() < 0.1 and (difference > 8).float().mean() < 0.003
    assert (there.truth.hole != clip.truth.hole).float().mean() < 0.002
    torch.testing.assert_close(there.truth.landmarks, clip.truth.landmarks, atol=1e-3, rtol=0)


def test_a_stage_is_taken_up_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that are there are kept, and parts share the work."""
    made: list[str] = []

    def write(path: Path, *_: object) -> None:
        made.append(path.name)
        path.write_bytes(b"")

    monkeypatch.setattr(stage, "render_shard", write)
    monkeypatch.setattr(stage, "Kit", lambda: None)
    monkeypatch.setattr(stage, "moments_of", lambda *_: None)
    first = stage.make_heads(tmp_path, "train", 20, part=(0, 2))
    assert made == ["train-00000000x8-10-256.npz", "train-00000016x4-10-256.npz"]
    assert stage.make_heads(tmp_path, "train", 20) == first and made[2:] == ["train-00000008x8-10-256.npz"]
    stage.make_heads(tmp_path, "train", 20)
    assert len(made) == 3


def test_moments_are_speech_and_what_it_seldom_shows() -> None:
    item = SpeechItem(
        torch.zeros(0), torch.rand(50, 6), torch.zeros(50, 4), torch.zeros(50, 6), torch.ones(50)
    )
    shown = stage.moments_of(3, [item], 10)  # type: ignore[arg-type]
    assert shown.mouth.shape == (10, 6) and shown.expression.shape == (10, 4) and shown.pose.shape == (10, 6)
    assert all(any(torch.equal(row, said) for said in item.mouth) for row in shown.mouth[:6])
    again = stage.moments_of(3, [item], 10)  # type: ignore[arg-type]
    assert torch.equal(again.mouth, shown.mouth) and torch.equal(again.expression, shown.expression)
