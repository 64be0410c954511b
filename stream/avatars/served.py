"""The pictures of the catalogue over HTTP, and no other file of its folder. Event loop only."""

from __future__ import annotations

import os

from starlette.staticfiles import StaticFiles

from stream.avatars.catalogue import AvatarCatalogue


class AvatarPictures(StaticFiles):
    """Serves what a catalogue names; whatever else lies in its folder (hidden files, sub-folders) is not there."""

    def __init__(self, catalogue: AvatarCatalogue) -> None:
        super().__init__(directory=catalogue.folder)
        self._names = {name for avatar in catalogue for name in (avatar.image, avatar.thumbnail)}

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file at a path below the folder; see `StaticFiles.lookup_path`."""
        return super().lookup_path(path) if path in self._names else ("", None)
