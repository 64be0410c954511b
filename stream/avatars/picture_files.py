"""A picture file becomes pixels: upright, sRGB, 8 bits, transparency beside them. Pillow only; a worker thread.

In: a path. Out: `Pixels`. Files of any honest kind are taken: palettes, greys of 16 bits, CMYK, colour profiles,
EXIF turns, HEIC. What is refused is refused with the true reason in one sentence.

Order matters: transparency is read at the file's own depth, depth is reduced, pictures larger than `MAX_SIDE` are
scaled down, and only then are colours converted and the picture turned upright, so that memory stays bounded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import pi_heif
from PIL import Image, UnidentifiedImageError

from stream.avatars.colours import grey_of_depth, read_transparency, to_srgb
from stream.errors import MediaError
from stream.media import UInt8Array

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_SIDE: Final = 4096
"""A longer side is reduced to this: no picture is shown or filmed larger."""
MIN_SIDE: Final = 64
MAX_PIXELS: Final = 30_000_000
MAX_PIXELS_REDUCED: Final = 120_000_000
"""The same for a JPEG whose decoder makes it smaller while it reads."""
FORMATS: Final = (
    "PNG", "JPEG", "MPO", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "TGA", "ICO",
)  # fmt: skip
"""What is read. Not what runs programs (EPS) or draws lines (WMF)."""
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What lays a picture upright, by EXIF's number for how it lies (Exif 2.32, tag 0x0112)."""
OTHERS: Final = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript drawing"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML or SVG file"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"RIFF", "a sound or a video"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound"),
    (b"PK\x03\x04", "an archive"),
)
"""How files begin that people take for pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A picture as it lies in memory.

    Attributes:
        rgb: (H, W, 3) uint8 sRGB, upright.
        alpha: (H, W) uint8, how much of each pixel is there; None where all is.
        scale: pixels here for one of the upright file; below 1 where the picture was larger than `MAX_SIDE`.
    """

    rgb: UInt8Array
    alpha: UInt8Array | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(
                f"Expected a picture (H, W, 3) of uint8, got {self.rgb.shape} of {self.rgb.dtype}."
            )
        if self.alpha is not None and self.alpha.shape != self.rgb.shape[:2]:
            raise ValueError(f"Expected transparency {self.rgb.shape[:2]}, got {self.alpha.shape}.")


def read_picture(path: Path, name: str = "") -> Pixels:
    """Read a picture.

    Args:
        name: what it is called in sentences, where its path is nobody's business.

    Raises:
        MediaError: not there, not a picture, damaged, too small or too large; the message says which.
    """
    name = name or str(path)
    _check_file(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse, and size is checked here
            return _read(path, name)
    except MediaError:
        raise
    except UnidentifiedImageError as error:
        raise _bad(
            f"{name} is {_what_else(path)}; give a PNG, JPEG, WebP, AVIF or HEIC file.", "not_a_picture"
        ) from error
    except Image.DecompressionBombError as error:
        raise _bad(
            f"The picture {name} has more pixels than can be read; save it smaller.", "too_large"
        ) from error
    except MemoryError as error:
        raise _bad(
            f"The picture {name} needs more memory than this machine has; save it smaller.", "too_large"
        ) from error
    except Exception as error:  # whatever a decoder raises on spoilt bytes
        raise _bad(f"The picture {name} is damaged: {_reason(error)}.") from error


def _check_file(path: Path, name: str) -> None:
    try:
        size_bytes = path.stat().st_size
    except (OSError, ValueError) as error:
        raise MediaError("no_image", f"The picture {name} cannot be read: {_reason(error)}.", 404) from error
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no plain file"
        raise _bad(f"Expected a picture file, but {name} is {kind}.")
    if not 0 < size_bytes <= MAX_BYTES:
        sentence = (
            f"Expected a picture of 1 byte to {MAX_BYTES // 1024**2} MiB, {name} has {size_bytes} bytes."
        )
        raise _bad(sentence, "too_large" if size_bytes else "bad_image")


def _read(path: Path, name: str) -> Pixels:
    image, alpha, turn, profile, scale = _decoded(path, name)
    image = to_srgb(image, profile)
    if turn is not None:
        image, alpha = image.transpose(turn), alpha and alpha.transpose(turn)
    matte = None if alpha is None or alpha.getextrema() == (255, 255) else np.asarray(alpha, np.uint8)
    return Pixels(np.asarray(image, np.uint8), matte, scale)


def _decoded(
    path: Path, name: str
) -> tuple[Image.Image, Image.Image | None, Image.Transpose | None, bytes | None, float]:
    """(colours as the file has them, transparency, what lays it upright, its colour profile, pixels for one of the
    file's); what was read is let go before colours are converted."""
    try:
        opened = Image.open(path, formats=_readable())
    except PermissionError as error:
        raise MediaError("no_image", f"The picture {name} cannot be read: {_reason(error)}.", 404) from error
    with opened:
        _check_size(opened, name)
        longer = max(opened.size)
        opened.draft(
            "RGB", _bounded(opened.size)
        )  # a JPEG is decoded at half or a quarter where that is enough
        opened.load()
        turn = _exif_turn(opened)
        alpha = _reduced(read_transparency(opened))
        image = _reduced(grey_of_depth(opened))
        assert image is not None
        return image, alpha, turn, opened.info.get("icc_profile"), max(image.size) / longer


@cache
def _readable() -> tuple[str, ...]:
    """Which of `FORMATS` can be read here; teaches Pillow HEIC."""
    Image.init()
    pi_heif.register_heif_opener(thumbnails=False)
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_size(opened: Image.Image, name: str) -> None:
    width, height = opened.size
    if min(width, height) < MIN_SIDE:
        raise _bad(
            f"The picture {name} is too small: it has {width}x{height} pixels, at least {MIN_SIDE} each way are "
            "needed."
        )
    reducible = opened.format in ("JPEG", "MPO") and not opened.info.get("progressive")
    limit = MAX_PIXELS_REDUCED if reducible else MAX_PIXELS
    if width * height > limit:
        raise _bad(
            f"The picture {name} is too large: it has {width}x{height} pixels, at most {limit // 1_000_000} "
            "million can be read; save it smaller.",
            "too_large",
        )


def _reduced(image: Image.Image | None) -> Image.Image | None:
    """At most `MAX_SIDE` wide and high, one channel after the other: all at once take half a gigabyte."""
    if image is None or (size := _bounded(image.size)) == image.size:
        return image
    mode = "RGB" if image.mode == "RGBA" else image.mode  # transparency goes its own way
    bands = [
        image.getchannel(band).resize(size, Image.Resampling.HAMMING) for band in Image.getmodebandnames(mode)
    ]
    return bands[0] if len(bands) == 1 else Image.merge(mode, bands)


def _bounded(size: tuple[int, int]) -> tuple[int, int]:
    """The size at which a picture is kept."""
    scale = min(1.0, MAX_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _exif_turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF says nothing
        return None


def _what_else(path: Path) -> str:
    """What a file is that is no picture, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(64)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start[4:8] == b"ftyp":
        return "a video" if start[8:11] not in (b"hei", b"mif", b"avi") else "a damaged HEIC or AVIF picture"
    return next((what for begin, what in OTHERS if text.startswith(begin.lower())), "not a picture")


STATUSES: Final = {"bad_image": 422, "too_large": 413, "not_a_picture": 415}


def _bad(sentence: str, code: str = "bad_image") -> MediaError:
    return MediaError(code, sentence, STATUSES[code])


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "permission was refused"
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return text.rstrip(".")[:200] or type(error).__name__
