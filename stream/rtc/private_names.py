"""aiortc's names with two underscores, reached through one door that says which one a release has moved.

Names with one underscore are written out where they are used; all of them, and these, are held to aiortc's source
by `tests/stream/rtc/test_private_names.py`.
"""

from __future__ import annotations

from typing import Any, Final

import aiortc

CERTIFICATES: Final = "_RTCPeerConnection__certificates"
JITTER_BUFFER: Final = "_RTCRtpReceiver__jitter_buffer"
HEADER_EXTENSIONS_MAP: Final = "_RTCRtpSender__rtp_header_extensions_map"


class MovedNameError(RuntimeError):
    """This aiortc keeps something elsewhere than those that the server was made for."""


def read_private(owner: object, name: str) -> Any:
    """The attribute of that name.

    Raises:
        MovedNameError: there is none.
    """
    if not hasattr(owner, name):
        raise MovedNameError(
            f"aiortc {aiortc.__version__} has no {name} in {type(owner).__name__}; install a version within the "
            "bounds of pyproject.toml."
        )
    return getattr(owner, name)


def replace_private(owner: object, name: str, value: object) -> None:
    """Put something else where aiortc keeps its own.

    Raises:
        MovedNameError: aiortc keeps nothing there.
    """
    read_private(owner, name)
    setattr(owner, name, value)
