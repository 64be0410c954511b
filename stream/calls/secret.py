"""What a call is known by: a secret that lets its caller come back, and a watch id made of it that allows looking.

The watch id is a hash of the secret, so that a link to watch outlives even a server that has forgotten the call.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from stream.rtc.offer.bodies import RESUME_FORM

WATCH_ID_DIGITS: Final = 16


def new_secret() -> str:
    """128 random bits, as 22 characters."""
    return secrets.token_urlsafe(16)


def is_secret(text: str) -> bool:
    """Whether a call could be known by this."""
    return re.fullmatch(RESUME_FORM, text) is not None


def watch_id_of(secret: str) -> str:
    """The id under which others may watch the call of that secret."""
    return hashlib.sha256(f"fada watch {secret}".encode()).hexdigest()[:WATCH_ID_DIGITS]
