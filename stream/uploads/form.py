"""A picture and what was said of it, out of a request: a multipart form into a file and checked words.

In: a request whose sender may ask. Out: a `PictureForm`, gone when the block ends, or a refusal with one sentence.
The body is read piece by piece into a file, within bounds of size and time; nothing of it is decoded here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from stream.avatars.own_avatars import NAME_LENGTH, checked_name
from stream.avatars.picture_files import MAX_BYTES
from stream.errors import SignalingError
from stream.rtc.offer.bodies import Body

MAX_FORM_BYTES: Final = MAX_BYTES + 64 * 1024
"""Of a request: the largest picture, and the words beside it."""
MAX_FIELD_BYTES: Final = 4096
RECEIVE_WITHIN_S: Final = 120.0
Points = list[tuple[float, float]]

Picture = Annotated[str, Field(json_schema_extra={"format": "binary"})]
PointsText = Annotated[
    str | None,
    Field(
        None,
        description="JSON: [[x, y], [x, y], [x, y]], the left eye, the right eye (as one sees them) and the mouth, "
        "pixels of the upright picture; without it the face is looked for.",
    ),
]


class PreviewBody(Body):
    """POST /avatars/preview and /avatars/trial: a picture, and where its face lies."""

    picture: Picture = Field(description="The picture's file: PNG, JPEG, WebP, AVIF, HEIC …")
    points: PointsText


class AvatarBody(PreviewBody):
    """POST /avatars: the same, with a name and the consent."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH, description="For people; the id is made of it.")
    consent: str = Field(description="The sentence of GET /config, word by word.")


@dataclass(frozen=True, slots=True)
class PictureForm:
    """Attributes:
    path: the picture's file.
    called: what it is called in sentences.
    points: set by hand; None where the face is to be found.
    words: the form's other fields.
    """

    path: Path
    called: str
    points: Points | None
    words: dict[str, str]

    def name(self) -> str:
        """The avatar's name.

        Raises:
            SignalingError: it is missing or cannot be one (422).
        """
        if "name" not in self.words:
            raise missing("name")
        try:
            return checked_name(self.words["name"])
        except ValueError as error:
            raise SignalingError("invalid_request", str(error), 422) from error


@contextlib.asynccontextmanager
async def read_picture_form(request: Request) -> AsyncIterator[PictureForm]:
    """Receive a form; see the module's docstring.

    Raises:
        SignalingError: 415 no form, 413 too long, 408 too slow, 422 a field is missing or wrong.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise SignalingError("bad_type", "Expected a form of type multipart/form-data.", 415)
    form = await _received(request)
    try:
        picture = form.get("picture")
        if not isinstance(picture, UploadFile):
            raise missing("picture", "add it as a file")
        words = {key: value for key, value in form.items() if isinstance(value, str)}
        points = read_points(words.pop("points", ""))
        with tempfile.TemporaryDirectory(prefix="fada-picture-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "picture"
            await asyncio.to_thread(_copy, picture, path)
            yield PictureForm(path, said_name(picture.filename), points, words)
    finally:
        await form.close()


async def _received(request: Request) -> FormData:
    try:
        async with asyncio.timeout(RECEIVE_WITHIN_S):
            return await request.form(max_files=1, max_fields=6, max_part_size=MAX_FIELD_BYTES)
    except TimeoutError:
        sentence = f"Expected the picture within {RECEIVE_WITHIN_S:.0f} seconds; send a smaller one."
        raise SignalingError("too_slow", sentence, 408) from None
    except HTTPException as error:  # how Starlette says that a form cannot be read
        raise SignalingError("bad_form", f"The form cannot be read: {error.detail.rstrip('.')}.") from error


def _copy(picture: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(picture.file, file, 1 << 20)


def read_points(text: str) -> Points | None:
    """Three points from JSON; None from nothing.

    Raises:
        SignalingError: they are no such thing (422).
    """
    if not text.strip():
        return None
    try:
        said: Any = json.loads(text)
        points = [(float(x), float(y)) for x, y in said]
        if len(points) != 3 or not all(math.isfinite(value) for point in points for value in point):
            raise ValueError
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise SignalingError(
            "invalid_request", f"Expected points as [[x, y], [x, y], [x, y]], got {text[:60]!r}.", 422
        ) from None
    return points


def said_name(file_name: str | None) -> str:
    """What a picture is called in sentences: its file's name, without anything that would spoil them."""
    bare = (file_name or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in bare if letter.isprintable())[:60].strip()
    return shown or "the picture"


def missing(name: str, advice: str = "add it") -> SignalingError:
    """What to answer where a field is not there."""
    return SignalingError("invalid_request", f'The field "{name}" is missing; {advice}.', 422)
