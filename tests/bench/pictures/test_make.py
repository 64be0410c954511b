"""The README's pictures: which stretch of a film is kept, which frame is the still, what is spoken."""

from __future__ import annotations

import io
import shutil
import wave
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from bench.pictures.live_page import Film
from bench.pictures.make import ON_PAGE, ROUND_S, at, smoothest
from bench.pictures.moments import liveliest
from bench.pictures.spoken import RATE_HZ, write_spoken
from bench.pictures.thumbnails import SIZE, corpus_thumbnail, scene_thumbnail, talk_thumbnail

PAGE = (400, 240)


def page(mouth: int, eyes: int = 90) -> bytes:
    """A grey page with a mouth and eyes of some brightness, as a JPEG."""
    picture = Image.new("RGB", PAGE, (90, 90, 90))
    for part, luma in ((ON_PAGE.mouth, mouth), (ON_PAGE.eyes, eyes)):
        ImageDraw.Draw(picture).rectangle([round(share * PAGE[0]) for share in part], fill=(luma,) * 3)
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=95)
    return file.getvalue()


def film(fps: list[float]) -> Film:
    """Ten pictures a second; the page's figures once a second."""
    times_s = [index / 10 for index in range(10 * len(fps))]
    return Film(
        times_s=times_s,
        jpegs=[page(90 + index % 10) for index in range(len(times_s))],
        readings=[(float(index), value, 200.0 + index) for index, value in enumerate(fps)],
    )


def test_the_smoothest_round_is_the_one_whose_worst_second_is_best() -> None:
    fps = [25.0] * 3 + [9.0] + [22.0] * 9 + [25.0] * 2 + [5.0]
    begin_s, least_fps, latency_ms = smoothest(film(fps))
    assert (begin_s, least_fps) == (4.0, 22.0)
    assert latency_ms == 200.0 + begin_s + ROUND_S


def test_a_film_shorter_than_a_round_has_no_smooth_one() -> None:
    assert smoothest(film([25.0] * 4))[1] == 0.0


def test_the_picture_at_a_moment_is_the_one_that_was_on_the_screen() -> None:
    shown = film([25.0] * 8)
    assert at(shown, 1.05).tobytes() == shown.picture(10).tobytes()
    assert at(shown, -1.0).tobytes() == shown.picture(0).tobytes()


def test_the_still_has_open_eyes_and_is_lively_without_being_the_widest() -> None:
    usual = [page(90)] * 20
    pictures = [*usual, *[page(160)] * 12, page(250), *[page(170, eyes=20)] * 6]
    chosen = liveliest([Image.open(io.BytesIO(jpeg)) for jpeg in pictures], ON_PAGE)
    assert chosen.getpixel((round(0.3 * PAGE[0]), round(0.37 * PAGE[0]))) == (160, 160, 160)


def test_a_stretch_of_film_is_what_was_composed_in_it() -> None:
    assert len(film([25.0] * 3).between(0.45, 1.05)) == 6


def test_a_page_is_cut_where_it_is_told_to() -> None:
    shown = film([25.0])
    shown.height_px = 100
    assert shown.picture(0).size == (PAGE[0], 100)


def test_thumbnails_are_of_one_size() -> None:
    whole = Image.new("RGB", (1120, 650))
    assert talk_thumbnail(whole).size == scene_thumbnail(whole).size == SIZE
    assert corpus_thumbnail(grid=(2, 1)).size == SIZE


def test_a_sentence_is_spoken_with_quiet_around_it_and_refused_where_it_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    assert write_spoken(path, "Hello.", (0.5, 0.5), 3.0) == 3.0
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (RATE_HZ, 1)
        assert not any(file.readframes(RATE_HZ // 4))
    with pytest.raises(ValueError, match=r"at most 1.0 s, this one takes"):
        write_spoken(path, "Hello, hello, hello, and once more hello.", (0.5, 0.5), 1.0)


def test_without_a_speaker_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="espeak-ng"):
        write_spoken(tmp_path / "voice.wav", "Hello.", (0.0, 0.0))
