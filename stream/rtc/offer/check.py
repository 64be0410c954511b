"""What an SDP offer must be before anything is built for it.

In: SDP from anybody. Out: the offer, completed and cleaned for aiortc, or a `SignalingError` with one sentence.
Bounds are checked on the text, in one pass over it, before aiortc's parser sees it: that parser raises whatever its
lines of code happen to raise on a broken offer, and looks through what it has read already at every further line.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiortc.sdp import MediaDescription, SessionDescription

from stream.errors import SignalingError
from stream.rtc.offer.text import Lines, OfferText, Section

MAX_LINES: Final = 1500
MAX_LINE_CHARS: Final = 2048
MAX_SECTIONS: Final = 6
MAX_ATTRIBUTES: Final = {
    "candidate": 64,
    "extmap": 64,
    "fingerprint": 8,
    "fmtp": 128,
    "group": 8,
    "rtcp-fb": 512,
    "rtpmap": 128,
    "sctpmap": 8,
    "ssrc": 128,
    "ssrc-group": 32,
}
"""Lines of a section that aiortc looks through again at others, or builds something for; browsers send half."""
MAX_FEEDBACK: Final = 1024  # of all codecs of a section, each counted with what is asked of all ("*")
CHECK_WITHIN_S: Final = 2.0
KINDS: Final = ("audio", "video", "application")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one medium of an offer must be: directions, and the sentences if it is not."""

    directions: tuple[str, ...]
    absent: str
    misdirected: str


_LOOKS: Final = Wanted(
    ("sendrecv", "recvonly"),
    'The offer has no video; add a "recvonly" video transceiver.',
    'The offer takes no video; its video must be "recvonly" or "sendrecv".',
)
CALLER: Final = {
    "audio": Wanted(
        ("sendrecv", "sendonly"),
        "The offer has no audio; add the microphone's track before the offer.",
        'The offer sends no audio; its audio must be "sendrecv" or "sendonly".',
    ),
    "video": _LOOKS,
}
VIEWER: Final = {
    "audio": Wanted(
        ("sendrecv", "recvonly"),
        'The offer has no audio; add a "recvonly" audio transceiver.',
        'The offer takes no audio; its audio must be "recvonly".',
    ),
    "video": _LOOKS,
}
SENDER: Final = {"audio": CALLER["audio"]}
"""Who gives sound and takes nothing; whatever video it has is refused."""


async def check_aside(sdp: str, wanted: Mapping[str, Wanted]) -> str:
    """`check_sdp` beside the event loop, and for so long only.

    Raises:
        SignalingError: as `check_sdp`, and `bad_offer` for an offer that takes longer than `CHECK_WITHIN_S`.
    """
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            return await asyncio.to_thread(check_sdp, sdp, wanted)
    except TimeoutError:
        raise _bad(f"The SDP took longer than {CHECK_WITHIN_S:g} s to read; send a shorter one.") from None


def check_sdp(sdp: str, wanted: Mapping[str, Wanted]) -> str:
    """Check that an offer has what a call needs and nothing beyond reason.

    Args:
        sdp: the offer.
        wanted: `CALLER`, `VIEWER` or `SENDER`.

    Returns:
        The offer for aiortc: see `OfferText.complete` and `OfferText.thin_candidates`.

    Raises:
        SignalingError: `bad_offer`, `no_audio` or `no_video`.
    """
    _check_length(sdp.splitlines())
    offer = OfferText.read(sdp)
    _check_bounds(offer)
    _check_names(offer)
    offer.complete()
    offer.thin_candidates()
    completed = str(offer)
    try:
        description = SessionDescription.parse(completed)
    except Exception as error:  # the parser asserts, indexes and splits its way through a stranger's text
        raise _bad(f"The SDP cannot be read ({oneline(error)}); send a WebRTC offer.") from error
    _check_sections(offer, wanted)
    for media in description.media:
        _check_transport(media)
        if media.kind == "application" and "DTLS/SCTP" in media.profile and media.sctp_port is None:
            _check_legacy_channel(media)
    return completed


def _check_length(lines: Sequence[str]) -> None:
    if len(lines) > MAX_LINES:
        raise _bad(f"Expected at most {MAX_LINES} lines in the SDP, got {len(lines)}.")
    longest = max(map(len, lines), default=0)
    if longest > MAX_LINE_CHARS:
        raise _bad(f"Expected lines of at most {MAX_LINE_CHARS} characters in the SDP, got one of {longest}.")


