"""Face pictures from files: read, upright, square, RGB. Pillow only; runs in a worker thread."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stream.errors import MediaError
from stream.media import UInt8Array

MAX_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 64_000_000
MIN_SIDE = 64
MAX_SIDE = 2048  # a larger square is reduced to this: no preset uses more


def load_face_picture(path: Path) -> UInt8Array:
    """Read a picture of a face.

    Args:
        path: PNG, JPEG, WebP or whatever else Pillow reads.

    Returns:
        (S, S, 3) uint8 RGB: turned upright after its EXIF orientation, transparency laid on white, the centre
        square cut out, S at most 2048.

    Raises:
        MediaError: not there, not a picture, damaged, too small or too large.
    """
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise MediaError("no_image", f"The picture {path} cannot be read: {_reason(error)}.", 404) from error
    if path.is_dir():
        raise MediaError("bad_image", f"Expected a picture file, but {path} is a folder.")
    if not 0 < size_bytes <= MAX_BYTES:
        limit = MAX_BYTES // 1024**2
        raise MediaError(
            "bad_image", f"Expected a picture of 1 byte to {limit} MiB, {path} has {size_bytes} bytes."
        )
    try:
        return _read(path)
    except UnidentifiedImageError as error:
        raise MediaError(
            "bad_image", f"{path} is not a picture; give a PNG, JPEG or WebP file that shows one face."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise MediaError("bad_image", f"The picture {path} is damaged: {_reason(error)}.") from error


def fit(image: UInt8Array, width: int, height: int) -> UInt8Array:
    """Scale a picture to (height, width, 3), cutting the middle out where the shapes differ."""
    if image.shape[:2] == (height, width):
        return image
    fitted = ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.LANCZOS)
    return np.asarray(fitted, dtype=np.uint8)


def _read(path: Path) -> UInt8Array:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning)  # odd EXIF data is no reason to refuse
        try:
            opened = Image.open(path)
        except Image.DecompressionBombWarning as warning:
            raise ValueError(f"it has more than {MAX_PIXELS} pixels") from warning
        with opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"it has {opened.width}x{opened.height} pixels, more than {MAX_PIXELS}")
            upright = ImageOps.exif_transpose(opened)
            if min(upright.size) < MIN_SIDE:
                raise ValueError(
                    f"it has {upright.width}x{upright.height} pixels, at least {MIN_SIDE} are needed"
                )
            side = min(*upright.size, MAX_SIDE)
            square = ImageOps.fit(_opaque(upright), (side, side), Image.Resampling.LANCZOS)
            return np.asarray(square, dtype=np.uint8)


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey: Pillow's own conversion clips it
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        return Image.fromarray((values.clip(0, top) * (255.0 / top)).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "permission was refused"
    return str(error).rstrip(".") or type(error).__name__
