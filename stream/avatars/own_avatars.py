"""Avatars of one's own: a folder with an index that grows and shrinks, one picture at a time.

In: framed portraits and names. Out: a folder that `stream.avatars.avatar_folder` reads. Pictures are stored anew,
upright and in sRGB, so that nothing a camera writes beside them (places, serial numbers) is kept.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from models.framing.similarity import TARGET
from stream.avatars.avatar_folder import INDEX, Entry, identifier, read_folder
from stream.avatars.portrait import Portrait
from stream.errors import MediaError

NAME_LENGTH: Final = 60


def own_folder() -> Path:
    """Where avatars of one's own are kept: $FADA_AVATARS, or fada-live/avatars among the user's data.

    Raises:
        MediaError: this user has no home and $FADA_AVATARS says nothing.
    """
    said = os.environ.get("FADA_AVATARS")
    if said:
        return Path(said)
    data = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(data) if data else Path.home() / ".local" / "share") / "fada-live" / "avatars"
    except RuntimeError as error:
        raise MediaError(
            "no_avatars",
            "This user has no home to keep avatars in; name a folder with --avatars or $FADA_AVATARS.",
        ) from error


def own_folders() -> tuple[Path, ...]:
    """The folder of avatars of one's own, if there is one with something in it.

    Raises:
        MediaError: its index is wrong.
    """
    try:
        folder = own_folder()
    except MediaError:  # no home: nothing was ever added
        return ()
    return (folder,) if OwnAvatars(folder).entries() else ()


class OwnAvatars:
    """A folder of avatars of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entries(self) -> list[Entry]:
        """What is there; nothing where nothing was added yet.

        Raises:
            MediaError: the index is wrong.
        """
        if not (self.folder / INDEX).is_file():
            return []
        return read_folder(self.folder)[0] if self._rows() else []

    def find(self, name: str) -> Entry:
        """The avatar of that name or id.

        Raises:
            MediaError: there is none.
        """
        entries = self.entries()
        for entry in entries:
            if name in (entry.avatar.id, entry.avatar.name):
                return entry
        known = ", ".join(entry.avatar.id for entry in entries[:12]) or "none yet"
        raise MediaError(
            "unknown_avatar", f"There is no avatar {name[:64]!r} in {self.folder}; there are: {known}.", 404
        )

    def add(self, portrait: Portrait, name: str, taken: frozenset[str] = frozenset()) -> str:
        """Keep a portrait.

        Args:
            taken: ids that it must not have.

        Returns:
            Its id.

        Raises:
            MediaError: the folder cannot be written, or is one of pictures alone.
        """
        rows = self._rows()
        own = identifier(name, dict.fromkeys((*taken, *(str(row.get("id")) for row in rows))))
        alpha = portrait.pixels.alpha
        image = f"{own}.jpg" if alpha is None else f"{own}.png"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if alpha is None:
                Image.fromarray(portrait.pixels.rgb).save(self.folder / image, quality=95, subsampling=0)
            else:
                layers = np.dstack((portrait.pixels.rgb, alpha))
                Image.fromarray(layers).save(self.folder / image, compress_level=3)
            points = [
                [round(float(z.real), 3), round(float(z.imag), 3)]
                for z in portrait.similarity.to_picture(TARGET)
            ]
            self._write([*rows, {"id": own, "name": name[:NAME_LENGTH], "image": image, "points": points}])
        except OSError as error:
            raise self._unwritable(error) from error
        return own

    def remove(self, name: str) -> str:
        """Forget an avatar and delete its picture; returns its id.

        Raises:
            MediaError: there is none of that name or id, or the folder cannot be written.
        """
        entry = self.find(name)
        try:
            self._write([row for row in self._rows() if row.get("id") != entry.avatar.id])
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return entry.avatar.id

    def _rows(self) -> list[dict[str, Any]]:
        index = self.folder / INDEX
        if self.folder.exists() and not self.folder.is_dir():
            raise MediaError("bad_avatars", f"Expected a folder for avatars, but {self.folder} is a file.")
        try:
            rows = json.loads(index.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            raise MediaError(
                "bad_avatars", f"The list {index} cannot be read; repair or delete it."
            ) from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise MediaError("bad_avatars", f"The list {index} is wrong: expected a list of faces.")
        return rows

    def _write(self, rows: list[dict[str, Any]]) -> None:
        partial = self.folder / f".{INDEX}.part"
        partial.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(self.folder / INDEX)

    def _unwritable(self, error: OSError) -> MediaError:
        reason = (error.strerror or str(error)).lower()
        return MediaError("cannot_write", f"The folder {self.folder} cannot be written: {reason}.")
