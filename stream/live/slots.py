"""The slots of a face, each when it is due: the motor of a face whose pictures nobody pulls.

In: the pacer. Out: picture and voice of every slot, unencoded. A connection that pulls encoded packets
(`stream.outbound.tracks`) is another motor; a face has one at a time, since a picture is chosen once.
"""

from __future__ import annotations

import itertools
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
