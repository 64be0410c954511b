"""Changes of a call's face while it goes on: one at a time, and a picture that fails costs nothing.

In: avatars wished for. Out: another face, and what its caller is told of it: no path of this machine. Event
loop only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from stream.avatars.catalogue import Avatar, AvatarCatalogue
from stream.errors import StreamError
from stream.live.face import Face

logger = logging.getLogger(__name__)


class AvatarChanges:
    """See the module's docstring.

    Args:
        face: to be changed; opened before `run`.
        avatar: the one it has.
        catalogue: where pictures come from.
        tell: says something to who calls.
    """

    def __init__(
        self,
        face: Face,
        avatar: Avatar,
        catalogue: AvatarCatalogue,
        tell: Callable[[str, Mapping[str, object]], None],
    ) -> None:
        self.avatar = avatar
        self._face = face
        self._catalogue = catalogue
        self._tell = tell
        self._wanted: asyncio.Queue[Avatar] = asyncio.Queue(maxsize=1)

    def want(self, avatar: Avatar) -> None:
        """Ask for a face; the caller is told when it is there, or why it will not be."""
        try:
            self._wanted.put_nowait(avatar)
        except asyncio.QueueFull:
            self._tell("notice", {"error": "busy", "message": "A change of avatar is still under way."})

    async def run(self) -> None:
        """Change faces as asked, for ever."""
        while True:
            avatar = await self._wanted.get()
            try:
                side = self._face.spec.width
                await self._face.change(await asyncio.to_thread(self._catalogue.canvas, avatar, side))
            except StreamError as error:
                logger.warning("a call keeps its face: %s", error.message)
                self._tell("notice", unusable(avatar).as_json())
            else:
                self.avatar = avatar
                self._tell("notice", {"avatar": avatar.id})


def unusable(avatar: Avatar) -> StreamError:
    """What a stranger is told of a picture that cannot be read or drawn; the log knows more."""
    return StreamError("bad_avatar", f"The picture of {avatar.name} cannot be used; choose another face.")
