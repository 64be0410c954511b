"""What every session uses and none owns. Built once by the server."""

from __future__ import annotations

from dataclasses import dataclass

from stream.avatars_catalogue import AvatarCatalogue
from stream.clock import Clock
from stream.metrics import Metrics
from stream.peer import IceConfig
from stream.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class SessionParts:
    """The server's shared parts; `max_viewers` is a session's."""

    scheduler: Scheduler
    catalogue: AvatarCatalogue
    clock: Clock
    metrics: Metrics
    ice: IceConfig
    max_viewers: int = 16
