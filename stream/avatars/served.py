"""The pictures of the catalogue over HTTP, and no other file of its folders. Event loop only."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from stream.avatars.catalogue import AvatarCatalogue


class AvatarPictures(StaticFiles):
    """Serves what a catalogue shows; whatever else lies in its folders (hidden files, sub-folders) is not there."""

    def __init__(self, catalogue: AvatarCatalogue) -> None:
        super().__init__()
        self._catalogue = catalogue

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The picture of that name; see `StaticFiles.get_response`."""
        shown = self._catalogue.shown(path)
        if isinstance(shown, bytes) and scope["method"] in ("GET", "HEAD"):
            return Response(shown if scope["method"] == "GET" else b"", media_type="image/png")
        return await super().get_response(path, scope)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file of that name; see `StaticFiles.lookup_path`."""
        shown = self._catalogue.shown(path)
        if isinstance(shown, Path) and shown.is_file():
            return str(shown), shown.stat()
        return "", None
