"""`fada prepare` as a user runs it: folders of good, poor and broken videos, and training on what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.data.draws import StepDraw
from distill.prepare.dataset import (
    PreparedClips,
    is_prepared,
    read_clip,
    read_dataset,
    reference_frames,
    window_starts,
)
from distill.stages.teacher import TeacherStage
from fada import main
from models.avatar_model import AvatarModel
from models.face import CANVAS_PX, FACE_BOX, SAMPLES_PER_FRAME
from tests.distill.prepare.talking_videos import drawn, speaking_photo, speech, write_video
from tests.models.tiny import tiny_preset

pytestmark = pytest.mark.slow  # videos are made, decoded and looked through


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn videos, prepared as already framed: one good, one late, one dark, one after a cut, four useless."""
    videos = tmp_path_factory.mktemp("videos")
    clip = speech(1, 6.0)
    frames = drawn(clip)
    (videos / "more").mkdir()
    write_video(videos / "more" / "good one.mp4", frames, clip.audio)
    write_video(videos / "late.mkv", frames, clip.audio, late_s=0.2)
    write_video(videos / "dark.mp4", (frames * 0.25).astype(np.uint8), clip.audio)
    write_video(
        videos / "cut.mp4", np.concatenate((frames[:60], 255 - frames[60:75])), clip.audio[: 75 * 640]
    )
    write_video(videos / "mute.mp4", frames[:30], None)
    write_video(videos / "photo.mp4", frames[:1].repeat(60, 0), clip.audio[: 60 * 640])
    write_video(videos / "short.mp4", frames[:20], clip.audio[: 20 * 640])
    (videos / "broken.mp4").write_bytes(b"this is not a video" * 40)
    (videos / "notes.txt").write_text("not a video either")
    out = videos.parent / "prepared"
    assert _prepare(videos, out) == 0
    return out


def _prepare(videos: Path, out: Path, *more: str) -> int:
    return main(["prepare", str(videos), str(out), "--already-framed", *more])


def _source(out: Path, name: str) -> dict[str, Any]:
    index = read_dataset(out)
    found = next(source for source in index["sources"] if source["source"] == name)
    return {**found, "clips": [clip for clip in index["clips"] if clip["source"] == name]}


def test_each_video_gets_its_class_or_its_reason(made: Path) -> None:
    assert is_prepared(made)
    assert [c["quality"] for c in _source(made, "more/good one.mp4")["clips"]] == ["high"]
    late = _source(made, "late.mkv")
    assert late["sync"]["lag_frames"] == pytest.approx(5, abs=1)
    assert [c["quality"] for c in late["clips"]] == ["moderate"]
    assert "frames apart" in late["clips"][0]["reasons"][0]
    dark = _source(made, "dark.mp4")["clips"][0]
    assert dark["quality"] == "moderate" and any("dark" in reason for reason in dark["reasons"])
    cut = _source(made, "cut.mp4")
    assert [c["frames"] for c in cut["clips"]] == [60]
    assert cut["refused"][0]["reasons"] == ["the shot is shorter than a clip may be"]
    for name, reason in {
        "mute.mp4": "no sound",
        "photo.mp4": "does not move",
        "short.mp4": "shorter",
        "broken.mp4": "cannot be decoded",
    }.items():
        source = _source(made, name)
        assert not source["clips"] and reason in source["reason"]


def test_the_index_the_report_and_the_sheet_agree(made: Path) -> None:
    index = read_dataset(made)
    counts = index["counts"]
    assert counts["sources"] == 8 and counts["clips"] == len(index["clips"]) == 4
    assert counts["high"] + counts["moderate"] == 4
    assert set(index["tracks"]) == {"mouth", "blink", "gaze_x", "gaze_y", "brow"}
    text = (made / "report.md").read_text()
    for source in index["sources"]:
        assert source["source"] in text and source["reason"] in text
    assert (made / "sheet.png").stat().st_size > 10_000
    stored = {path.stem for path in (made / "clips").iterdir()}
    assert stored == {clip["name"] for clip in index["clips"]}


def test_a_drawing_comes_through_as_it_was(made: Path) -> None:
    clip = speech(1, 6.0)
    stored = read_clip(made / "clips" / f"{_source(made, 'more/good one.mp4')['clips'][0]['name']}.npz")
    assert len(stored.pictures) == 150 and stored.lead == 0
    left, top, width, height = FACE_BOX
    for index in (0, 77, 149):
        canvas = stored.canvas(index)
        assert canvas.shape == (CANVAS_PX, CANVAS_PX, 3)
        true = drawn(clip)[index] if index == 0 else None
        if true is not None:
            off = np.abs(canvas.astype(int) - true)[top : top + height, left : left + width]
            assert off.mean() < 4
    heard = stored.audio[: len(clip.audio)].astype(np.float32) / 32768
    assert np.corrcoef(heard, clip.audio[: len(heard)])[0, 1] > 0.95  # through AAC, and not shifted
    assert np.corrcoef(stored.mouth[:, 0], clip.mouth[:, 0])[0, 1] > 0.8
    assert clip.mouth[stored.rest.argmin(), 0] < 0.15


