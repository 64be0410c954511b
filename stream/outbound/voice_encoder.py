"""Opus under our own control: mono, little delay, encoded at its due time and not some time after it.

In: 10 ms of the voice. Out: a packet that aiortc only sends. aiortc's own encoder runs in a thread after the track
has handed its samples over, so that the sender reports, from which browsers align picture and voice, tell a voice
that is late by the wait for that thread; it spends 96 kb/s on two equal channels and delays by 6.5 ms. This one
delays by 2.5 ms, which `VOICE_LEAD_S` makes up for. Event loop only; a packet takes about
a tenth of a millisecond.

Source: RFC 6716, section 2 (restricted low delay: CELT alone); RFC 7587, section 4 (48 kHz RTP clock).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av

from stream.media import PACKET_SAMPLES, RATE_HZ, Int16Array

if TYPE_CHECKING:
    AudioPacket = av.Packet[av.AudioStream]
else:
    AudioPacket = av.Packet

OPUS: Final = "audio/opus"
BIT_RATE: Final = 56_000
DELAY_S: Final = 0.0025  # of the decoded sound against the encoded one, in this mode
TIME_BASE: Final = Fraction(1, RATE_HZ)


class OpusEncoder:
    """One stream of 10 ms packets."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.sample_rate = RATE_HZ
        codec.layout = "mono"
        codec.format = "s16"
        codec.bit_rate = BIT_RATE
        codec.time_base = TIME_BASE
        codec.options = {"application": "lowdelay", "frame_duration": str(1000 * PACKET_SAMPLES // RATE_HZ)}
        self._codec = codec

    def encode(self, pcm: Int16Array, position: int) -> AudioPacket:
        """Encode (480,) int16 at 48 kHz.

        Args:
            pcm: 10 ms.
            position: of its first sample in the outgoing stream; becomes the packet's time.
        """
        packets = self._codec.encode(voice_frame(pcm, position))
        if len(packets) != 1:
            raise ValueError(
                f"Expected {PACKET_SAMPLES} samples, one packet's, got {len(pcm)} and {len(packets)} packets."
            )
        packet = packets[0]
        packet.pts = position
        packet.time_base = TIME_BASE
        return packet


def voice_frame(pcm: Int16Array, position: int) -> av.AudioFrame:
    """(n,) int16 mono at 48 kHz as a frame."""
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    frame.pts = position
    frame.time_base = TIME_BASE
    return frame
