"""A folder of faces: `index.json` and the pictures it names, or pictures alone.

In: a folder. Out: its `Entry`s, framed, and a sentence for each picture of a plain folder that cannot be.

`index.json` is a list of rows. `{"id", "image"}` is a picture that is laid out as the canvas, as the house's drawn
faces are; its `thumbnail` lies beside it. With `points` (`[[x, y], [x, y], [x, y]]`: the viewer's left eye,
right eye and the mouth, px of the upright file) it may be any picture. `name` and `about` are for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.framing.similarity import Similarity
from stream.avatars.framing import find_and_frame, lay_points
from stream.avatars.picture_files import read_picture
from stream.avatars.portrait import Portrait
from stream.errors import MediaError

INDEX: Final = "index.json"
SUFFIXES: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif",
     ".jp2", ".ppm", ".tga")
)  # fmt: skip
MOST_PICTURES: Final = 200
"""In a plain folder: each is searched for its face at the start."""


@dataclass(frozen=True, slots=True)
class Avatar:
    """One face. `image` and `thumbnail` are the names under which its pictures are shown."""

    id: str
    name: str
    image: str
    thumbnail: str
    about: str

    def __post_init__(self) -> None:
        if not self.id or len(self.id) > 64:
            raise ValueError(f"an avatar's id must have 1 to 64 characters, got {self.id!r}")
        for file_name in (self.image, self.thumbnail):
            if not file_name or Path(file_name).name != file_name or file_name.startswith("."):
                raise ValueError(f"avatar {self.id}: expected a plain file name, got {file_name!r}")


@dataclass(frozen=True, slots=True)
class Entry:
    """An avatar, its picture's file, and where its face lies; None where the picture is laid out as the canvas."""

    avatar: Avatar
    path: Path
    similarity: Similarity | None = None

    def portrait(self) -> Portrait:
        """Read the picture.

        Raises:
            MediaError: it cannot be read.
        """
        pixels = read_picture(self.path)
        if self.similarity is not None:
            return Portrait(pixels, self.similarity)
        try:
            return Portrait.laid_out(pixels)
        except ValueError as error:
            raise MediaError("bad_image", f"The picture {self.path} is no face: {error}.") from error


def read_folder(folder: Path) -> tuple[list[Entry], list[str]]:
    """The faces of a folder.

    Returns:
        (entries, a sentence for each picture that cannot be used). Every picture has been opened once.

    Raises:
        MediaError: there is no such folder, nothing in it, or its index is wrong.
    """
    if not folder.is_dir():
        raise MediaError(
            "no_avatars", f"No avatars in {folder}: there is no such folder; make some with `fada avatars`."
        )
    if (folder / INDEX).is_file():
        return _indexed(folder)
    pictures = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not pictures:
        raise MediaError(
            "no_avatars",
            f"No avatars in {folder}: it has neither {INDEX} nor pictures; add some with `fada avatar add`, "
            "make some with `fada avatars`, or name another folder with --avatars.",
        )
    if len(pictures) > MOST_PICTURES:
        raise MediaError(
            "bad_avatars",
            f"Expected at most {MOST_PICTURES} pictures in {folder}, found {len(pictures)}; add those you "
            "want with `fada avatar add`, which looks for their faces once.",
        )
    return _plain(pictures)


def identifier(name: str, taken: Mapping[str, Any]) -> str:
    """An id from a name: small letters, digits and hyphens, unlike those taken."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "face"
    count = 1
    while (found := slug if count == 1 else f"{slug}-{count}") in taken:
        count += 1
    return found


def _plain(pictures: list[Path]) -> tuple[list[Entry], list[str]]:
    entries: dict[str, Entry] = {}
    refused = []
    for path in pictures:
        try:
            portrait = find_and_frame(read_picture(path), str(path))
        except MediaError as error:
            refused.append(error.message)
            continue
        own = identifier(path.stem, entries)
        shown = Avatar(own, path.stem[:60], f"{own}.png", f"{own}.thumb.png", "")
        entries[own] = Entry(shown, path, portrait.similarity)
    if not entries:
        raise MediaError(
            "no_avatars",
            f"No avatars in {pictures[0].parent}: none of its pictures can be used. {refused[0]}",
        )
    return list(entries.values()), refused


def _indexed(folder: Path) -> tuple[list[Entry], list[str]]:
    index = folder / INDEX
    try:
        rows = json.loads(index.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or not rows:
            raise ValueError("expected a list of at least one face")
        entries = [_entry(folder, row, number) for number, row in enumerate(rows, 1)]
    except OSError as error:
        raise MediaError("no_avatars", f"{index} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise MediaError("bad_avatars", f"The list {index} is wrong: {reason}.") from error
    if len({entry.avatar.id for entry in entries}) != len(entries):
        raise MediaError("bad_avatars", f"The list {index} is wrong: two avatars have the same id.")
    for entry in entries:
        if not entry.path.is_file():
            raise MediaError("bad_avatars", f"{index} names {entry.path.name}, which is not there.")
    return _opened([_framed(entry, row) for entry, row in zip(entries, rows, strict=True)])


def _opened(entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    """Those whose picture can be read now; a damaged one is better found at the start than in a call."""
    usable, refused = [], []
    for entry in entries:
        try:
            entry.portrait()
        except MediaError as error:
            refused.append(error.message)
        else:
            usable.append(entry)
    if not usable:
        raise MediaError("no_avatars", f"None of the faces can be used. {refused[0]}")
    return usable, refused


def _entry(folder: Path, row: object, number: int) -> Entry:
    if not isinstance(row, dict):
        raise ValueError(f'row {number}: expected {{"id": …, "image": …}}, got {row!r:.60}')
    for key in ("id", "image"):
        if not isinstance(row.get(key), str):
            raise ValueError(f"row {number}: expected a text as {key!r}, got {row.get(key)!r:.60}")
    own, image = row["id"], row["image"]
    checked = Avatar(
        own,
        str(row.get("name") or own),
        image,
        str(row.get("thumbnail") or image),
        str(row.get("about") or ""),
    )
    if row.get("points") is None:
        return Entry(checked, folder / image)
    shown = Avatar(own, checked.name, f"{own}.png", f"{own}.thumb.png", checked.about)
    return Entry(shown, folder / image)


def read_row(folder: Path, row: object, number: int) -> tuple[Entry, Portrait]:
    """One row of an index: its face, and its picture, read once.

    Raises:
        MediaError: the row is wrong, or its picture cannot be read.
    """
    try:
        entry = _entry(folder, row, number)
    except ValueError as error:
        raise MediaError("bad_avatars", f"The list {folder / INDEX} is wrong: {error}.") from error
    assert isinstance(row, dict)
    if row.get("points") is None:
        return entry, entry.portrait()
    portrait = _portrait_by_row(entry, row)
    return Entry(entry.avatar, entry.path, portrait.similarity), portrait


def _framed(entry: Entry, row: Mapping[str, Any]) -> Entry:
    if row.get("points") is None:
        return entry
    return Entry(entry.avatar, entry.path, _portrait_by_row(entry, row).similarity)


def _portrait_by_row(entry: Entry, row: Mapping[str, Any]) -> Portrait:
    said = row.get("points")
    try:
        points = [(float(x), float(y)) for x, y in said or ()]
    except (TypeError, ValueError) as error:
        raise MediaError(
            "bad_avatars",
            f"Avatar {entry.avatar.id}: expected points as [[x, y], [x, y], [x, y]], got {said!r:.80}.",
        ) from error
    return lay_points(read_picture(entry.path), points, str(entry.path))
