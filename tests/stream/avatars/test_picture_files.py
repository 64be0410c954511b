"""Picture files: good ones upright and in sRGB, whatever they are made of; bad ones one true sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from stream.avatars.picture_files import MAX_SIDE, read_picture
from stream.errors import MediaError

DATA = Path(__file__).parent / "data"


def refused(path: Path) -> str:
    with pytest.raises(MediaError) as raised:
        read_picture(path)
    assert "\n" not in raised.value.message
    return raised.value.message


def striped(height: int, width: int) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = (200, 30, 30)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_exif_orientation_is_obeyed(turn: int, suffix: str, tmp_path: Path) -> None:
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[turn]
    upright = striped(120, 160)
    upright.paste((20, 200, 20), (0, 0, 30, 30))
    image = upright if back is None else upright.transpose(back)
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"turned.{suffix}"
    image.save(path, exif=exif, quality=95)
    picture = read_picture(path).rgb
    assert picture.shape == (120, 160, 3)
    assert picture[4:24, 4:24, 1].mean() > 180
    assert picture[4:24, 60:, 0].mean() > 180
    assert picture[80:, :, 0].mean() < 12


@pytest.mark.parametrize(
    "mode", ["RGBA", "L", "LA", "P", "PA", "1", "I;16", "I", "F", "CMYK", "LAB", "YCbCr"]
)
def test_every_mode_becomes_srgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("x.tif" if mode in ("CMYK", "LAB", "F", "YCbCr", "I") else "x.png")
    plain = Image.new("RGB", (80, 80), (153, 153, 153))
    if mode == "I;16":
        Image.fromarray(np.full((80, 80), 39_321, np.uint16)).save(path)
    elif mode == "I":
        Image.fromarray(np.full((80, 80), 39_321, np.int32)).save(path)
    elif mode == "F":
        Image.fromarray(np.full((80, 80), 0.6, np.float32)).save(path)
    elif mode == "LAB":
        to_lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        ImageCms.profileToProfile(plain, *to_lab, outputMode="LAB").save(path)
    elif mode == "PA":
        image = plain.convert("P")
        image.info["transparency"] = bytes([255] * 100)
        image.save(path)
    else:
        plain.convert(mode).save(path)
    picture = read_picture(path).rgb
    assert picture.shape == (80, 80, 3)
    if mode != "1":
        assert np.abs(picture[40, 40].astype(int) - 153).max() < 4


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, colour: int, rows: bytes, side: tuple[int, int], *more: bytes) -> bytes:
    """A PNG written by hand: what Pillow does not write."""
    header = struct.pack(">IIBBBBB", *side, depth, colour, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header),
        *more,
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_transparency_of_16_bit_grey_is_read_before_the_depth_is_reduced(tmp_path: Path) -> None:
    y, x = np.mgrid[:256, :256]
    grey = ((x + y) / 510 * 60_000).astype(">u2")
    grey[:16, :16] = 65_535
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    path = tmp_path / "grey16.png"
    path.write_bytes(png(16, 0, rows, (256, 256), chunk(b"tRNS", struct.pack(">H", 65_535))))
    picture = read_picture(path)
    assert picture.alpha is not None
    assert (picture.alpha[:16, :16] == 0).all() and picture.alpha[16:].min() == 255
    np.testing.assert_array_equal(picture.rgb[..., 0], (grey >> 8).astype(np.uint8))


def test_transparency_of_16_bit_colour(tmp_path: Path) -> None:
    colour = np.full((80, 80, 3), 30_000, ">u2")
    colour[:40] = (60_000, 10_000, 500)
    rows = b"".join(b"\0" + row.tobytes() for row in colour)
    path = tmp_path / "colour16.png"
    path.write_bytes(png(16, 2, rows, (80, 80), chunk(b"tRNS", struct.pack(">3H", 60_000, 10_000, 500))))
    picture = read_picture(path)
    assert picture.alpha is not None
    assert (picture.alpha[:40] == 0).all() and (picture.alpha[40:] == 255).all()
    assert (picture.rgb[40:] == 30_000 >> 8).all()


def test_transparency_is_kept_beside_the_colours(tmp_path: Path) -> None:
    image = Image.new("RGBA", (80, 80), (10, 200, 30, 255))
    image.paste((250, 0, 0, 0), (0, 0, 80, 40))
    for suffix in ("png", "webp", "avif", "tif"):
        image.save(tmp_path / f"x.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
        picture = read_picture(tmp_path / f"x.{suffix}")
        assert picture.alpha is not None, suffix
        assert picture.alpha[:36].max() == 0 and picture.alpha[44:].min() == 255, suffix
        assert np.abs(picture.rgb[60, 40].astype(int) - (10, 200, 30)).max() < 6, suffix
    grey = Image.new("LA", (80, 80), (90, 0))
    grey.save(tmp_path / "la.png")
    clear = read_picture(tmp_path / "la.png")
    assert clear.alpha is not None and clear.alpha.max() == 0 and (clear.rgb == 90).all()
    image.getchannel("R").convert("RGBA").save(tmp_path / "opaque.png")
    assert read_picture(tmp_path / "opaque.png").alpha is None


def test_colour_profiles_become_srgb(tmp_path: Path) -> None:
    """A profile whose red and green are swapped: nobody can overlook whether it was obeyed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    for index in range(count):
        at = 132 + 12 * index
        swap = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(bytes(profile[at : at + 4]))
        profile[at : at + 4] = swap or profile[at : at + 4]
    image = Image.new("RGB", (80, 80), (220, 40, 40))
    for suffix in ("png", "jpg", "webp", "tif", "avif"):
        image.save(tmp_path / f"x.{suffix}", icc_profile=bytes(profile), quality=95)
        seen = read_picture(tmp_path / f"x.{suffix}").rgb[40, 40]
        assert seen[1] > 200 and seen[0] < 60, suffix
    image.save(tmp_path / "spoilt.png", icc_profile=bytes(profile[:100]))
    assert tuple(read_picture(tmp_path / "spoilt.png").rgb[40, 40]) == (220, 40, 40)
    Image.new("L", (80, 80), 99).save(tmp_path / "foreign.png", icc_profile=bytes(profile))
    assert tuple(read_picture(tmp_path / "foreign.png").rgb[40, 40]) == (99, 99, 99)