def _check_bounds(offer: OfferText) -> None:
    if not offer.sections:
        raise _bad("The SDP has no media sections; send a WebRTC offer with audio and video.")
    if len(offer.sections) > MAX_SECTIONS:
        raise _bad(f"Expected at most {MAX_SECTIONS} media sections in the SDP, got {len(offer.sections)}.")
    for part in offer.parts():
        _check_counts(part)


def _check_counts(part: Lines) -> None:
    names = Counter(line[2:].partition(":")[0] for line in part.lines if line.startswith("a="))
    for name, most in MAX_ATTRIBUTES.items():
        if names[name] > most:
            raise _bad(f"Expected at most {most} lines a={name} in a section of the SDP, got {names[name]}.")
    codecs = Counter(_payload_type(value) for value in part.values("rtpmap"))
    if any(count > 1 for count in codecs.values()):
        raise _bad("Expected one a=rtpmap line for each payload type in the SDP, got two for one.")
    feedback = Counter(value.partition(" ")[0] for value in part.values("rtcp-fb"))
    asked = feedback["*"] * len(codecs) + sum(feedback.values())
    if asked > MAX_FEEDBACK:
        raise _bad(f"Expected at most {MAX_FEEDBACK} kinds of feedback for a section's codecs, got {asked}.")


def _payload_type(value: str) -> int | str:
    """The number before the first space, as aiortc reads it; the text where that is none."""
    text = value.partition(" ")[0]
    try:
        return int(text)
    except ValueError:
        return text


def _check_names(offer: OfferText) -> None:
    """Each section at most one mid, each mid one section, and one BUNDLE group of mids that are there."""
    names: set[str] = set()
    for section in offer.sections:
        mids = section.values("mid")
        if len(mids) > 1 or any(not mid or mid.split() != [mid] for mid in mids):
            raise _bad("Expected one name of one word in each a=mid line of the SDP, one line a section.")
        if names.intersection(mids):
            raise _bad(f"Two sections of the SDP have the a=mid {mids[0][:16]!r}; give each its own.")
        names.update(mids)
    if len(offer.bundles) > 1:
        raise _bad(f"Expected at most one BUNDLE group in the SDP, got {len(offer.bundles)}.")
    for mid in (mid for mids in offer.bundles for mid in mids):
        if mid not in names:
            raise _bad(f"The BUNDLE group names {mid[:16]!r}, and no section of the SDP has that a=mid.")


def _check_sections(offer: OfferText, wanted: Mapping[str, Wanted]) -> None:
    sections: dict[str, list[Section]] = {kind: [] for kind in KINDS}
    for section in offer.sections:
        if section.kind not in sections:
            raise _bad("Expected only audio, video and application sections in the SDP.")
        sections[section.kind].append(section)
    for kind in wanted:
        if not any(offer.is_there(section) for section in sections[kind]):
            raise SignalingError(f"no_{kind}", wanted[kind].absent)
    for kind, found in sections.items():
        if len(found) > 1:
            raise _bad(f"Expected one {kind} section, got {len(found)}.")
        if found and not offer.is_there(found[0]):
            raise _bad(
                f"The {kind} section has port 0, which rejects it; leave it out, or mark it a=bundle-only and name "
                "its a=mid in the BUNDLE group."
            )
    for kind, want in wanted.items():
        if sections[kind][0].direction not in want.directions:
            raise SignalingError(f"no_{kind}", want.misdirected)


def _check_transport(media: MediaDescription) -> None:
    if media.dtls is None or not media.dtls.fingerprints:
        raise _bad("The offer has no DTLS fingerprint; WebRTC needs one.")
    if media.ice is None or not media.ice.usernameFragment or not media.ice.password:
        raise _bad("The offer has no ICE user name and password; WebRTC needs them.")


def _check_legacy_channel(media: MediaDescription) -> None:
    """A data channel without a=sctp-port names its port in the m= line, as browsers once did."""
    if media.profile != "DTLS/SCTP" or not str(media.fmt[0]).isdigit():
        raise _bad("The data channel's section has no a=sctp-port; add the port.")


def _bad(sentence: str) -> SignalingError:
    return SignalingError("bad_offer", sentence)


def oneline(error: BaseException) -> str:
    """An exception's text for the middle of a sentence."""
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
