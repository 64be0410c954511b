"""aiortc's and aioice's private names that we use: each is where it was, and aiortc itself still goes by it.

A release that moves one fails here with the name; `pyproject.toml` keeps such a release away until the server has
been read against it.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import aioice.ice
import aiortc.rtcdtlstransport
import aiortc.rtcpeerconnection
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcrtptransceiver
import pytest
from aioice import Candidate, Connection
from aiortc import RTCCertificate, RTCPeerConnection, RTCRtpSender
from aiortc.rtp import RtpPacket

from stream.rtc.private_names import (
    CERTIFICATES,
    HEADER_EXTENSIONS_MAP,
    JITTER_BUFFER,
    MovedNameError,
    read_private,
    replace_private,
)

ROOT: Final = Path(__file__).resolve().parents[3]
RTC: Final = ROOT / "stream" / "rtc"


def audio(peer: RTCPeerConnection) -> Any:
    return peer.addTransceiver("audio")


def candidate() -> Candidate:
    return Candidate("1", 1, "udp", 1, "127.0.0.1", 9, "host")


USED: Final[dict[str, tuple[Callable[[RTCPeerConnection], object], Any]]] = {
    # name: (an object that has it, the module whose code must go by it)
    CERTIFICATES: (lambda peer: peer, aiortc.rtcpeerconnection),
    JITTER_BUFFER: (lambda peer: audio(peer).receiver, aiortc.rtcrtpreceiver),
    HEADER_EXTENSIONS_MAP: (lambda peer: audio(peer).sender, aiortc.rtcrtpsender),
    "_create_ssl_context": (lambda peer: RTCCertificate.generateCertificate(), aiortc.rtcdtlstransport),
    "_codecs": (audio, aiortc.rtcpeerconnection),
    "_headerExtensions": (audio, aiortc.rtcpeerconnection),
    "_stream_id": (lambda peer: audio(peer).sender, aiortc.rtcpeerconnection),
    "_send_keyframe": (lambda peer: RTCRtpSender("video", audio(peer).sender.transport), aiortc.rtcrtpsender),
    "_send_rtcp": (lambda peer: audio(peer).sender, aiortc.rtcrtpsender),
    "_handle_rtp_packet": (lambda peer: audio(peer).receiver, aiortc.rtcdtlstransport),
    "_connection": (lambda peer: audio(peer).sender.transport.transport, aiortc.rtcpeerconnection),
    "_protocols": (lambda peer: Connection(ice_controlling=False), aioice.ice),
    "_remote_candidates": (lambda peer: Connection(ice_controlling=False), aioice.ice),
    "_network_host": (lambda peer: candidate(), aioice.ice),
}
SET_BY_AIORTC: Final = {"_data": aiortc.rtcrtpreceiver}
"""Names that an object gets on its way: a packet's depayloaded data."""
UNDERLINED_NOWHERE: Final = {"get_component_candidates", "data_received", "datagram_received"}
"""Public names of aioice that its documentation leaves out, and that we replace on the instance."""


def names_used() -> set[str]:
    """Underlined attributes of other objects, in the source of stream/rtc."""
    found = set()
    for path in RTC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
                found |= set() if ast.unparse(node.value) in ("self", "cls") else {node.attr}
            if isinstance(node, ast.Constant) and re.fullmatch(r"_RTC\w+__\w+", str(node.value)):
                found.add(node.value)
    return found


def test_every_private_name_in_use_is_tried_here() -> None:
    assert names_used() == {*USED, *SET_BY_AIORTC}


@pytest.mark.parametrize("name", USED)
async def test_a_private_name_is_where_we_look_for_it(name: str) -> None:
    peer = RTCPeerConnection()
    owner_of, module = USED[name]
    owner = owner_of(peer)
    assert hasattr(owner, name), f"this release has moved {name} away from {type(owner).__name__}"
    assert reads(module, name), f"{module.__name__} no longer goes by {name}, so replacing it does nothing"
    await peer.close()


@pytest.mark.parametrize("name", SET_BY_AIORTC)
def test_a_private_name_is_set_where_it_was(name: str) -> None:
    assert f".{name} = " in inspect.getsource(SET_BY_AIORTC[name]), f"this release sets no {name}"
    assert not hasattr(RtpPacket(), name), f"{name} may now be read another way"


@pytest.mark.parametrize("name", UNDERLINED_NOWHERE)
def test_an_undocumented_name_is_where_we_look_for_it(name: str) -> None:
    owner = aioice.ice.StunProtocol if name == "datagram_received" else Connection
    assert callable(getattr(owner, name, None)), f"this release has moved {name} away from {owner.__name__}"
    assert name == "datagram_received" or reads(aioice.ice, name)


def reads(module: Any, name: str) -> bool:
    """Whether a module's code takes the attribute from an object, by its plain or its mangled name."""
    plain = re.sub(r"^_RTC\w+?(__)", r"\1", name)
    return bool(re.search(rf"\.{plain}\b", inspect.getsource(module)))


def test_a_moved_name_is_told() -> None:
    with pytest.raises(MovedNameError, match="has no _RTCRtpReceiver__jitter_buffer in object"):
        replace_private(object(), JITTER_BUFFER, 1)
    with pytest.raises(MovedNameError, match=re.escape(version("aiortc"))):
        read_private(object(), CERTIFICATES)


@pytest.mark.parametrize("package", ["aiortc", "aioice"])
def test_releases_that_were_not_read_are_kept_away(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [bounds] = [line for line in project["dependencies"] if line.startswith(package)]
    assert re.fullmatch(rf"{package}>=[\d.]+,<[\d.]+", bounds), f"{bounds} has no upper bound"
