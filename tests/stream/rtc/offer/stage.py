"""Who answers an offer without a server around: a peer, and tracks of a call in which nothing happens."""

from __future__ import annotations

import numpy as np

from stream.outbound.caller_track import CallerTrack
from stream.outbound.pacer import Pacer
from stream.outbound.tracks import VoiceTrack, picture_track
from stream.rtc.ice import IceConfig
from stream.rtc.peer import Codecs, Peer
from tests.fakes import FakeClock, FakeEngine


def quiet_peer(addresses: int = 1) -> Peer:
    """A peer that tells nobody what it meets, on so many addresses."""
    return Peer(IceConfig(["127.0.0.1"] * addresses), lambda state: None, lambda channel: None)


def quiet_tracks(codecs: Codecs) -> tuple[CallerTrack, CallerTrack]:
    """Voice and pictures for the negotiated codecs."""
    clock = FakeClock(50.0)
    pacer = Pacer(clock, 25, np.zeros((64, 64, 3), np.uint8))
    voice = VoiceTrack(pacer)
    voice.encode_for(codecs.audio)
    pictures = picture_track(pacer, clock, FakeEngine().spec, codecs.video)
    return CallerTrack(voice), CallerTrack(pictures)
