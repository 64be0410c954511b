"""What every session uses and none owns. Built once by the server."""

from __future__ import annotations

from dataclasses import dataclass

from stream.avatars.catalogue import Avatar, AvatarCatalogue
from stream.calls.metrics import Metrics
from stream.clock import Clock
from stream.engine.admission import Pool
from stream.engine.controls import check_scales
from stream.errors import SignalingError
from stream.live.wish import Wish
from stream.rtc.ice import IceConfig


@dataclass(frozen=True, slots=True)
class SessionParts:
    """The server's shared parts.

    `max_viewers` is a session's, `grace_s` the time for which a call waits for its caller to come back.
    """

    pool: Pool
    catalogue: AvatarCatalogue
    clock: Clock
    metrics: Metrics
    ice: IceConfig
    max_viewers: int = 16
    grace_s: float = 60.0

    def named(self, wish: Wish) -> Avatar | None:
        """The avatar that a wish names, if any, and that the rest of it is fit for the engines.

        Raises:
            SignalingError: no such avatar (404), or a scale out of range (422).
        """
        try:
            check_scales(wish.controls, self.pool.spec)
        except ValueError as error:
            raise SignalingError("invalid_request", str(error), 422) from error
        return None if wish.avatar is None else self.catalogue.find(wish.avatar)
