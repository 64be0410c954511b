"""The faces on offer: `index.json` and the pictures beside it. The list is read once, at the start.

In: a folder. Out: a checked list for GET /avatars and a framed canvas per session. An id from a client is looked
up in the list, never joined to a path. Portraits that were used last are kept, so that a change of face reads no
file twice. Any thread.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.avatars.picture_files import read_picture
from stream.avatars.portrait import Portrait
from stream.errors import MediaError, SignalingError
from stream.media import UInt8Array

KEPT_BYTES: Final = 192 * 1024 * 1024
"""Memory for portraits that may be asked for again."""


@dataclass(frozen=True, slots=True)
class Avatar:
    """One face. `image` and `thumbnail` are file names inside the folder."""

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


class AvatarCatalogue:
    """The faces a server offers; the first one is the default."""

    def __init__(self, folder: Path, avatars: list[Avatar]) -> None:
        if not avatars:
            raise ValueError("a catalogue needs at least one avatar")
        self.folder = folder
        self._avatars = {avatar.id: avatar for avatar in avatars}
        if len(self._avatars) != len(avatars):
            raise ValueError("two avatars have the same id")
        self._lock = threading.Lock()
        self._kept: dict[str, Portrait] = {}  # the one used last stands last

    @classmethod
    def read(cls, folder: Path) -> AvatarCatalogue:
        """Read `index.json`.

        Raises:
            MediaError: the folder, its index or a picture is missing or wrong.
        """
        index = folder / "index.json"
        try:
            rows = json.loads(index.read_text(encoding="utf-8"))
            if not isinstance(rows, list):
                raise ValueError(f"expected a list, got {type(rows).__name__}")
            catalogue = cls(folder, [_avatar(row) for row in rows])
        except OSError as error:
            raise MediaError(
                "no_avatars",
                f"No avatars in {folder}: index.json cannot be read ({error.strerror}); make some with "
                "`fada avatars` or name another folder with --avatars.",
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise MediaError("bad_avatars", f"The list {index} is wrong: {error}.") from error
        for avatar in catalogue:
            if not (folder / avatar.image).is_file():
                raise MediaError("bad_avatars", f"{index} names {avatar.image}, which is not there.")
        return catalogue

    def __iter__(self) -> Iterator[Avatar]:
        return iter(self._avatars.values())

    def __len__(self) -> int:
        return len(self._avatars)

    def find(self, avatar_id: str | None) -> Avatar:
        """The avatar of that id, or the first one for None.

        Raises:
            SignalingError: no such avatar (404).
        """
        if avatar_id is None:
            return next(iter(self._avatars.values()))
        try:
            return self._avatars[avatar_id]
        except KeyError:
            known = ", ".join(list(self._avatars)[:12])
            raise SignalingError(
                "unknown_avatar", f"There is no avatar {avatar_id[:64]!r}; this server has: {known}.", 404
            ) from None

    def portrait(self, avatar: Avatar) -> Portrait:
        """The avatar's framed picture.

        Raises:
            MediaError: its file cannot be read any more.
        """
        with self._lock:
            kept = self._kept.pop(avatar.id, None)
            if kept is not None:
                self._kept[avatar.id] = kept
                return kept
        portrait = _laid_out(self.folder / avatar.image)
        with self._lock:
            self._kept[avatar.id] = portrait
            while len(self._kept) > 1 and sum(map(_bytes_of, self._kept.values())) > KEPT_BYTES:
                del self._kept[next(iter(self._kept))]
        return portrait

    def canvas(self, avatar: Avatar, side: int) -> UInt8Array:
        """The avatar as engines take it, (side, side, 3) uint8 RGB; read-only."""
        return self.portrait(avatar).canvas(side)

    def as_json(self) -> list[dict[str, str]]:
        """The body of GET /avatars; picture addresses are relative to the page."""
        return [
            {
                "id": avatar.id,
                "name": avatar.name,
                "image": f"avatars/{avatar.image}",
                "thumbnail": f"avatars/{avatar.thumbnail}",
                "about": avatar.about,
            }
            for avatar in self
        ]


def _avatar(row: Mapping[str, object]) -> Avatar:
    image = str(row["image"])
    return Avatar(
        id=str(row["id"]),
        name=str(row.get("name") or row["id"]),
        image=image,
        thumbnail=str(row.get("thumbnail") or image),
        about=str(row.get("about") or ""),
    )


def _laid_out(path: Path) -> Portrait:
    try:
        return Portrait.laid_out(read_picture(path))
    except ValueError as error:
        raise MediaError("bad_image", f"The picture {path} is no face: {error}.") from error


def _bytes_of(portrait: Portrait) -> int:
    alpha = portrait.pixels.alpha
    return portrait.pixels.rgb.nbytes + (0 if alpha is None else alpha.nbytes)
