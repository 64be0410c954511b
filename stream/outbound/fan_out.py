"""One encode for everybody: hands each packet of a track to all who watch, and waits for none of them.

In: what a `PictureTrack` or `VoiceTrack` gives its caller, encoded already. Out: the same objects from a
`SharedTrack` per viewer, which aiortc only cuts into RTP and sends. Queues are bounded: a viewer that stops
reading loses what it did not read and nobody else notices. Event loop only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from stream.outbound.encoder import VideoPacket
from stream.outbound.voice_encoder import AudioPacket

Shared: TypeAlias = "VideoPacket | AudioPacket | av.AudioFrame"

PICTURES_KEPT: Final = 12  # half a second at 25 fps
VOICE_KEPT: Final = 50  # half a second of 10 ms


class FanOut:
    """The way from one track to its viewers.

    Args:
        kind: "video" or "audio".
        capacity: packets kept for each viewer.
        request_keyframe: asks the track for a key frame; given for pictures alone, whose packets make no sense
            without the ones before.
    """

    def __init__(self, kind: str, capacity: int, request_keyframe: Callable[[], None] | None = None) -> None:
        self.kind = kind
        self.capacity = capacity
        self.request_keyframe = request_keyframe
        self._tracks: dict[SharedTrack, None] = {}  # in the order in which they came

    def __len__(self) -> int:
        """Viewers that read or have read."""
        return len(self._tracks)

    def track(self) -> SharedTrack:
        """A track for one viewer; it takes part from its first `recv` until its `stop`."""
        return SharedTrack(self)

    def send(self, item: Shared) -> None:
        """Hand one packet to every viewer. Never waits."""
        for track in self._tracks:
            track.put(item)

    def add(self, track: SharedTrack) -> None:
        """Let a track take part."""
        self._tracks[track] = None

    def remove(self, track: SharedTrack) -> None:
        """Leave a track out; doing it again does nothing."""
        self._tracks.pop(track, None)


class SharedTrack(MediaStreamTrack):
    """One viewer's end of a `FanOut`.

    Pictures begin with a key frame. A full queue is emptied: voice goes on with the newest packet, pictures with
    the next key frame, which is asked for once the viewer reads again. So one that never does costs nothing.

    Args:
        source: where the packets come from.
    """

    def __init__(self, source: FanOut) -> None:
        super().__init__()
        self.kind = source.kind
        self.lost = 0
        self._source = source
        self._queue: deque[Shared] = deque()
        self._awaits_keyframe = source.request_keyframe is not None
        self._reading = False
        self._arrived = asyncio.Event()

    async def recv(self) -> Shared:
        """The next packet.

        Raises:
            MediaStreamError: the track was stopped.
        """
        if self.readyState == "live":
            self._source.add(self)
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ask_for_keyframe()
            self._arrived.clear()
            self._reading = True
            try:
                await self._arrived.wait()
            finally:
                self._reading = False
        return self._queue.popleft()

    def put(self, item: Shared) -> None:
        """Take a packet from the fan-out. Never waits."""
        complete = self._source.request_keyframe is None or (isinstance(item, av.Packet) and item.is_keyframe)
        if len(self._queue) >= self._source.capacity:
            self.lost += len(self._queue)
            self._queue.clear()
            self._awaits_keyframe = True
        if self._awaits_keyframe and not complete:
            self.lost += 1
            if self._reading:  # again: an encoder may leave out a picture that it was asked to make complete
                self._ask_for_keyframe()
            return
        self._awaits_keyframe = False
        self._queue.append(item)
        self._arrived.set()

    def stop(self) -> None:
        """End; a waiting `recv` ends too."""
        super().stop()
        self._source.remove(self)
        self._queue.clear()
        self._arrived.set()

    def _ask_for_keyframe(self) -> None:
        if self._awaits_keyframe and self._source.request_keyframe is not None:
            self._source.request_keyframe()
