"""How a server is set up, checked once at its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernels.machine import ROOT

WEB_CLIENT = ROOT / "web_client"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Attributes:
    avatars: folder of faces; see `stream.avatars.avatar_folder`.
    host: where the server listens; decides whether loopback is offered for media.
    max_sessions: seats.
    max_viewers: viewers of each session at a time; 0 allows none.
    grace_s: time for which a call waits for its caller to come back.
    ice_addresses: local addresses for media; None finds them.
    ice_servers: (url, user name or None, password or None), for the server and its pages; none by default.
    public_addresses: under which a 1:1 NAT hands on to this machine.
    web_client: folder of the page.
    more_avatars: folders whose faces are offered after those.
    own_avatars: folder of avatars of one's own, offered last, as it is at any time; None for none.
    uploads: whether pictures are taken over the network; None takes them from this machine alone.
    """

    avatars: Path
    host: str = "127.0.0.1"
    max_sessions: int = 2
    max_viewers: int = 16
    grace_s: float = 60.0
    ice_addresses: Sequence[str] | None = None
    ice_servers: Sequence[tuple[str, str | None, str | None]] = field(default_factory=tuple)
    public_addresses: Sequence[str] = ()
    web_client: Path = WEB_CLIENT
    more_avatars: Sequence[Path] = ()
    own_avatars: Path | None = None
    uploads: bool | None = None

    def __post_init__(self) -> None:
        if self.max_viewers < 0:
            raise ValueError(f"Expected --max-viewers of at least 0, got {self.max_viewers}.")
