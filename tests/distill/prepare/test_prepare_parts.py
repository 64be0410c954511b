"""The parts of `fada prepare`, each against a truth: time stamps, framing, lip-sync, quality, tracks."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from distill.prepare import framing, media, quality, sync, tracks
from distill.prepare.track import Survey, spans, survey_faces
from models.face import EYE_LINE_Y, EYE_SPREAD_X, FPS, SAMPLES_PER_FRAME
from models.framing.finder import FaceFinder
from tests.distill.prepare.talking_videos import drawn, photo, speaking_photo, speech, write_video


def numbered(count: int) -> np.ndarray:
    """Flat pictures whose grey says their number."""
    return np.stack([np.full((48, 64, 3), 20 + 3 * i, np.uint8) for i in range(count)])


@pytest.mark.parametrize(("fps", "count"), [(25, 30), (30, 36), (50, 60), (15, 18)])
def test_pictures_come_at_25_fps_by_their_time_stamps(tmp_path: Path, fps: int, count: int) -> None:
    path = write_video(tmp_path / "v.mp4", numbered(count), None, fps=fps, crf=0)
    seen = [(round((int(image[5, 5, 0]) - 20) / 3), off) for image, off in media.pictures(path)]
    assert len(seen) == pytest.approx(count * FPS / fps, abs=1)
    for index, (number, off) in enumerate(seen):
        assert abs(number / fps - index / FPS) <= 0.5 / fps + 1e-3
        assert off <= 0.5 / fps + 1e-3
    assert media.probe_video(path).fps == pytest.approx(fps)


def test_sound_lies_where_its_time_stamps_say(tmp_path: Path) -> None:
    tone = np.zeros(32_000, np.float32)
    tone[16_000:16_400] = 0.8  # a click at 1 s
    for late_s in (0.0, 0.2, -0.2):
        path = write_video(tmp_path / f"v{late_s}.mp4", numbered(50), tone, late_s=late_s)
        heard = media.sound(path)
        at = np.flatnonzero(np.abs(heard) > 0.3)[0] / 16_000
        assert at == pytest.approx(1.0 + late_s, abs=0.03)
    assert not media.sound(write_video(tmp_path / "mute.mp4", numbered(5), None)).size


@pytest.mark.parametrize("matrix", list(itertools.product((1, -1), (1, -1), (False, True))))
def test_turned_and_mirrored_videos_are_laid_upright(matrix: tuple[int, int, bool], tmp_path: Path) -> None:
    """All eight ways in which a phone may store a picture: four turns, each mirrored or not."""
    right, down, swapped = matrix
    a, b, c, d = (0, right, down, 0) if swapped else (right, 0, 0, down)
    frames = numbered(8)
    frames[:, :10] = 250  # a bright edge on top, a middling one at the left
    frames[:, 10:, :10] = 150
    path = write_video(tmp_path / "v.mp4", frames, None)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version, times and ids, reserved, layer and volume
    said = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4")
    data[at : at + 36] = said.tobytes()
    path.write_bytes(bytes(data))
    image, _ = next(media.pictures(path))
    assert image.shape == ((64, 48, 3) if swapped else (48, 64, 3))
    edges = {(0, -1): image[:5], (0, 1): image[-5:], (-1, 0): image[:, :5], (1, 0): image[:, -5:]}
    assert edges[-c, -d].mean() > 200  # up, (0, -1), as the matrix shows it
    assert 120 < np.median(edges[-a, -b]) < 180  # left, (-1, 0)


def test_sides_out_of_phase_are_heard(tmp_path: Path) -> None:
    t = np.arange(96_000) / 48_000
    one = (0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)
    path = tmp_path / "v:1.mkv"
    with av.open(f"file:{path}", "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        voice = out.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for image in numbered(50):
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray(np.stack((one, -one)), format="fltp", layout="stereo")
        block.sample_rate = 48_000
        out.mux(voice.encode(block))
        out.mux(voice.encode(None))
    heard = media.sound(path)
    assert float(np.sqrt(np.mean(heard[1600:30_000] ** 2))) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_damaged_files_are_named_so(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 50)
    for read in (media.probe_video, media.sound, lambda path: next(media.pictures(path))):
        with pytest.raises(media.UnreadableVideoError, match="cannot be decoded"):
            read(broken)
    whole = write_video(tmp_path / "whole.mkv", numbered(60), None)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert 10 < sum(1 for _ in media.pictures(cut)) < 60


def test_a_real_face_under_a_moving_camera_is_held_still() -> None:
    opening = np.abs(np.sin(np.arange(50) / 3)).astype(np.float32)
    shots = speaking_photo(opening)
    found = survey_faces(((image, 0.0) for image, _ in shots), FaceFinder())
    (span,), lost = spans(found, 50, 250)
    assert (span.first, span.last) == (0, 50) and not lost
    frame = framing.frame_landmarks(np.stack(found.landmarks))
    work = np.stack(
        [
            framing.cut_work(image, complex(a), complex(b))
            for (image, _), a, b in zip(shots, frame.turn, frame.shift)
        ]
    )
    moves, likeness = framing.register(work)
    pivot = framing.MIDDLE + 1j * EYE_LINE_Y
    eyes = []
    for (_, true), a, b, (dx, dy, angle, growth) in zip(shots, frame.turn, frame.shift, moves):
        placed = a * (true[:, 0] + 1j * true[:, 1]) + b
        eyes.append(pivot + (placed - pivot - dx - 1j * dy) / (1 + growth + 1j * angle))
    on_canvas = np.array(eyes)
    assert np.abs(on_canvas.imag - EYE_LINE_Y).max() < 2.0
    assert np.abs(np.abs((on_canvas - framing.MIDDLE).real) - EYE_SPREAD_X).max() < 5.0
    assert on_canvas.std(0).max() < 0.3  # it is still, not only near
    assert likeness > 0.9


def test_registration_takes_out_jitter_that_landmarks_leave() -> None:
    face = Image.fromarray(photo()[20:280, 95:355]).resize((framing.WORK_PX, framing.WORK_PX))
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2.0, (12, 2))
    shaken = []
    for dx, dy in true * framing.WORK_SCALE:
        back = (1, 0, -dx, 0, 1, -dy)
        shaken.append(
            np.asarray(face.transform(face.size, Image.Transform.AFFINE, back, Image.Resampling.BICUBIC))
        )
    moves, _ = framing.register(np.stack(shaken))
    left = true - moves[:, :2]
    assert np.abs(left - left.mean(0)).max() < 0.15


def test_a_survey_is_cut_at_shots_lost_faces_and_second_faces() -> None:
    found = Survey()
    for index in range(400):
        found.leaps.append(0.3 if index == 100 else 0.01)
        lost = 200 <= index < 260 or index == 150
        found.landmarks.append(np.full((5, 2), np.nan) if lost else np.ones((5, 2)))
        found.rival.append(0.9 if 300 <= index < 330 else 0.2)
        found.late_s.append(0.0)
    kept, lost_parts = spans(found, 50, 60)
    assert [(s.first, s.last) for s in kept] == [
        (0, 50),
        (50, 100),
        (100, 150),
        (150, 200),
        (330, 365),
        (365, 400),
    ]
    assert [(loss.first, loss.last, loss.reason.split()[0]) for loss in lost_parts] == [
        (200, 260, "no"),
        (260, 300, "the"),
        (300, 330, "two"),
    ]


def test_lip_sync_finds_how_late_the_sound_is() -> None:
    found = {}
    clip = speech(1, 6.0)
    mouths = [sync.mouth_tracks([np.stack([sync.mouth_picture(c) for c in drawn(clip)])])[0]]
    for late in (-4, 0, 5):
        audio = np.roll(clip.audio, late * SAMPLES_PER_FRAME)
        measured = sync.measure_sync(mouths, [sync.sound_tracks(audio, len(mouths[0]))])
        assert measured is not None and measured.found
        found[late] = measured.lag_frames
    for late, lag in found.items():
        assert lag == pytest.approx(late, abs=0.75)
    other = sync.sound_tracks(speech(5, 6.0).audio, len(mouths[0]))
    wrong = sync.measure_sync(mouths, [other])
    assert wrong is not None and not wrong.found
    assert sync.measure_sync([mouths[0][:40]], [other[:40]]) is None


def test_each_defect_moves_its_own_figure() -> None:
    box = photo()[30:286, 95:351]
    rng = np.random.default_rng(0)
    clean = np.stack([np.roll(box, i % 2, 1) for i in range(8)])
    still = box[None].repeat(8, 0)
    figures = quality.picture_figures(clean)
    noisy = np.clip(still + rng.normal(0, 20, still.shape), 0, 255).astype(np.uint8)
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(clean).permute(0, 3, 1, 2).float(), 7, 1, 3)
    soft = quality.picture_figures(blurred.permute(0, 2, 3, 1).byte().numpy())
    assert quality.picture_figures(noisy)["noise"] > 0.02 > 5 * quality.picture_figures(still)["noise"]
    assert soft["sharpness"] < 0.6 * figures["sharpness"]
    assert quality.picture_figures((clean * 0.2).astype(np.uint8))["brightness"] < 0.2 < figures["brightness"]
    assert quality.picture_figures(still)["mouth_motion"] < 1e-6 < figures["mouth_motion"]
    halting = clean.repeat(2, 0)[:9]
    assert quality.picture_figures(halting)["repeated"] > 0.4 > figures["repeated"]


def test_blocks_of_strong_compression_are_seen_and_texture_is_not() -> None:
    image = photo()
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=6)
    whole = np.array([0, 0, 512, 512], float)
    assert quality.blockiness(image, whole) < 1.1
    assert quality.blockiness(np.asarray(Image.open(packed)), whole) > 1.3


def test_sound_figures_tell_noise_clipping_silence_and_telephone() -> None:
    clip = speech(1, 4.0).clean
    rng = np.random.default_rng(0)
    clean = quality.sound_figures(clip, -90)
    assert quality.grade(clean).quality == "high", quality.grade(clean)
    noisy = quality.sound_figures((clip + rng.normal(0, 0.05, clip.shape)).astype(np.float32), 0.0)
    assert noisy["snr_db"] < 16 < clean["snr_db"]
    assert quality.sound_figures(np.clip(clip * 12, -1, 1), -90)["clipped"] > 0.01 > clean["clipped"]
    assert quality.sound_figures(clip * 1e-3, -90)["level_dbfs"] < -58
    spectrum = np.fft.rfft(clip)
    spectrum[len(spectrum) * 3 // 8 :] = 0
    muffled = quality.sound_figures(np.fft.irfft(spectrum, len(clip)).astype(np.float32), -90)
    assert muffled["bandwidth_hz"] < 3600 < clean["bandwidth_hz"]


def test_grades_name_the_rule_and_the_figure() -> None:
    assert quality.grade({}) == quality.Grade("high", ())
    moderate = quality.grade({"lag_frames": 5.0, "brightness": 0.5})
    assert moderate == quality.Grade("moderate", ("picture and sound are 5.0 frames apart",))
    refused = quality.grade({"lag_frames": 5.0, "eye_distance_px": 9.0})
    assert refused == quality.Grade(None, ("the face is small: 9 px between the eyes",))


def test_blinks_of_drawn_faces_are_read_as_they_are() -> None:
    clip = speech(1, 2.0)
    clip.expression[:] = 0
    clip.expression[10:14, 0] = (0.6, 1.0, 1.0, 0.4)
    clip.expression[30:33, 0] = (0.8, 1.0, 0.5)
    for who in (3, 8):
        read = tracks.expression_track(drawn(clip, who))
        assert np.corrcoef(read[:, 0], clip.expression[:, 0])[0, 1] > 0.9
        assert not read[:, 1:].any()
