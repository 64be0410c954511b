"""One caller's end of a track that the whole call shares.

In: a `PictureTrack` or a `VoiceTrack`. Out: its packets. While a connection reads this, the connection is the
track's motor, and viewers get what it pulls; it can be stopped, or its reader can die, and the track goes on for
the next caller, or pulled by the call itself. Event loop only.
"""

from __future__ import annotations

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from stream.outbound.encoder import VideoPacket
from stream.outbound.tracks import PictureTrack, VoiceTrack
from stream.outbound.voice_encoder import AudioPacket


class CallerTrack(MediaStreamTrack):
    """See the module's docstring.

    Args:
        source: the call's track.
    """

    def __init__(self, source: PictureTrack | VoiceTrack) -> None:
        super().__init__()
        self.kind = source.kind
        self._source = source
        self._awaits_keyframe = isinstance(source, PictureTrack)  # it may begin anywhere in the call

    def request_keyframe(self) -> None:
        """The caller lost a picture."""
        if isinstance(self._source, PictureTrack):
            self._source.request_keyframe()

    async def recv(self) -> VideoPacket | AudioPacket | av.AudioFrame:
        """The next packet of the call's track, at its due time.

        Raises:
            MediaStreamError: this end or the whole track was stopped.
        """
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            if self._awaits_keyframe:
                self.request_keyframe()
            data = await self._source.recv()
            self._awaits_keyframe = self._awaits_keyframe and not getattr(data, "is_keyframe", True)
            if not self._awaits_keyframe:
                return data