def test_what_is_done_is_kept_and_what_changed_is_done_again(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = made.parent / next(p.name for p in made.parent.iterdir() if p.name.startswith("videos"))
    before = {path: path.stat().st_mtime_ns for path in (made / "clips").iterdir()}
    figures = tmp_path / "figures.json"
    assert _prepare(videos, made, "--json", str(figures), "--workers", "2") == 0
    assert {path: path.stat().st_mtime_ns for path in (made / "clips").iterdir()} == before
    assert "8 done before" in capsys.readouterr().out
    assert json.loads(figures.read_text())["clips"] == 4


def test_late_sound_can_be_moved_into_place(tmp_path: Path) -> None:
    clip = speech(1, 6.0)  # in four seconds the peak does not stand out from chance
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "late.mp4", drawn(clip), clip.audio, late_s=0.2)
    assert _prepare(tmp_path / "in", tmp_path / "out", "--fix-lag") == 0
    source = _source(tmp_path / "out", "late.mp4")
    assert source["sync"]["moved_frames"] == pytest.approx(5, abs=1)
    stored = read_clip(tmp_path / "out" / "clips" / f"{source['clips'][0]['name']}.npz")
    heard = np.abs(stored.audio.astype(np.float64))[: 90 * SAMPLES_PER_FRAME].reshape(90, -1).mean(1)
    true = np.abs(clip.audio)[: 90 * SAMPLES_PER_FRAME].reshape(90, -1).mean(1)
    shifts = [float(np.corrcoef(np.roll(heard, s)[8:-8], true[8:-8])[0, 1]) for s in range(-6, 7)]
    assert abs(int(np.argmax(shifts)) - 6) <= 1


def test_wrong_use_is_one_sentence_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, word in (
        ([str(tmp_path / "none")], "is none"),
        ([str(tmp_path / "empty")], "found none"),
        ([str(tmp_path / "empty"), "--min-seconds", "20"], "0.5 to 60"),
    ):
        assert main(["prepare", arguments[0], str(tmp_path / "out"), *arguments[1:]]) == 2
        assert word in capsys.readouterr().err
    (tmp_path / "empty" / "broken.mp4").write_bytes(b"0" * 99)
    assert _prepare(tmp_path / "empty", tmp_path / "out") == 1
    assert "refused broken.mp4: the file cannot be decoded" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"high clips of at least 40 frames.*found none"):
        PreparedClips(tmp_path / "out", tiny_preset(), AvatarModel(tiny_preset(), "teacher").vae, "high")
    with pytest.raises(ValueError, match=r"no dataset\.json"):
        PreparedClips(tmp_path, tiny_preset(), AvatarModel(tiny_preset(), "teacher").vae, "high")


def test_windows_and_references_of_a_clip(made: Path) -> None:
    assert (
        window_starts(39, 40) == [] and window_starts(40, 40) == [0] and window_starts(75, 40) == [0, 20, 35]
    )
    stored = read_clip(next((made / "clips").glob("*good-one*.npz")))
    still, _ = reference_frames(stored, 0, 40, 1)
    assert (stored.rest + stored.expression[:, 0])[still] < 0.35
    assert reference_frames(stored, 0, 40, 1) == reference_frames(stored, 0, 40, 1)


def test_the_teacher_trains_on_prepared_clips(made: Path) -> None:
    torch.manual_seed(0)
    preset = tiny_preset()
    model = AvatarModel(preset, "teacher")
    clips = PreparedClips(made, preset, model.vae.eval(), "high", frames=30)
    item, again = clips[1], clips[1]
    assert item.latents.shape == (30, *preset.latent_shape) and item.references.shape == (
        2,
        *preset.latent_shape,
    )
    cfg = preset.audio
    assert item.audio.shape == (cfg.context_samples + 30 * SAMPLES_PER_FRAME + cfg.lookahead_samples,)
    assert item.mouth.shape == (30, 6) and item.expression.shape == (30, 4)
    own = speech(1, 6.0).audio[15 * SAMPLES_PER_FRAME :][: 30 * SAMPLES_PER_FRAME]
    heard = item.audio[cfg.context_samples : cfg.context_samples + len(own)].numpy()
    assert np.corrcoef(heard, own)[0, 1] > 0.95  # item 1 begins 15 frames into the clip
    clips.forget()
    torch.testing.assert_close(clips[1].latents, again.latents)
    stage = TeacherStage(model, clips, 2, 4, "cpu")  # type: ignore[arg-type]
    loss, figures = stage.loss(StepDraw(0, 0, 0, 2, 2))
    loss.backward()
    assert torch.isfinite(loss) and figures["mse"] > 0
    assert any(p.grad is not None and p.grad.any() for p in stage.trainable().parameters())


def test_a_photographed_face_is_prepared_without_being_framed(tmp_path: Path) -> None:
    clip = speech(1, 3.2)
    (tmp_path / "in").mkdir()
    shots = np.stack([image for image, _ in speaking_photo(clip.mouth[:, 0])])
    write_video(tmp_path / "in" / "face.mp4", shots, clip.audio)
    assert main(["prepare", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    (found,) = _source(tmp_path / "out", "face.mp4")["clips"]
    assert found["frames"] == 80 and found["figures"]["likeness"] > 0.9
    assert 45 < found["figures"]["eye_distance_px"] < 65
