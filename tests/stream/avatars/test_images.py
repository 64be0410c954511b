"""Face pictures: good ones upright and square, bad ones one sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stream.avatars.images import fit, load_face_picture
from stream.errors import MediaError


def refused(path: Path) -> str:
    with pytest.raises(MediaError) as raised:
        load_face_picture(path)
    assert "\n" not in raised.value.message
    return raised.value.message


def striped(height: int, width: int) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = (200, 30, 30)
    return Image.fromarray(pixels)


def test_the_middle_square_is_used(tmp_path: Path) -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    picture = load_face_picture(tmp_path / "wide.png")
    assert picture.shape == (100, 100, 3)
    assert picture.dtype == np.uint8
    assert picture.min() == 255


def test_exif_orientation_is_obeyed(tmp_path: Path) -> None:
    image = striped(120, 120).rotate(90)  # red half now left; orientation 6 turns it clockwise, red on top
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    picture = load_face_picture(tmp_path / "turned.jpg")
    assert picture[:50, :, 0].mean() > 190
    assert picture[70:, :, 0].mean() < 10


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((80, 80), 39_321, np.uint16))
    else:
        image = Image.new("RGB", (80, 80), (153, 153, 153)).convert(mode)  # a colour of the palette
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    image.save(path)
    picture = load_face_picture(path)
    assert picture.shape == (80, 80, 3)
    if mode != "1":
        assert abs(int(picture[40, 40, 0]) - 153) < 4


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (80, 80), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert load_face_picture(tmp_path / "clear.png").min() == 255


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (2500, 2400)).save(tmp_path / "large.png", compress_level=1)
    assert load_face_picture(tmp_path / "large.png").shape == (2048, 2048, 3)


def test_a_text_file_named_png(tmp_path: Path) -> None:
    (tmp_path / "face.png").write_text("hello, I am a face\n" * 100)
    assert "is not a picture" in refused(tmp_path / "face.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_truncated_pictures(suffix: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / f"face.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    assert "damaged" in refused(path) or "not a picture" in refused(path)


def test_missing_empty_folder_tiny_and_enormous(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    assert "0 bytes" in refused(tmp_path / "empty.png")
    assert "folder" in refused(tmp_path)
    Image.new("RGB", (63, 500)).save(tmp_path / "tiny.png")
    assert "at least 64" in refused(tmp_path / "tiny.png")
    Image.new("1", (9000, 8000)).save(tmp_path / "large.png")
    assert "more than 64000000" in refused(tmp_path / "large.png")
    (tmp_path / "bomb.png").write_bytes(claiming(Image.new("1", (80, 80)), 60_000, 60_000, tmp_path))
    assert "pixels" in refused(tmp_path / "bomb.png")


def claiming(image: Image.Image, width: int, height: int, folder: Path) -> bytes:
    """A small PNG whose header says it is large."""
    image.save(folder / "small.png")
    raw = (folder / "small.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", width, height) + raw[24:29]
    return raw[:12] + header + struct.pack(">I", zlib.crc32(header)) + raw[33:]


def test_fit_scales_and_cuts() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 50:150] = 255
    assert fit(image, 64, 64)[:, 2:-2].min() > 250
    assert fit(image, 200, 100) is image
