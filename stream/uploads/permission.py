"""Who may give this server pictures. Pure.

In: how the server was started, and a request's headers. Out: nothing, or a refusal. Pictures are taken where the
operator said so (`--uploads`), else from this very machine alone. A web page of another origin never may, though
a browser would send its form without asking.

Source: Fetch Metadata Request Headers (W3C, `Sec-Fetch-Site`), RFC 6454 section 7 (`Origin`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from stream.errors import SignalingError

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""What a proxy adds: whoever it speaks for is elsewhere."""


@dataclass(frozen=True, slots=True)
class UploadRule:
    """Attributes:
    wanted: `--uploads` or `--no-uploads`; None takes pictures from this machine alone.
    host: where the server listens.
    place: whether there is a folder to keep them in.
    """

    wanted: bool | None
    host: str
    place: bool

    def allows(self, request: Request) -> bool:
        """Whether who asks may give pictures, other origins aside."""
        if not self.place or self.wanted is False:
            return False
        return self.wanted is True or (is_loopback(self.host) and _is_from_here(request))

    def check(self, request: Request) -> None:
        """Hold a request to the rule.

        Raises:
            SignalingError: pictures are not taken, or not from there (403).
        """
        if not self.allows(request):
            raise SignalingError(
                "uploads_off",
                "This server takes no pictures from there; use `fada avatar add`, or start it with --uploads.",
                403,
            )
        if not is_same_origin(request):
            raise SignalingError(
                "other_origin",
                "Expected a request of this server's own page, got one of another origin; open this server's page.",
                403,
            )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, which nobody else reaches."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_from_here(request: Request) -> bool:
    """Whether a request comes from this machine, by an address of it: a name may be a trick."""
    if any(name in request.headers for name in FORWARDED):
        return False
    client = request.client
    asked = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    return client is not None and is_loopback(client.host) and is_loopback(asked)


def is_same_origin(request: HTTPConnection) -> bool:
    """Whether no other page is behind a request; programs, which name no origin, may ask."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True
    return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""
