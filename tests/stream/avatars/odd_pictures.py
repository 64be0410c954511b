"""Two hundred pictures as strangers have them: odd, hostile, spoilt, and some that are simply faces.

In: a folder and a photograph (H, W, 3). Out: files, deterministic by name. Nothing of a real person is kept.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WRITTEN = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "avif": ("L", "RGB", "RGBA"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"),
    "gif": ("L", "P"),
    "bmp": ("1", "L", "P", "RGB"),
    "jp2": ("L", "RGB", "RGBA"),
    "tga": ("L", "P", "RGB", "RGBA"),
    "ppm": ("1", "L", "RGB"),
    "ico": ("RGBA",),
}
LIES = {
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><circle r='9'/></svg>",
    "text": "Ich bin ein Gesicht. \u263a".encode() * 50,
    "html": b"<!DOCTYPE html><img src=face.png>",
    "pdf": b"%PDF-1.7 nothing",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n(rm) run\n",
    "video": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41" + bytes(200),
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
    "zip": b"PK\x03\x04" + bytes(80),
    "zeros": bytes(5000),
    "empty": b"",
    "signature": b"\x89PNG\r\n\x1a\n",
    "jpeg start": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
}
SIZES = ((1, 1), (63, 63), (64, 64), (63, 4000), (64, 4000), (8000, 64), (65, 65), (1, 60_000))


def write_odd_pictures(folder: Path, photo: np.ndarray) -> list[Path]:
    """Write all of them; returns their paths."""
    face = Image.fromarray(photo)
    makers = (_modes(face), _spoilt(face), _shapes(), _headers(), _looks(photo), _lies())
    paths = []
    for name, raw in (picture for maker in makers for picture in maker):
        paths.append(folder / name)
        paths[-1].write_bytes(raw)
    return paths


def _saved(image: Image.Image, suffix: str, **options: object) -> bytes:
    out = io.BytesIO()
    format_name = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(suffix, suffix.upper())
    image.save(out, format_name, **options)
    return out.getvalue()


def _in_mode(face: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(face.convert("L")).astype(np.float32) / 255)
    return face.convert("L").convert("I") if mode == "I" else face.convert(mode)


def _modes(face: Image.Image) -> Iterator[tuple[str, bytes]]:
    small = face.crop((100, 0, 356, 256))
    for suffix, modes in WRITTEN.items():
        for mode in modes:
            yield f"mode-{mode.replace(';', '')}.{suffix}", _saved(_in_mode(small, mode), suffix)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"exif-{turn}.jpg", _saved(small, "jpg", exif=exif)
    yield "exif-spoilt.jpg", _saved(small, "jpg", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff" + bytes(20))
    yield "profile-spoilt.png", _saved(small, "png", icc_profile=b"no profile" * 20)
    yield "animated.gif", _saved(small, "gif", save_all=True, append_images=[small.rotate(90)] * 3)
    yield "animated.webp", _saved(small, "webp", save_all=True, append_images=[small.rotate(90)] * 3)
    yield "progressive.jpg", _saved(small, "jpg", progressive=True)


def _spoilt(face: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Files cut off, and files with bytes turned over at places drawn by chance."""
    small = face.crop((160, 30, 288, 158))
    for suffix in ("png", "jpg", "webp", "avif", "tif", "gif", "bmp", "jp2"):
        whole = _saved(small, suffix)
        for share in (0.1, 0.5, 0.95):
            yield f"cut-{share}.{suffix}", whole[: int(len(whole) * share)]
        for seed in range(8):
            rng = np.random.default_rng(seed)
            raw = bytearray(whole)
            for at in rng.integers(0, len(raw), 1 + 8 * seed):
                raw[at] ^= int(rng.integers(1, 256))
            yield f"turned-{seed}.{suffix}", bytes(raw)


def _shapes() -> Iterator[tuple[str, bytes]]:
    for width, height in SIZES:
        yield f"size-{width}x{height}.png", _saved(Image.new("RGB", (width, height), (180, 140, 120)), "png")
    yield "phone108mp.jpg", _saved(Image.new("RGB", (12_000, 9000), (180, 140, 120)), "jpg")
    yield "grey30mp.png", _saved(Image.new("L", (6000, 5000), 90), "png", compress_level=1)
    yield "alpha30mp.png", _saved(Image.new("RGBA", (6000, 5000), (9, 9, 9, 9)), "png", compress_level=1)
    yield "bits72mp.png", _saved(Image.new("1", (9000, 8000)), "png")


def _headers() -> Iterator[tuple[str, bytes]]:
    """PNGs whose headers promise what their data does not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for width, height, depth, colour in (
        (60_000, 60_000, 8, 2),
        (2**31 - 1, 1, 8, 2),
        (0, 0, 8, 2),
        (100, 100, 7, 2),
        (100, 100, 16, 3),
        (100, 100, 16, 6),
    ):
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        yield f"header-{width}x{height}-{depth}-{colour}.png", b"\x89PNG\r\n\x1a\n" + body
    bomb = zlib.compress(bytes(50_000_000))
    header = struct.pack(">IIBBBBB", 100, 100, 8, 2, 0, 0, 0)
    for kind, data in ((b"zTXt", b"k\0\0" + bomb), (b"iCCP", b"k\0\0" + bomb)):
        body = chunk(b"IHDR", header) + chunk(kind, data) + chunk(b"IDAT", zlib.compress(bytes(30_100)))
        yield f"bomb-{kind.decode()}.png", b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _looks(photo: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Pictures that are sound and show this or that."""
    face = Image.fromarray(photo)
    rng = np.random.default_rng(7)
    shown: dict[str, Image.Image] = {
        "noise": Image.fromarray(rng.integers(0, 256, (400, 300, 3)).astype(np.uint8)),
        "black": Image.new("RGB", (640, 480)),
        "white": Image.new("RGB", (640, 480), (255, 255, 255)),
        "face": face,
        "mirrored": face.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "upside down": face.rotate(180),
        "lying": face.rotate(90),
        "slanted": face.rotate(30),
        "dark": Image.fromarray((photo * 0.05).astype(np.uint8)),
        "tiny": face.resize((120, 120)),
        "blurred": face.resize((60, 60)).resize((900, 900)),
        "posterised": face.quantize(4).convert("RGB"),
        "half": face.crop((0, 0, 222, 512)),
        "wide": face.resize((1500, 400)),
        "tall": face.resize((300, 1600)),
    }
    crowd = Image.new("RGB", (1200, 900))
    for index in range(12):
        crowd.paste(face.resize((300, 300)), (300 * (index % 4), 300 * (index // 4)))
    shown["crowd"] = crowd
    covered = face.copy()
    ImageDraw.Draw(covered).rectangle((190, 125, 260, 175), fill=(200, 160, 140))
    shown["covered mouth"] = covered
    for name, image in shown.items():
        yield f"look-{name}.png", _saved(image, "png")
    yield "spelt: 100% %s \u65e5\u672c.png", _saved(face, "png")


def _lies() -> Iterator[tuple[str, bytes]]:
    """What is no picture, under a picture's name."""
    for name, raw in LIES.items():
        yield f"lie-{name}.png", raw
        yield f"lie-{name}.jpg", raw
