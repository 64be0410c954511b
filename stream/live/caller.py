"""Who gives a face its sound and hears of it: the seam between a call and whatever carries it.

A WebRTC connection is one caller (`stream.rtc.caller`); a socket of samples or a room server are others. A call
keeps its face while its callers come and go, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from stream.engine.protocol import EngineSpec
from stream.live.slots import SlotFeed
from stream.media import Codecs, Heard

if TYPE_CHECKING:  # for callers that want packets; a face has none
    from stream.outbound.caller_track import CallerTrack
    from stream.outbound.fan_out import SharedTrack


class Showing(Protocol):
    """How far a face has come on its media timeline, for a caller that has its sound before it is due.

    Positions are samples at 48 kHz; see `stream.live.face.Face`, which is one.
    """

    @property
    def spec(self) -> EngineSpec: ...

    @property
    def is_drawn(self) -> bool: ...

    @property
    def is_showing(self) -> bool: ...

    @property
    def heard_samples(self) -> int: ...

    @property
    def shown_samples(self) -> int: ...

    def hasten(self) -> None: ...

    def keep_silence(self, keep: bool) -> None: ...


class Outlet(Protocol):
    """What leaves a call, as its caller may take it: encoded, or as raw slots."""

    @property
    def codecs(self) -> Codecs | None:
        """What the call has been negotiated in before; viewers already get it so. None for a new call."""
        ...

    @property
    def showing(self) -> Showing:
        """How far what was heard has been shown."""
        ...

    def tracks(self, codecs: Codecs) -> tuple[CallerTrack, CallerTrack]:
        """A voice and a picture track for a connection that pulls them, in that order.

        Raises:
            ValueError: a codec that is not ours.
        """
        ...

    def shared(self, codecs: Codecs) -> tuple[SharedTrack, SharedTrack]:
        """The call's packets, voice and pictures, beside whoever pulls them; to be stopped by the caller.

        Raises:
            ValueError: a codec that is not ours.
        """
        ...

    def slots(self) -> SlotFeed:
        """Pictures and voice unencoded, each slot when it is due; to be closed by the caller."""
        ...


class CallerListener(Protocol):
    """What a caller tells the call. Event loop only."""

    def greeting(self) -> Mapping[str, object]:
        """The fields of `hello`, for a caller that can be told something from now on."""
        ...

    def on_message(self, kind: str, fields: Mapping[str, Any]) -> None:
        """The caller said something; see docs/protocol.md. May raise `ValueError` on nonsense."""
        ...


class Caller(Protocol):
    """See the module's docstring. Event loop only. `close` may be called at any time, and more than once."""

    @property
    def takes_voice(self) -> bool:
        """Whether it pulls the voice track; else the call keeps the voice going by itself."""
        ...

    @property
    def takes_pictures(self) -> bool:
        """Whether it pulls the picture track."""
        ...

    async def open(self, outlet: Outlet, listener: CallerListener) -> None:
        """Agree on what it takes of the outlet; nothing flows before `connected`.

        Raises:
            StreamError: it cannot be served; the caller is to be closed.
        """
        ...

    async def connected(self) -> None:
        """Return once sound may come; never, if it does not connect (`gone` then says why)."""
        ...

    async def feed(self, hear: Callable[[Heard], None]) -> None:
        """Give all that it hears to `hear`, until cancelled: gapless, at its pace, silence where it is silent."""
        ...

    async def gone(self) -> str:
        """Return once it has gone, with the reason in a word."""
        ...

    def leave(self, reason: str) -> None:
        """Let it be gone: `gone` returns; the first reason counts."""
        ...

    async def network(self) -> tuple[float, float | None] | None:
        """What its network carries: (fraction lost, round-trip seconds or None); None where it does not say."""
        ...

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Say something to it; lost if it cannot hear."""
        ...

    async def close(self) -> None:
        """End the connection and free everything it holds."""
        ...
