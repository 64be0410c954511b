"""What comes with an offer: the bodies of POST /offer and POST …/viewers as the values that the server takes. Pure.

In: bytes from anybody. Out: an `OfferRequest` or a viewer's SDP, or a `SignalingError` with one sentence. The SDP
itself is read later (`check.py`), once there is a place for who sent it.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream.engine.protocol import Controls
from stream.live.wish import Wish
from stream.rtc.offer.bodies import OfferBody, ViewerOfferBody, read_body


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """What a page asks for.

    `sdp` is as it came, `Peer.answer` checks it; the wish's controls meet the engine's ranges later. `resume` is
    the secret of a call that is to go on.
    """

    sdp: str
    wish: Wish
    resume: str | None


def parse_offer(body: bytes) -> OfferRequest:
    """Check the body of POST /offer.

    Raises:
        SignalingError: see `read_body`.
    """
    asked = read_body(body, OfferBody)
    controls = Controls(asked.audio_scale, asked.reference_scale)
    return OfferRequest(asked.sdp, Wish(asked.avatar, asked.seed or 0, controls), asked.resume)


def parse_viewer_offer(body: bytes) -> str:
    """Check the body of POST /sessions/ID/viewers.

    Returns:
        The SDP as it came; `Peer.answer_viewer` checks it.

    Raises:
        SignalingError: see `read_body`.
    """
    return read_body(body, ViewerOfferBody).sdp