def test_heic_is_read() -> None:
    """A drawn face, saved once as HEIC by another program: Pillow's plug-in here reads such files alone."""
    picture = read_picture(DATA / "drawn.heic").rgb
    own = np.asarray(Image.open(DATA.parents[3] / "avatars" / "mira.png").convert("RGB")).astype(int)
    assert picture.shape == own.shape
    assert np.abs(picture - own).mean() < 6


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (5000, 2500)).save(tmp_path / "large.png", compress_level=1)
    assert read_picture(tmp_path / "large.png").rgb.shape == (MAX_SIDE // 2, MAX_SIDE, 3)


def test_a_phones_108_megapixels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (12_000, 9000), (180, 140, 120)).save(path)
    picture = read_picture(path).rgb
    assert picture.shape == (3072, 4096, 3)
    assert np.abs(picture[100, 100].astype(int) - (180, 140, 120)).max() < 4


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"hello, I am a face\n" * 100, "is not a picture"),
        (b"\n<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n", "a PostScript drawing"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41", "a video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40, "damaged"),
        (b"PK\x03\x04" + b"\0" * 30, "an archive"),
    ],
)
def test_what_is_no_picture_is_named(start: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(start)
    assert what in refused(tmp_path / "face.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif", "gif", "bmp"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_truncated_pictures(suffix: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / f"face.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    assert "damaged" in (said := refused(path)) or "not a picture" in said


def test_missing_empty_folder_tiny_and_enormous(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    assert "0 bytes" in refused(tmp_path / "empty.png")
    assert "folder" in refused(tmp_path)
    Image.new("RGB", (63, 500)).save(tmp_path / "tiny.png")
    tiny = refused(tmp_path / "tiny.png")
    assert "too small: it has 63x500" in tiny and "damaged" not in tiny
    Image.new("1", (9000, 8000)).save(tmp_path / "large.png")
    large = refused(tmp_path / "large.png")
    assert "too large: it has 9000x8000 pixels" in large and "damaged" not in large
    (tmp_path / "bomb.png").write_bytes(claiming(Image.new("1", (80, 80)), 60_000, 60_000, tmp_path))
    assert "pixels" in refused(tmp_path / "bomb.png")


def claiming(image: Image.Image, width: int, height: int, folder: Path) -> bytes:
    """A small PNG whose header says it is large."""
    image.save(folder / "small.png")
    raw = (folder / "small.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", width, height) + raw[24:29]
    return raw[:12] + header + struct.pack(">I", zlib.crc32(header)) + raw[33:]
