"""The process that reads strangers' pictures: `python -m stream.uploads.worker`, one JSON a line in and out.

In: where a picture lies and what to do with it. Out: what was found, or why it cannot be used, with small pictures
as data URLs. Decoding holds Python's lock for up to a second, takes hundreds of MB and runs code that strangers'
bytes steer; here it stops no call, and what it takes goes back to the system with the process.
"""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from PIL import Image

from models.framing.similarity import TARGET, WEIGHTS
from stream.avatars.framing import SEEN_PX, UnframedError, find_and_frame, frame_by_points
from stream.avatars.own_avatars import OwnAvatars
from stream.avatars.picture_files import Pixels, read_picture
from stream.avatars.portrait import Portrait
from stream.errors import MediaError, StreamError
from stream.media import UInt8Array

FRAMED_PX: Final = 256
LOOK_PX: Final = 1024
"""The longer side of the picture that a page shows."""
MORE_BYTES: Final = 420 * 1024 * 1024
"""Memory that one picture may take."""


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked of a picture.

    Args:
        asked: `do` ("look", "cut" or "keep"), `picture` (a path), `called`, `points`; more by what is done.

    Raises:
        StreamError: it cannot be used.
    """
    pixels = read_picture(Path(asked["picture"]), asked["called"])
    try:
        if asked["points"] is None:
            portrait = find_and_frame(pixels, asked["called"])
        else:
            portrait = frame_by_points(pixels, asked["points"], asked["called"])
    except UnframedError as error:
        raise _Seen(error, _data_url(_reduced(error.seen, SEEN_PX)), _picture(pixels)) from error
    return _TO_DO[asked["do"]](portrait, asked)


class _Seen(StreamError):
    """A refusal, what was seen, and the picture to set points in."""

    def __init__(self, error: StreamError, seen: str, picture: dict[str, Any]) -> None:
        super().__init__(error.code, error.message, error.status)
        self.shown = {"seen": seen, "picture": picture}


def _look(portrait: Portrait, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a page needs to show how a picture would be framed, and to frame it otherwise."""
    scale = portrait.pixels.scale
    assert portrait.marks is not None, "it was found or set by hand"
    found = portrait.marks / scale
    return {
        "picture": _picture(portrait.pixels),
        "points": [[round(float(z.real), 2), round(float(z.imag), 2)] for z in found],
        "framed": _data_url(portrait.canvas(FRAMED_PX)),
        "notes": list(portrait.notes),
        "lines": {
            "points": [[float(z.real) / 256, float(z.imag) / 256] for z in TARGET],
            "weights": [float(weight) for weight in WEIGHTS],
        },
    }


def _cut(portrait: Portrait, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The canvas for an engine."""
    canvas = portrait.canvas(int(asked["side"]))
    return {"canvas": base64.b64encode(canvas.tobytes()).decode()}


def _keep(portrait: Portrait, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Store it among the avatars of one's own."""
    own = OwnAvatars(Path(asked["folder"]))
    added = own.add(portrait, asked["name"], frozenset(asked["taken"]), asked["consent"], asked["most"])
    return {"id": added, "notes": list(portrait.notes)}


_TO_DO: Final[dict[str, Callable[[Portrait, Mapping[str, Any]], dict[str, Any]]]] = {
    "look": _look,
    "cut": _cut,
    "keep": _keep,
}


def _picture(pixels: Pixels) -> dict[str, Any]:
    height, width = pixels.rgb.shape[:2]
    return {
        "image": _data_url(_reduced(pixels.rgb, LOOK_PX)),
        "width": round(width / pixels.scale),
        "height": round(height / pixels.scale),
    }


def _reduced(image: UInt8Array, most_px: int) -> UInt8Array:
    height, width = image.shape[:2]
    scale = min(1.0, most_px / max(height, width))
    if scale == 1.0:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(reduced)


def _data_url(image: UInt8Array) -> str:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def _told(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as a line says it."""
    try:
        return {"done": answer(asked)}
    except StreamError as error:
        told = {"code": error.code, "message": error.message, "status": error.status}
        return {"refused": told, "shown": error.shown if isinstance(error, _Seen) else {}}
    except MemoryError:
        sentence = f"The picture {asked['called']} needs more memory than one may take; save it smaller."
        return {"refused": MediaError("too_large", sentence, 413).as_json() | {"status": 413}, "shown": {}}


def _bound_memory() -> None:
    """One picture may take `MORE_BYTES` beyond what the process has now; Linux alone keeps such a bound."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmData"))
        limit = int(line.split()[1]) * 1024 + MORE_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def serve(lines: TextIO, out: TextIO) -> None:
    """Answer line by line until there are no more."""
    for line in lines:
        print(json.dumps(_told(json.loads(line))), file=out, flush=True)


def main() -> None:
    """Serve standard input; what libraries print goes to standard error."""
    os.nice(2)  # calls come first; more would starve it on a busy machine
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    find_once()
    _bound_memory()
    serve(sys.stdin, out)


def find_once() -> None:
    """Look for a face where there is none, so that the first picture does not wait for the finder."""
    blank = Pixels(np.full((64, 64, 3), 127, np.uint8))
    try:
        find_and_frame(blank, "nothing")
    except UnframedError:
        return


if __name__ == "__main__":
    main()
