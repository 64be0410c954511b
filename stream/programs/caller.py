"""A caller that is a program: its sound as fast as it comes, told to the frame what of it was shown.

In: samples, ends and interruptions, whenever the program likes. Out: the face's sound at the face's pace, and
events: `started`, `played` (every 100 ms of what is shown), `drained`, `cleared`, and whatever else the call says
to its caller. A position counts the program's own samples from the beginning of their segment, up to the end of the
newest picture that has gone out. The backlog is bounded in seconds: `push` waits for room, `offer` refuses. Event
loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from stream.clock import Clock
from stream.errors import SignalingError, unknown_session
from stream.live.caller import CallerListener, Outlet
from stream.media import Codecs, Heard, Int16Array
from stream.outbound.fan_out import SharedTrack
from stream.programs.feeding import Feeding
from stream.programs.sound import SoundForm
from stream.programs.speech import Segment, Speech

MAX_BACKLOG_S: Final = 300.0
MAX_SEGMENTS: Final = 256
PLAYED_EVERY_MS: Final = 100.0

Events = Callable[[str, Mapping[str, object]], None]


class ProgramCaller:
    """See the module's docstring; a `stream.live.caller.Caller`.

    Args:
        clock: the time.
        form: of the samples.
        on_event: told everything, as a kind and its fields; must not raise.
        most_s: backlog beyond which no more is taken; what is taken last may go beyond it.
        codecs: in which it wants the call's packets itself; None leaves them to viewers.

    Attributes:
        tracks: voice and pictures in those codecs, once `open` has returned.
    """

    takes_voice = takes_pictures = False

    def __init__(
        self,
        clock: Clock,
        form: SoundForm,
        on_event: Events,
        most_s: float = MAX_BACKLOG_S,
        codecs: Codecs | None = None,
    ) -> None:
        self.form = form
        self.tracks: tuple[SharedTrack, SharedTrack] | None = None
        self._codecs = codecs
        self._clock = clock
        self._on_event = on_event
        self._most_s = most_s
        self._speech = Speech(form)
        self._outlet: Outlet | None = None
        self._listener: CallerListener | None = None
        self._feeding: Feeding | None = None
        self._room = asyncio.Event()
        self._reason = ""
        self._gone = asyncio.Event()

    # -- what the program does ----------------------------------------------------------------------------

    @property
    def backlog_s(self) -> float:
        """Seconds of sound that wait."""
        return self._speech.waiting_s

    async def push(self, pcm: Int16Array, label: Mapping[str, object] | None = None) -> None:
        """Say (n,) int16, once there is room for it; see `offer`.

        Raises:
            SignalingError: the call has ended.
        """
        while not self._has_room and not self._gone.is_set():
            self._room.clear()
            await self._room.wait()
        self.offer(pcm, label)

    def offer(self, pcm: Int16Array, label: Mapping[str, object] | None = None) -> None:
        """Say (n,) int16 at the program's rate, in the open segment or as the beginning of one.

        Args:
            pcm: samples; see `SoundForm.read`.
            label: fields that the segment's events shall carry, if it begins with this.

        Raises:
            SignalingError: `backlog_full`, too much waits and nothing was taken; or the call has ended.
        """
        if self._gone.is_set():
            raise unknown_session("")
        if not self._has_room:
            raise SignalingError(
                "backlog_full",
                f"Expected at most {self._most_s:g} s of sound to wait, got more; this message was not taken: send "
                "it again when `played` tells a smaller backlog_ms.",
                503,
            )
        if len(pcm):
            self._speech.push(pcm, label)

    def end(self) -> None:
        """The segment is complete; `drained` or `cleared` will tell of it.

        Raises:
            SignalingError: `backlog_full`, too many segments wait.
        """
        if len(self._speech.segments) >= MAX_SEGMENTS:
            raise SignalingError(
                "backlog_full",
                f"Expected at most {MAX_SEGMENTS} segments to wait, got more; wait for `drained`.",
                503,
            )
        self._speech.end()

    def clear(self) -> None:
        """Interrupt: silence at once, the mouth eases to rest, nothing that was said is left; see `cleared`."""
        self.say("clear", {})

    def say(self, kind: str, fields: Mapping[str, object]) -> None:
        """Send the call a message, such as `controls`; see docs/protocol.md.

        Raises:
            SignalingError: the call has ended, or has not begun.
        """
        if self._listener is None or self._gone.is_set():
            raise unknown_session("")
        self._listener.on_message(kind, fields)

    # -- what the call does -------------------------------------------------------------------------------

    async def open(self, outlet: Outlet, listener: CallerListener) -> None:
        """Take what the caller is given; nothing is refused."""
        self._outlet, self._listener = outlet, listener
        if self._codecs is not None:
            self.tracks = outlet.shared(self._codecs)
        self._on_event("hello", listener.greeting())

    async def connected(self) -> None:
        """At once."""

    async def feed(self, hear: Callable[[Heard], None]) -> None:
        """Give what is said, and silence, at the face's pace, until cancelled."""
        assert self._outlet is not None
        self._feeding = Feeding(self._clock, self._speech, self._outlet.showing, self._tell_shown)
        await self._feeding.run(hear)

    async def gone(self) -> str:
        """Return once the program has left."""
        await self._gone.wait()
        return self._reason

    def leave(self, reason: str) -> None:
        """Count as gone; the first reason counts."""
        if not self._gone.is_set():
            self._reason = reason
            self._gone.set()
            self._room.set()

    async def network(self) -> tuple[float, float | None] | None:
        """Nothing is known."""
        return None

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Hand on what the call says; of an interruption, also where it stopped."""
        if kind == "cleared":
            self._on_event(kind, {**self._stopped(), **fields})
        else:
            self._on_event(kind, fields)

    async def close(self) -> None:
        """Leave, and forget what was not shown."""
        self.leave("closed")
        self._speech.clear()
        for track in self.tracks or ():
            track.stop()

    # -- what is told -------------------------------------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        return self._speech.waiting_s < self._most_s

    def _tell_shown(self, moved: list[Segment]) -> None:
        for segment in moved:
            self._tell_of(segment)
        if self._has_room:
            self._room.set()

    def _tell_of(self, segment: Segment) -> None:
        named = {"segment": segment.index, **(segment.label or {})}
        if not segment.begun and segment.samples:
            segment.begun = True
            self._on_event("started", named)
        where = {**named, "samples": segment.shown_samples, "ms": segment.shown_ms}
        if segment.shown:
            self._on_event("drained", where)
        elif segment.shown_ms // PLAYED_EVERY_MS > segment.told_ms // PLAYED_EVERY_MS:
            segment.told_ms = segment.shown_ms
            self._on_event("played", {**where, "backlog_ms": round(1000 * self.backlog_s)})

    def _stopped(self) -> dict[str, object]:
        """Where an interruption stopped, and forget the rest; the face has been interrupted already."""
        if self._feeding is not None:
            self._feeding.note_shown()
            self._feeding.rest()
        dropped_s = self._speech.waiting_s
        stopped = self._speech.clear()
        if stopped is None:
            return {"segment": None, "samples": 0, "ms": 0.0, "dropped_ms": 0}
        return {
            "segment": stopped.index,
            **(stopped.label or {}),
            "samples": stopped.shown_samples,
            "ms": stopped.shown_ms,
            "dropped_ms": round(1000 * dropped_s),
        }
