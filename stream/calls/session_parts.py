"""What every session uses and none owns. Built once by the server."""

from __future__ import annotations

from dataclasses import dataclass

from stream.avatars.catalogue import AvatarCatalogue
from stream.calls.metrics import Metrics
from stream.clock import Clock
from stream.engine.scheduler import Scheduler
from stream.rtc.ice import IceConfig


@dataclass(frozen=True, slots=True)
class SessionParts:
    """The server's shared parts; `max_viewers` is a session's."""

    scheduler: Scheduler
    catalogue: AvatarCatalogue
    clock: Clock
    metrics: Metrics
    ice: IceConfig
    max_viewers: int = 16
