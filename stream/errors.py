"""What can go wrong on the live path, as one small tree.

    StreamError
    ├── SignalingError   an offer or a request to a session cannot be answered (4xx)
    ├── AdmissionError   the server takes no further session or viewer now (503)
    ├── EngineError      the engine failed or is not loaded
    └── MediaError       a picture or a sound cannot be read or written

Each carries a short `code` for programs, an HTTP `status`, and one plain sentence for people that says what
was expected, what came, and what to do.
"""

from __future__ import annotations


class StreamError(Exception):
    """Base of the tree.

    Args:
        code: machine-readable name, such as `bad_offer`.
        message: one plain sentence.
        status: HTTP status under which a client hears of it.
    """

    default_status = 500

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = self.default_status if status is None else status

    def as_json(self) -> dict[str, str]:
        """The body of the HTTP answer."""
        return {"error": self.code, "message": self.message}


class SignalingError(StreamError):
    """The request is wrong; nothing was started or changed."""

    default_status = 400


class AdmissionError(StreamError):
    """No room for another session or viewer, or not ready yet."""

    default_status = 503


class EngineError(StreamError):
    """The engine raised, or could not be loaded."""

    default_status = 500


class MediaError(StreamError):
    """A media file cannot be read or written."""

    default_status = 400


def unknown_session(session_id: str) -> SignalingError:
    """What to raise about a session that is not running (404)."""
    return SignalingError(
        "unknown_session",
        f"There is no session {session_id[:32]!r}; it may have ended. POST /offer starts one.",
        404,
    )
