"""The slots of a face, unencoded, each when it is due.

In: the pacer. Out: picture and voice of every slot. A face has one motor, since a picture is chosen once: `walk`,
or a connection that pulls encoded packets (`stream.outbound.tracks`). A `SlotFeed` reads beside either. Event
loop only.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from stream.media import Int16Array, Picture
from stream.outbound.pacer import Pacer


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of 1/fps.

    Attributes:
        index: counts from 0.
        due_s: the clock's reading at which it was due; it comes then or a little later.
        picture: what is to be shown; its image is never written to.
        voice: (48000 / fps,) int16 at 48 kHz, the sound that goes with it, `PacerConfig.voice_lead_s` ahead.
    """

    index: int
    due_s: float
    picture: Picture
    voice: Int16Array


class SlotFeed:
    """Slots beside whatever pulls them: a recording, a room server, a test.

    Keeps `kept` of them; a reader that is slower loses the oldest, and `lost` counts them.

    Args:
        pacer: whose slots.
        kept: slots that may wait.
    """

    def __init__(self, pacer: Pacer, kept: int = 50) -> None:
        self.lost = 0
        self._pacer = pacer
        self._slots: deque[Slot] = deque(maxlen=kept)
        self._next: int | None = None
        self._arrived = asyncio.Event()
        self._closed = False
        pacer.on_sent.append(self._take)

    def close(self) -> None:
        """Read no more; doing it again does nothing."""
        if not self._closed:
            self._closed = True
            self._pacer.on_sent.remove(self._take)
            self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Slot]:
        while True:
            while self._slots:
                yield self._slots.popleft()
            if self._closed:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def _take(self, picture: Picture) -> None:
        """A picture goes out; slots that the picture skipped have their voice all the same."""
        first = picture.slot if self._next is None else self._next
        for index in range(first, picture.slot + 1):
            self.lost += len(self._slots) == self._slots.maxlen
            self._slots.append(Slot(index, self._pacer.due(index), picture, self._pacer.voice(index)))
        self._next = picture.slot + 1
        self._arrived.set()


async def walk(pacer: Pacer) -> AsyncIterator[Slot]:
    """Every slot in order, for ever. A reader that is slow gets them late, never fewer; after a standstill of more
    than `PacerConfig.stall_s` the clock moves on with it.
    """
    for index in itertools.count():
        await pacer.wait_as_master(index)
        picture, voice = pacer.picture(index), pacer.voice(index)
        pacer.sent_voice(index)
        pacer.sent_picture(picture)
        yield Slot(index, pacer.due(index), picture, voice)
