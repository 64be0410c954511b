"""A film is the whole picture at its own resolution: the part that moves is drawn, nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import fada
from models.framing.similarity import Similarity
from models.presets import preset
from stream.avatars.picture_files import Pixels
from stream.avatars.portrait import Portrait
from stream.offline.film import Film, film_of
from stream.offline.movie import off_white
from tests.stream.offline.test_render import tone, write_wav

FACE = Similarity(0.9 * np.exp(0.2j), -180.0 - 230.0j)
"""Lays a face that is tilted, in the middle of a picture of 900 x 1100 px."""


def blobs(width: int, height: int) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 255, (height // 20, width // 20, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def portrait(width: int = 900, height: int = 1100, alpha: bool = False) -> Portrait:
    matte = None
    if alpha:
        matte = np.zeros((height, width), np.uint8)
        matte[200:, 200:700] = 255
        matte[190:200, 200:700] = 128
    return Portrait(Pixels(blobs(width, height), matte), FACE)


@pytest.mark.parametrize(
    ("size", "asked", "film"),
    [
        ((900, 1100), None, (900, 1100)),
        ((901, 1101), None, (900, 1100)),
        ((900, 1100), 550, (450, 550)),
        ((900, 1100), 1200, (980, 1200)),
        ((2600, 3000), None, (1664, 1920)),
        ((3000, 2600), 640, (640, 554)),
        ((64, 1001), None, (64, 1000)),
        ((4096, 70), 64, (64, 16)),
    ],
)
def test_the_pictures_size_and_shape_are_kept(
    size: tuple[int, int], asked: int | None, film: tuple[int, int]
) -> None:
    made = film_of(portrait(*size), asked)
    assert made.size == film
    assert made.still.shape == (film[1], film[0], 3)


def test_at_its_own_size_no_pixel_is_touched_and_the_part_lies_where_it_was() -> None:
    whole = portrait()
    made = film_of(whole, None)
    np.testing.assert_array_equal(made.still, whole.pixels.rgb)
    place = made.placement
    assert place.width < 900 and place.height < 1100
    np.testing.assert_array_equal(
        made.picture(), made.still[made.top : made.top + place.height, made.left : made.left + place.width]
    )
    drawn = np.full_like(made.picture(), 7)
    frame = made.frame(drawn)
    outside = np.ones(frame.shape[:2], bool)
    outside[made.top : made.top + place.height, made.left : made.left + place.width] = False
    np.testing.assert_array_equal(frame[outside], made.still[outside])
    assert (frame[~outside] == 7).all()


def eye_of(film: Film, portrait: Portrait, canvas: complex) -> complex:
    """Where a point of the canvas lies in the film by its placement, less where it lies in the picture."""
    here = complex(film.placement.similarity.to_picture(np.array([canvas]))[0]) + complex(film.left, film.top)
    there = complex(portrait.similarity.to_picture(np.array([canvas]))[0])
    return here - there * (film.size[0] / portrait.size[0])


@pytest.mark.parametrize("asked", [None, 640, 2000])
def test_the_face_lies_where_it_lies_in_the_picture(asked: int | None) -> None:
    whole = portrait(1000, 1000)
    made = film_of(whole, asked)
    for point in (97 + 122j, 159 + 122j, 128 + 178j):
        assert abs(eye_of(made, whole, point)) < 0.01


def test_what_is_transparent_stays_so_or_lies_on_a_colour() -> None:
    made = film_of(portrait(alpha=True), None, alpha=True)
    assert made.still.shape == (1100, 900, 4) and made.placement.alpha and made.picture().shape[2] == 4
    assert made.still[100, 100, 3] == 0 and made.still[195, 300, 3] == 128 and made.still[400, 300, 3] == 255
    straight = off_white(made.still)
    original = portrait(alpha=True).pixels.rgb
    there = made.still[..., 3] > 100
    assert np.abs(straight[there][:, :3].astype(int) - original[there]).max() <= 2
    red = film_of(portrait(alpha=True), None, behind=(255, 0, 0))
    assert tuple(red.still[100, 100]) == (255, 0, 0) and not red.placement.alpha
    assert not film_of(portrait(), None, alpha=True).placement.alpha


def test_a_base_preset_draws_as_many_pixels_as_the_film_shows() -> None:
    sides = [film_of(portrait(), asked).canvas_side(preset("base")) for asked in (None, 400, 2000, 4096)]
    assert sides == [256, 256, 512, 512]
    assert film_of(portrait(), None).canvas_side(preset("small")) is None


def rendered(folder: Path, name: str, *more: str, alpha: bool = False) -> Path:
    """A film of a quarter of a second by the moving preset's networks with random weights."""
    picture, sound, out = folder / "face.png", write_wav(folder / "voice.wav", tone(0.25)), folder / name
    whole = portrait(alpha=alpha).pixels
    pixels = whole.rgb if whole.alpha is None else np.dstack((whole.rgb, whole.alpha))
    Image.fromarray(pixels).save(picture)
    points = [
        f"{p.real:.2f},{p.imag:.2f}" for p in FACE.to_picture(np.array([97 + 122j, 159 + 122j, 128 + 178j]))
    ]
    words = ["render", "--image", str(picture), "--audio", str(sound), "--out", str(out), "--points", *points]
    assert fada.main([*words, "--preset", "small", "--weights", "random", "--nfe", "1", *more]) == 0
    return out


def test_a_face_moves_in_its_whole_picture_without_a_seam(tmp_path: Path) -> None:
    """The real engine: far from the face nothing changes, near it something does, and frames are the picture's."""
    with av.open(str(rendered(tmp_path, "film.mp4", "--size", "550"))) as movie:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in movie.decode(video=0)]).astype(int)
    assert frames.shape[1:] == (550, 450, 3)
    still = np.array(Image.fromarray(blobs(900, 1100)).resize((450, 550), Image.Resampling.LANCZOS)).astype(
        int
    )
    assert np.abs(frames[0] - still).mean() < 6
    motion = np.abs(frames[-1] - frames[0]).mean(-1)
    assert motion[:24].mean() < 2.5


def test_transparency_reaches_the_file(tmp_path: Path) -> None:
    with av.open(str(rendered(tmp_path, "film.mov", "--size", "550", alpha=True))) as movie:
        assert movie.streams.video[0].codec_context.name == "prores"
        frames = [frame.to_ndarray(format="rgba") for frame in movie.decode(video=0)]
    assert frames[0].shape == (550, 450, 4)
    assert frames[0][20, 20, 3] == 0 and frames[0][400, 225, 3] == 255
    with av.open(str(rendered(tmp_path, "film.webm", "--size", "550", alpha=True))) as movie:
        assert movie.streams.video[0].metadata["alpha_mode"] == "1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "511"), "even number from 64 to 4096 px, got 511"),
        (("--size", "62"), "got 62"),
        (("--size", "4098"), "got 4098"),
        (("--background", "mauvish"), "Expected --background to be a colour such as white"),
    ],
)
def test_what_is_not_filmed_is_told_before_any_work(
    words: tuple[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = write_wav(tmp_path / "voice.wav", tone(0.2))
    files = ["--image", str(tmp_path / "none.png"), "--audio", str(sound), "--out", str(tmp_path / "a.mp4")]
    assert fada.main(["render", *files, *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
