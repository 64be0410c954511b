"""Colours of a picture as Pillow decodes them: transparency, depth and profile, one after another.

In: a loaded `PIL.Image` of any mode. Out: 8-bit sRGB, and transparency as a picture of its own. Any thread.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms

CARRIES_ALPHA: Final = ("RGBA", "LA", "PA", "La", "RGBa")
SPACES: Final = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
"""The colour space that a profile must speak of to belong to a picture of that mode (ICC.1, 7.2.6)."""


def read_transparency(image: Image.Image) -> Image.Image | None:
    """What is there of each pixel, mode L; None where the picture has no transparency.

    A transparent colour (PNG's tRNS) is compared at the file's own depth: 65535 is no 255.
    """
    if image.mode in CARRIES_ALPHA:
        return image.getchannel(image.getbands()[-1])
    key = image.info.get("transparency")
    if key is None:
        return None
    if image.mode.startswith("I") and isinstance(key, int):
        there = np.asarray(image) != key
        return Image.fromarray(np.where(there, np.uint8(255), np.uint8(0)))
    if image.mode == "RGB" and isinstance(key, tuple) and _has_16_bits(image):
        # Pillow has kept the high bytes alone, so a colour next to the transparent one cannot be told from it
        key = tuple(value >> 8 for value in key)
        there = (np.asarray(image) != np.array(key, np.uint8)).any(2)
        return Image.fromarray(np.where(there, np.uint8(255), np.uint8(0)))
    return image.convert("RGBA").getchannel("A")


def _has_16_bits(image: Image.Image) -> bool:
    """Whether a PNG has 16 bits a channel: its header's ninth byte says so."""
    file = getattr(image, "filename", "")
    if image.format != "PNG" or not file:
        return False
    with open(file, "rb") as stream:
        return stream.read(25)[24:25] == b"\x10"


def grey_of_depth(image: Image.Image) -> Image.Image:
    """The picture in 8 bits, without transparency: modes L, RGB, CMYK, LAB, YCbCr or HSV; RGBA as it is."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):  # 32 bits: whole numbers of 8 or 16, or light between 0 and 1
        values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
        top = next((top for top in (1.0, 255.0, 65_535.0) if values.max() <= top), float(values.max()))
        return Image.fromarray((values.clip(0, top) * (255.0 / top)).astype(np.uint8))
    if image.mode in ("1", "LA", "La"):
        return image.convert("LA").getchannel("L") if image.mode != "1" else image.convert("L")
    if image.mode in ("P", "PA"):
        palette = image if image.mode == "P" else image.convert("RGBA")
        return palette.convert("RGB")
    if image.mode == "RGBa":
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB") if image.mode == "RGBX" else image


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in sRGB, mode RGB, by its profile where it carries one that fits and can be read."""
    if image.mode == "RGBA":
        image = image.convert("RGB")
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if own.profile.xcolor_space == SPACES.get(image.mode):
                return _converted(image, own)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a spoilt profile says nothing
    if image.mode == "LAB":
        return _converted(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    return image if image.mode == "RGB" else image.convert("RGB")


def _converted(image: Image.Image, own: ImageCms.ImageCmsProfile) -> Image.Image:
    done = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert done is not None  # in place was not asked for
    return done
