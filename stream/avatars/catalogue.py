"""The faces on offer, from one folder or several. Those of one's own come and go while the server runs.

In: folders. Out: a checked list for GET /avatars, the pictures it shows, and a framed canvas per session. An id
from a client is looked up in the list, never joined to a path. Portraits that were used last are kept, so that a
change of face reads no file twice. Any thread: lists are replaced, never changed.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from models.face import SERVED_PX
from stream.avatars.avatar_folder import Avatar, Entry, read_folder, read_row
from stream.avatars.own_avatars import OwnAvatars
from stream.avatars.portrait import Portrait
from stream.errors import MediaError, SignalingError
from stream.media import UInt8Array

__all__ = ["Avatar", "AvatarCatalogue"]

logger = logging.getLogger(__name__)

KEPT_BYTES: Final = 192 * 1024 * 1024
"""Memory for portraits that may be asked for again."""
IMAGE_PX: Final = SERVED_PX
THUMBNAIL_PX: Final = 192


@dataclass(frozen=True, slots=True)
class _Own:
    """An avatar of one's own: what was read of it, what its row said, and the two PNGs that show it."""

    entry: Entry
    row: dict[str, Any]
    pictures: dict[str, Path | bytes]


class AvatarCatalogue:
    """The faces a server offers; the first one is the default.

    Args:
        entries: those that stay.
        own: a folder whose faces are offered after them, as it is at each `refresh`.
    """

    def __init__(self, entries: Sequence[Entry], own: OwnAvatars | None = None) -> None:
        if not entries:
            raise ValueError("a catalogue needs at least one avatar")
        self._fixed = {entry.avatar.id: entry for entry in entries}
        if len(self._fixed) != len(entries):
            raise ValueError("two avatars have the same id")
        self.own = own
        self._lock = threading.Lock()
        self._kept: dict[str, Portrait] = {}  # the one used last stands last
        self._refreshing = threading.Lock()
        self._stamp: object = None
        self._ours: dict[str, _Own] = {}
        self._shown: dict[str, Path | bytes] = {}
        for entry in entries:
            self._shown |= _pictures(entry, None)

    @classmethod
    def read(cls, folder: Path, *more: Path, own: Path | None = None) -> AvatarCatalogue:
        """Read folders of faces; see `stream.avatars.avatar_folder`.

        Args:
            own: folder of avatars of one's own; need not be there yet.

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
        catalogue = cls(list(entries.values()), None if own is None else OwnAvatars(own))
        catalogue.refresh()
        return catalogue

    def refresh(self) -> None:
        """Offer what was added to the folder of one's own since the last time, and no longer what was removed.

        Reads what is new; nothing where nothing was written.

        Raises:
            MediaError: its index is wrong; what was offered is offered still.
        """
        if self.own is None or self.own.stamp() == self._stamp:
            return
        with self._refreshing:
            stamp = self.own.stamp()
            if stamp == self._stamp:
                return
            ours: dict[str, _Own] = {}
            for number, row in enumerate(self.own.rows(), 1):
                try:
                    read = self._read(row, number)
                except MediaError as error:
                    logger.warning("not offered: %s", error.message)
                    continue
                ours[read.entry.avatar.id] = read
            with self._lock:
                for gone in self._ours.keys() - ours.keys():
                    self._kept.pop(gone, None)
            self._ours = ours
            self._stamp = stamp

    def _read(self, row: dict[str, Any], number: int) -> _Own:
        """A row of one's own: as it was read before, or read now."""
        assert self.own is not None
        known = self._ours.get(str(row.get("id")))
        if known is not None and known.row == row:
            return known
        if row.get("id") in self._fixed:
            raise MediaError(
                "bad_avatars",
                f"{self.own.folder} has an avatar {row['id']!r}, as others are called; rename it.",
            )
        entry, portrait = read_row(self.own.folder, row, number)
        self._keep(entry.avatar.id, portrait)
        return _Own(entry, row, _pictures(entry, portrait))

    @property
    def _entries(self) -> dict[str, Entry]:
        return self._fixed | {own: read.entry for own, read in self._ours.items()}

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
        entry = self._entries.get(avatar.id)
        if entry is None:
            raise MediaError("unknown_avatar", f"The avatar {avatar.name} is not there any more.", 404)
        portrait = entry.portrait()
        self._keep(avatar.id, portrait)
        return portrait

    def _keep(self, avatar_id: str, portrait: Portrait) -> None:
        with self._lock:
            self._kept[avatar_id] = portrait
            while len(self._kept) > 1 and sum(map(_bytes_of, self._kept.values())) > KEPT_BYTES:
                del self._kept[next(iter(self._kept))]

    def canvas(self, avatar: Avatar, side: int) -> UInt8Array:
        """The avatar as engines take it, (side, side, 3) uint8 RGB; read-only."""
        return self.portrait(avatar).canvas(side)

    def is_own(self, avatar_id: str) -> bool:
        """Whether an avatar is one of one's own, which may be removed."""
        return avatar_id in self._ours

    def shown(self, name: str) -> Path | bytes | None:
        """What is shown under a name of `as_json`: a file, or a PNG made once; None for any other name."""
        if (shown := self._shown.get(name)) is not None:
            return shown
        return next((read.pictures[name] for read in self._ours.values() if name in read.pictures), None)

    def as_json(self) -> list[dict[str, str | bool]]:
        """The body of GET /avatars; picture addresses are relative to the page."""
        return [
            {
                "id": avatar.id,
                "name": avatar.name,
                "image": f"avatars/{avatar.image}",
                "thumbnail": f"avatars/{avatar.thumbnail}",
                "about": avatar.about,
                "own": self.is_own(avatar.id),
            }
            for avatar in self
        ]


def _pictures(entry: Entry, portrait: Portrait | None) -> dict[str, Path | bytes]:
    """What shows a face, by name: files that are laid out as canvases, or PNGs of the canvas that is cut out."""
    avatar = entry.avatar
    names = (avatar.image, avatar.thumbnail)
    if entry.similarity is None:
        return {name: entry.path.with_name(name) for name in names}
    canvas = Image.fromarray((portrait or entry.portrait()).canvas(IMAGE_PX))
    small = canvas.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return {name: _png(image) for name, image in zip(names, (canvas, small), strict=True)}


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _bytes_of(portrait: Portrait) -> int:
    alpha = portrait.pixels.alpha
    return portrait.pixels.rgb.nbytes + (0 if alpha is None else alpha.nbytes)
