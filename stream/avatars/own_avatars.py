"""Avatars of one's own: a folder with an index that grows and shrinks, one picture at a time.

In: framed portraits and names. Out: a folder that `stream.avatars.avatar_folder` reads. Pictures are stored anew,
upright and in sRGB, whole and at their own size, so that a canvas of any size can be cut out of them later and
nothing that a camera writes beside them (places, serial numbers) is kept. Who changes the folder holds its lock:
the server and `fada avatar` may do so at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from models.framing.similarity import TARGET
from stream.avatars.avatar_folder import INDEX, Entry, identifier, read_folder, read_row
from stream.avatars.portrait import Portrait
from stream.errors import MediaError

NAME_LENGTH: Final = 60
LOCK: Final = ".lock"


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


def own_folder_or_none() -> Path | None:
    """The folder of avatars of one's own, whether it is there yet or not; None where there can be none."""
    try:
        return own_folder()
    except MediaError:
        return None


def checked_name(name: str) -> str:
    """A name for people: what an avatar may be called.

    Raises:
        ValueError: it is empty, too long, or has characters that cannot be seen.
    """
    name = name.strip()
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        raise ValueError(f"Expected a name of 1 to {NAME_LENGTH} printable characters, got {name[:80]!r}.")
    return name


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
        return read_folder(self.folder)[0] if self.rows() else []

    def find(self, name: str) -> Entry:
        """The avatar of that name or id.

        Raises:
            MediaError: there is none, or its picture cannot be read.
        """
        return read_row(self.folder, self._row(name), 1)[0]

    def add(
        self,
        portrait: Portrait,
        name: str,
        taken: frozenset[str] = frozenset(),
        consent: Mapping[str, str] | None = None,
        most: int | None = None,
    ) -> str:
        """Keep a portrait.

        Args:
            taken: ids that it must not have.
            consent: what was confirmed of it, and when; kept with it.
            most: avatars that there may be afterwards.

        Returns:
            Its id.

        Raises:
            MediaError: the folder cannot be written, is full, or is one of pictures alone.
        """
        try:
            self._check_place()
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                return self._add(portrait, name, taken, consent, most)
        except OSError as error:
            raise self._unwritable(error) from error

    def remove(self, name: str) -> str:
        """Forget an avatar and delete its picture; returns its id.

        Raises:
            MediaError: there is none of that name or id, or the folder cannot be written.
        """
        own = str(self._row(name).get("id"))
        try:
            with self._locked():
                row = self._row(own)
                self._write([other for other in self.rows() if other.get("id") != own])
                image = str(row.get("image"))
                if Path(image).name == image:
                    (self.folder / image).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return own

    def rows(self) -> list[dict[str, Any]]:
        """The index as it stands.

        Raises:
            MediaError: it cannot be read, or is no list of faces.
        """
        index = self.folder / INDEX
        self._check_place()
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

    def stamp(self) -> tuple[int, int, int] | None:
        """Differs whenever the index was written; None where there is none."""
        try:
            status = (self.folder / INDEX).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _row(self, name: str) -> dict[str, Any]:
        rows = self.rows()
        for key in ("id", "name"):
            for row in rows:
                if row.get(key) == name:
                    return row
        known = ", ".join(str(row.get("id")) for row in rows[:12]) or "none yet"
        raise MediaError(
            "unknown_avatar", f"There is no avatar {name[:64]!r} in {self.folder}; there are: {known}.", 404
        )

    def _add(
        self,
        portrait: Portrait,
        name: str,
        taken: frozenset[str],
        consent: Mapping[str, str] | None,
        most: int | None,
    ) -> str:
        rows = self.rows()
        if most is not None and len(rows) >= most:
            raise MediaError(
                "avatars_full",
                f"Expected at most {most} avatars of one's own, and there are as many; remove one first.",
                409,
            )
        own = identifier(name, dict.fromkeys((*taken, *(str(row.get("id")) for row in rows))))
        points = [
            [round(float(z.real), 3), round(float(z.imag), 3)] for z in portrait.similarity.to_picture(TARGET)
        ]
        row: dict[str, Any] = {"id": own, "name": name[:NAME_LENGTH], "image": self._store(portrait, own)}
        row["points"] = points
        if consent is not None:
            row["consent"] = dict(consent)
        self._write([*rows, row])
        return own

    def _store(self, portrait: Portrait, own: str) -> str:
        """Write the whole picture; returns its file's name."""
        alpha = portrait.pixels.alpha
        if alpha is None:
            image = f"{own}.jpg"
            Image.fromarray(portrait.pixels.rgb).save(self.folder / image, quality=95, subsampling=0)
            return image
        image = f"{own}.png"
        layers = np.dstack((portrait.pixels.rgb, alpha))
        Image.fromarray(layers).save(self.folder / image, compress_level=3)
        return image

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else changes the folder meanwhile."""
        with (self.folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _check_place(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise MediaError("bad_avatars", f"Expected a folder for avatars, but {self.folder} is a file.")

    def _write(self, rows: list[dict[str, Any]]) -> None:
        partial = self.folder / f".{INDEX}.part"
        partial.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(self.folder / INDEX)

    def _unwritable(self, error: OSError) -> MediaError:
        reason = (error.strerror or str(error)).lower()
        return MediaError("cannot_write", f"The folder {self.folder} cannot be written: {reason}.")
