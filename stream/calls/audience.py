"""The viewers of one session: admits them, counts them, ends them with the session. Event loop only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from stream.calls.metrics import Metrics
from stream.calls.viewer import CALL_OVER, Viewer
from stream.clock import Clock
from stream.errors import AdmissionError, SignalingError, StreamError, unknown_session
from stream.media import Codecs
from stream.outbound.tracks import PictureTrack, VoiceTrack
from stream.rtc.ice import IceConfig

logger = logging.getLogger(__name__)


class Audience:
    """All viewers of one session; each runs as a task of its own, which can fail without harm to anybody else.

    Args:
        watch_id: the session's, for what viewers are told.
        limit: viewers at a time, those still connecting included.
        ice: see `IceConfig`.
        clock: the time.
        metrics: the server's.
    """

    def __init__(self, watch_id: str, limit: int, ice: IceConfig, clock: Clock, metrics: Metrics) -> None:
        self._watch_id = watch_id
        self._limit = limit
        self._ice = ice
        self._clock = clock
        self._metrics = metrics
        self._viewers: dict[str, Viewer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def __len__(self) -> int:
        """Viewers, those still connecting included."""
        return len(self._viewers)

    async def admit(
        self, sdp: str, codecs: Codecs, voice: VoiceTrack, pictures: PictureTrack
    ) -> dict[str, str]:
        """Answer a viewer's offer and let it watch.

        Args:
            sdp: the checked offer.
            codecs: what the call was negotiated in.
            voice, pictures: the session's tracks.

        Returns:
            {"sdp", "type", "viewer_id"}.

        Raises:
            AdmissionError: `viewers_full`, all places are taken.
            SignalingError: the session has ended, or the offer does not fit it. Nothing is left of the viewer.
        """
        if self._closed:
            raise unknown_session(self._watch_id)
        if len(self._viewers) >= self._limit:
            raise AdmissionError(
                "viewers_full",
                f"All {self._limit} viewers' places of this session are taken; wait until a viewer leaves, or "
                "start the server with a larger --max-viewers.",
            )
        viewer = Viewer(self._ice, self._clock)
        self._viewers[viewer.id] = viewer
        self._metrics.viewers.inc()
        try:
            answer = await viewer.answer(sdp, codecs, voice, pictures)
            if self._closed:
                raise unknown_session(self._watch_id)
        except BaseException as error:
            viewer.end(error.code if isinstance(error, StreamError) else "internal")
            await self._run(viewer)
            raise
        self._tasks[viewer.id] = asyncio.create_task(self._run(viewer), name=f"viewer-{viewer.id}")
        return answer

    async def remove(self, viewer_id: str) -> None:
        """End one viewer and wait until it is gone.

        Raises:
            SignalingError: there is none of that id (404).
        """
        if viewer_id not in self._tasks:
            raise SignalingError(
                "unknown_viewer", f"There is no viewer {viewer_id[:32]!r}; it may have left already.", 404
            )
        await self._end([viewer_id], "removed")

    def dismiss(self, reason: str) -> None:
        """Let those who watch now go, without waiting for it; others may come."""
        for viewer in self._viewers.values():
            viewer.end(reason)

    async def close(self, *, over: bool = False) -> None:
        """End all viewers and wait until they are gone. Later ones are refused.

        Args:
            over: the caller ended the call for good: viewers are told, and need not ask again.
        """
        self._closed = True
        await self._end(self._viewers, CALL_OVER if over else "session_ended")

    async def _end(self, ids: Iterable[str], reason: str) -> None:
        chosen = list(ids)
        for viewer_id in chosen:
            self._viewers[viewer_id].end(reason)
        await asyncio.gather(*(self._tasks[viewer_id] for viewer_id in chosen if viewer_id in self._tasks))

    async def _run(self, viewer: Viewer) -> None:
        """Run one viewer, and forget it whatever happened."""
        try:
            await viewer.run()
        except Exception:
            logger.exception("viewer %s failed", viewer.id)
        finally:
            del self._viewers[viewer.id]
            self._tasks.pop(viewer.id, None)
            self._metrics.viewers.dec()
            self._metrics.viewers_closed.labels(viewer.reason).inc()
