"""An SDP offer as text in sections, read line by line in one pass; pure.

In: SDP from anybody. Out: its sections with their attributes, and the same offer with what aiortc expects and the
standards let an offer leave out written in: a direction, a mid, the transport of a section that is bundled. Nothing
here looks at a line twice, so that a hostile text costs no more than its length.

Source: RFC 8866 (SDP), RFC 8843 (BUNDLE), RFC 8829 (JSEP).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from stream.media import Codecs
from stream.rtc.offer.candidates import is_candidate, kept

DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
VIDEO_OFFERED: Final = re.compile(r"^a=rtpmap:\d{1,3} (VP8|H264)/90000", re.IGNORECASE | re.MULTILINE)
TRANSPORT: Final = ("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "rtcp-mux")
"""Attributes that a bundle-only section may leave to the section whose transport it shares (RFC 8829, 5.2.1)."""


@dataclass(slots=True)
class Lines:
    """The lines of a section, or those before the first; in their order, without line ends."""

    lines: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        """Values of all attributes of a name; "" for one without."""
        bare, valued = f"a={name}", f"a={name}:"
        found = []
        for line in self.lines:
            if line.startswith(valued):
                found.append(line[len(valued) :])
            elif line == bare:
                found.append("")
        return found

    def has(self, name: str) -> bool:
        return bool(self.values(name))

    @property
    def direction(self) -> str | None:
        """The last direction named."""
        return next((line[2:] for line in reversed(self.lines) if line[2:] in DIRECTIONS), None)


@dataclass(slots=True)
class Section(Lines):
    """One medium: its m= line is the first of `lines`."""

    @property
    def kind(self) -> str:
        """audio, video, application, or whatever the line says."""
        return self.lines[0][2:].partition(" ")[0]

    @property
    def port(self) -> str:
        """The m= line's port, as it is written."""
        return self.lines[0].split(" ", 2)[1] if " " in self.lines[0] else ""

    @property
    def mid(self) -> str | None:
        """Its name in the offer; None where it has none."""
        return next(iter(self.values("mid")), None)


@dataclass(slots=True)
class OfferText:
    """An offer by its sections."""

    session: Lines
    sections: list[Section]

    @staticmethod
    def read(sdp: str) -> OfferText:
        """Cut an SDP into sections. Any text will do."""
        offer = OfferText(Lines(), [])
        for line in sdp.splitlines():
            if line.startswith("m="):
                offer.sections.append(Section([line]))
            else:
                (offer.sections[-1] if offer.sections else offer.session).lines.append(line)
        return offer

    def __str__(self) -> str:
        return "".join(f"{line}\r\n" for part in self.parts() for line in part.lines)

    def parts(self) -> Iterator[Lines]:
        yield self.session
        yield from self.sections

    @property
    def bundles(self) -> list[list[str]]:
        """The mids of each BUNDLE group, the one whose transport all share first."""
        groups = [value.split() for value in self.session.values("group")]
        return [group[1:] for group in groups if group[:1] == ["BUNDLE"]]

    def is_there(self, section: Section) -> bool:
        """Whether a section takes part in the call.

        One with port 0 was rejected (RFC 3264, 6), unless it is `bundle-only` and of a BUNDLE group: such a section
        has no port of its own and uses that of the group's first (RFC 8843, 7.2).
        """
        if section.port.strip("0"):
            return True
        return section.has("bundle-only") and any(section.mid in mids for mids in self.bundles)

    def complete(self) -> None:
        """Write in what the offer leaves out by the standards' leave: directions, mids, bundled transports."""
        default = self.session.direction or "sendrecv"
        used = {section.mid for section in self.sections}
        names = (name for name in map(str, range(2 * len(self.sections))) if name not in used)
        for section in self.sections:
            if section.direction is None:
                section.lines.append(f"a={default}")
            if section.mid is None:
                section.lines.append(f"a=mid:{next(names)}")
        by_mid = {section.mid: section for section in self.sections}
        for mids in self.bundles:
            if mids and mids[0] in by_mid:
                for member in (by_mid[mid] for mid in mids[1:] if mid in by_mid):
                    self._share(by_mid[mids[0]], member)

    def _share(self, first: Section, member: Section) -> None:
        for name in TRANSPORT:
            if member.has("bundle-only") and not member.has(name) and not self.session.has(name):
                member.lines.extend(line for line in first.lines if line.partition(":")[0] == f"a={name}")

    def thin_candidates(self) -> None:
        """Keep the candidates worth checking, see `candidates.kept`.

        The end-of-candidates mark goes where some were left out or none was there: more will be learnt from the
        peer's own checks, and aioice would close a connection that can have none.
        """
        lines = [line for part in self.parts() for line in part.lines if is_candidate(line)]
        usable = kept(lines)
        if not usable or usable != set(lines):
            for part in self.parts():
                part.lines = [
                    line
                    for line in part.lines
                    if line in usable or not line.startswith(("a=candidate:", "a=end-of-candidates"))
                ]


def codecs_for(sdp: str, usual: Codecs) -> Codecs:
    """The codecs in which a viewer's offer, not checked yet, can be served: the usual ones where it has them."""
    offered = [name.lower() for name in VIDEO_OFFERED.findall(sdp)]
    mine = usual.video.partition("/")[2].lower()
    return usual if not offered or mine in offered else replace(usual, video=f"video/{offered[0]}")


def as_offered(answer_sdp: str, offer_sdp: str) -> str:
    """An answer without the names and the group that its offer does not have (RFC 5888, 9.1; RFC 8843, 7.3).

    Args:
        answer_sdp: aiortc's, which names and bundles every section.
        offer_sdp: the offer as it came.
    """
    offer, answer = OfferText.read(offer_sdp), OfferText.read(answer_sdp)
    bundle = next(iter(offer.bundles), [])
    answer.session.lines = [
        line for line in answer.session.lines if bundle or not line.startswith("a=group:BUNDLE")
    ]
    answer.session.lines = [
        f"a=group:BUNDLE {' '.join(bundle)}" if line.startswith("a=group:BUNDLE") else line
        for line in answer.session.lines
    ]
    for asked, given in zip(offer.sections, answer.sections):
        if asked.mid is None:
            given.lines = [line for line in given.lines if not line.startswith("a=mid:")]
    return str(answer)
