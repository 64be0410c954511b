"""`fada prepare` on hostile folders: each defect by name, a photographed face on the lines, stops and restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fada
from distill.prepare.dataset import PreparedClips, is_prepared, read_clip, read_dataset
from models.face import CANVAS_PX, EYE_LINE_Y, EYE_SPREAD_X, SAMPLES_PER_FRAME
from tests.distill.prepare.talking_videos import (
    PHOTO_EYES,
    UInt8,
    drawn,
    photo,
    speaking_photo,
    speech,
    write_video,
)
from tests.models.tiny import tiny_model, tiny_preset

pytestmark = pytest.mark.slow

EARLY_FRAMES = 5


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of videos and the dataset made of it."""

    videos: Path
    out: Path
    code: int
    options: tuple[str, ...] = ()
    records: dict[str, dict[str, Any]] = field(default_factory=dict)


def prepare(videos: Path, out: Path, *options: str) -> Folder:
    """Run the command and read its records by file name."""
    code = fada.main(["prepare", str(videos), str(out), *options])
    records = [json.loads(path.read_text()) for path in (out / "sources").glob("*.json")]
    return Folder(videos, out, code, options, {record["source"]: record for record in records})


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A drawn character spoilt in one way each, and files without picture or sound."""
    videos = tmp_path_factory.mktemp("drawn")
    clip = speech(1, 2.6)
    frames, voice = drawn(clip), clip.audio
    rng = np.random.default_rng(0)
    noisy = (frames + rng.normal(0, 14, frames.shape)).clip(0, 255).astype(np.uint8)
    write_video(videos / "noisy.mp4", noisy, voice, crf=4)
    write_video(videos / "squeezed.mp4", frames, voice, crf=42)
    write_video(videos / "hiss.mp4", frames, (voice + rng.normal(0, 0.05, voice.shape)).astype(np.float32))
    write_video(videos / "silent.mp4", frames[:10], voice[: 10 * SAMPLES_PER_FRAME] * 0)
    (videos / "empty.mov").write_bytes(b"")
    return prepare(videos, tmp_path_factory.mktemp("out") / "data", "--already-framed")


def only_clip(record: dict[str, Any]) -> dict[str, Any]:
    (clip,) = record["clips"]
    return dict(clip)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("noisy.mp4", "the picture is noisy"),
        ("squeezed.mp4", "compress"),
        ("hiss.mp4", "voice and background"),
    ],
)
def test_a_defect_makes_a_clip_moderate_and_is_named(spoilt: Folder, name: str, words: str) -> None:
    clip = only_clip(spoilt.records[name])
    assert clip["quality"] == "moderate"
    assert any(words in reason for reason in clip["reasons"]), clip["reasons"]
    assert name in (spoilt.out / "report.md").read_text()


def test_silence_and_emptiness_are_refused_in_a_sentence(spoilt: Folder) -> None:
    assert spoilt.records["silent.mp4"]["reason"] == "the video's sound is silent"
    assert spoilt.records["empty.mov"]["reason"].startswith("the file cannot be decoded")


def test_a_stopped_run_goes_on_and_a_damaged_record_is_made_again(
    spoilt: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in (spoilt.out / "clips").glob("*.npz")}
    (spoilt.out / "sources" / f"{spoilt.records['empty.mov']['name']}.json").write_text('{"half a rec')
    (spoilt.out / "dataset.json").unlink()  # as if killed before the end
    assert prepare(spoilt.videos, spoilt.out, *spoilt.options).records == spoilt.records
    assert "4 done before" in capsys.readouterr().out and is_prepared(spoilt.out)
    assert {p.name: p.stat().st_mtime_ns for p in (spoilt.out / "clips").glob("*.npz")} == before


def test_workers_make_the_same(spoilt: Folder, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("hiss.mp4", "empty.mov"):
        (videos / name).symlink_to(spoilt.videos / name)
    made = prepare(videos, tmp_path / "out", "--already-framed", "--workers", "2")
    for name, record in made.records.items():
        assert (record["clips"], record["reason"]) == (
            spoilt.records[name]["clips"],
            spoilt.records[name]["reason"],
        )


def test_a_dataset_without_clips_of_a_class_says_so(spoilt: Folder, tmp_path: Path) -> None:
    vae = tiny_model("teacher").vae
    with pytest.raises(ValueError, match=r"Expected high clips of at least 40 frames .*report\.md"):
        PreparedClips(spoilt.out, tiny_preset(), vae, "high")
    assert len(PreparedClips(spoilt.out, tiny_preset(), vae, "moderate")) == 9
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="is damaged"):
        read_dataset(tmp_path)


def test_a_real_face_lies_on_the_lines(tmp_path: Path) -> None:
    clip = speech(1, 4.0)
    (tmp_path / "videos" / "phone").mkdir(parents=True)
    shots = np.stack([image for image, _ in speaking_photo(clip.mouth[:, 0].clip(0, 1))])
    write_video(tmp_path / "videos" / "phone" / "face.mp4", shots, clip.audio)
    wall = np.stack([np.roll(shots[0, :96, :96], 3 * i, 1) for i in range(55)])
    write_video(tmp_path / "videos" / "wall.mp4", wall, clip.audio[: 55 * SAMPLES_PER_FRAME])
    made = prepare(tmp_path / "videos", tmp_path / "out")
    assert made.records["wall.mp4"]["reason"] == "no face is seen"
    name = only_clip(made.records["phone/face.mp4"])["name"]
    stored = read_clip(made.out / "clips" / f"{name}.npz")
    for index in (0, 24, 49, 74, 99):
        for side, eye in zip((-1, 1), PHOTO_EYES):
            x, y = _found(stored.canvas(index), eye, (CANVAS_PX / 2 + side * EYE_SPREAD_X, EYE_LINE_Y))
            assert abs(y - EYE_LINE_Y) <= 2
            assert abs(side * (x - CANVAS_PX / 2) - EYE_SPREAD_X) <= 5


def _found(canvas: UInt8, eye: tuple[float, float], near: tuple[float, float]) -> tuple[float, float]:
    """Where an eye of the photograph lies on a canvas: the best match of its surroundings, whatever their scale."""
    left, top = round(near[0]) - 30, round(near[1]) - 25
    area = canvas[top : top + 50, left : left + 60].mean(2)
    best = (-1.0, 0.0, 0.0)
    for scale in np.linspace(1.15, 1.6, 10):
        size = (round(28 * scale), round(18 * scale))
        box = (eye[0] - 14, eye[1] - 9, eye[0] + 14, eye[1] + 9)
        patch = np.asarray(Image.fromarray(photo()).resize(size, Image.Resampling.BICUBIC, box)).mean(2)
        windows = np.lib.stride_tricks.sliding_window_view(area, patch.shape)
        windows = windows - windows.mean((2, 3), keepdims=True)
        alike = (windows * (patch - patch.mean())).mean((2, 3)) / windows.std((2, 3)) / patch.std()
        row, column = np.unravel_index(alike.argmax(), alike.shape)
        best = max(best, (float(alike.max()), left + column + size[0] / 2, top + row + size[1] / 2))
    assert best[0] > 0.85
    return best[1], best[2]


def test_early_sound_can_be_moved_to_the_mouth(tmp_path: Path) -> None:
    spoken = speech(1, 6.0)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "early.mp4", drawn(spoken), spoken.audio, late_s=-EARLY_FRAMES / 25)
    made = prepare(tmp_path / "videos", tmp_path / "out", "--already-framed", "--fix-lag")
    record = made.records["early.mp4"]
    assert record["sync"]["lag_frames"] == pytest.approx(-EARLY_FRAMES, abs=1)
    assert record["sync"]["moved_frames"] == pytest.approx(-EARLY_FRAMES, abs=1)
    clip = only_clip(record)
    assert clip["quality"] == "high"
    heard = read_clip(made.out / "clips" / f"{clip['name']}.npz").audio
    spectra = np.fft.rfft([spoken.audio[: len(heard)], heard[: len(spoken.audio)]], 2 * len(heard))
    match = np.fft.irfft(spectra[1] * spectra[0].conj())
    shift = (int(match.argmax()) + len(heard)) % (2 * len(heard)) - len(heard)
    assert abs(shift) <= SAMPLES_PER_FRAME


def test_a_name_with_a_bar_does_not_break_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a|b.mp4").write_bytes(b"x")
    made = prepare(tmp_path / "videos", tmp_path / "out", "--already-framed")
    assert made.code == 1 and "refused a|b.mp4" in capsys.readouterr().out
    assert "a\\|b.mp4" in (made.out / "report.md").read_text()


def test_no_worker_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fada.main(["prepare", str(tmp_path), str(tmp_path / "out"), "--workers", "0"]) == 2
    assert "Expected at least one worker" in capsys.readouterr().err
