"""The faces on offer, from one folder or several. The lists are read once, at the start.

In: folders. Out: a checked list for GET /avatars, the pictures it shows, and a framed canvas per session. An id
from a client is looked up in the list, never joined to a path. Portraits that were used last are kept, so that a
change of face reads no file twice. Any thread.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from stream.avatars.avatar_folder import Avatar, Entry, read_folder
from stream.avatars.portrait import Portrait
from stream.errors import MediaError, SignalingError
from stream.media import UInt8Array

__all__ = ["Avatar", "AvatarCatalogue"]

logger = logging.getLogger(__name__)

KEPT_BYTES: Final = 192 * 1024 * 1024
"""Memory for portraits that may be asked for again."""
IMAGE_PX: Final = 256
THUMBNAIL_PX: Final = 96


class AvatarCatalogue:
    """The faces a server offers; the first one is the default."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        if not entries:
            raise ValueError("a catalogue needs at least one avatar")
        self._entries = {entry.avatar.id: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise ValueError("two avatars have the same id")
        self._lock = threading.Lock()
        self._kept: dict[str, Portrait] = {}  # the one used last stands last
        self._shown: dict[str, Path | bytes] = {}
        for entry in entries:
            self._show(entry)

    @classmethod
    def read(cls, folder: Path, *more: Path) -> AvatarCatalogue:
        """Read folders of faces; see `stream.avatars.avatar_folder`.

        Raises:
            MediaError: a folder, its index or a picture is missing or wrong, or two faces have the same id.
        """
        entries: dict[str, Entry] = {}
        for place in (folder, *more):
            found, refused = read_folder(place)
            for sentence in refused:
                logger.warning("not offered: %s", sentence)
            for entry in found:
                other = entries.setdefault(entry.avatar.id, entry)
                if other is not entry:
                    raise MediaError(
                        "bad_avatars",
                        f"{other.path} and {entry.path} have the same id {entry.avatar.id!r}; rename one.",
                    )
        return cls(list(entries.values()))

    def __iter__(self) -> Iterator[Avatar]:
        return (entry.avatar for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, avatar_id: str | None) -> Avatar:
        """The avatar of that id, or the first one for None.

        Raises:
            SignalingError: no such avatar (404).
        """
        if avatar_id is None:
            return next(iter(self))
        try:
            return self._entries[avatar_id].avatar
        except KeyError:
            known = ", ".join(list(self._entries)[:12])
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
        portrait = self._entries[avatar.id].portrait()
        with self._lock:
            self._kept[avatar.id] = portrait
            while len(self._kept) > 1 and sum(map(_bytes_of, self._kept.values())) > KEPT_BYTES:
                del self._kept[next(iter(self._kept))]
        return portrait

    def canvas(self, avatar: Avatar, side: int) -> UInt8Array:
        """The avatar as engines take it, (side, side, 3) uint8 RGB; read-only."""
        return self.portrait(avatar).canvas(side)

    def shown(self, name: str) -> Path | bytes | None:
        """What is shown under a name of `as_json`: a file, or a PNG made at the start; None for any other name."""
        return self._shown.get(name)

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

    def _show(self, entry: Entry) -> None:
        avatar = entry.avatar
        names = (avatar.image, avatar.thumbnail)
        if entry.similarity is None:
            self._shown |= {name: entry.path.with_name(name) for name in names}
        else:
            canvas = Image.fromarray(entry.portrait().canvas(IMAGE_PX))
            small = canvas.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
            self._shown |= {name: _png(image) for name, image in zip(names, (canvas, small), strict=True)}


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _bytes_of(portrait: Portrait) -> int:
    alpha = portrait.pixels.alpha
    return portrait.pixels.rgb.nbytes + (0 if alpha is None else alpha.nbytes)
