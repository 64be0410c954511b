"""VP8 for one viewer: rate, speed and key frames under our own control.

aiortc's encoder starts at 0.5 Mb/s, cannot be told otherwise, and runs after the track has handed its frame
over, so that a slow encode becomes skew. Here a frame is encoded before it is due and the packet is sent when
it is. Runs in an executor thread, one call at a time per session.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.video.frame import PictureType

from stream.engine_protocol import UInt8Array

if TYPE_CHECKING:
    VideoPacket = av.Packet[av.VideoStream]
else:
    VideoPacket = av.Packet

VIDEO_RATE_HZ = 90_000
VIDEO_TIME_BASE = Fraction(1, VIDEO_RATE_HZ)


class Vp8FrameEncoder:
    """RGB pictures in, VP8 packets out.

    Args:
        width, height: pixels, even.
        fps: frames a second, for the rate control.
        bit_rate: bits a second.
    """

    def __init__(self, width: int, height: int, fps: int, bit_rate: int) -> None:
        if width % 2 or height % 2:
            raise ValueError(f"VP8 in 4:2:0 needs even sides, got {width}x{height}")
        self._codec = av.CodecContext.create("libvpx", "w")
        self._codec.width = width
        self._codec.height = height
        self._codec.pix_fmt = "yuv420p"
        self._codec.bit_rate = bit_rate
        self._codec.time_base = VIDEO_TIME_BASE
        self._codec.framerate = Fraction(fps, 1)
        self._codec.gop_size = 10 * fps  # a lost key frame is asked for; this is the last resort
        self._codec.qmin = 4
        self._codec.qmax = 48
        self._codec.thread_count = 1
        self._codec.options = {
            "deadline": "realtime",
            "cpu-used": "5",
            "lag-in-frames": "0",
            "error-resilient": "default",
            "bufsize": str(bit_rate // 2),
            "minrate": str(bit_rate),
            "maxrate": str(bit_rate),
            "undershoot-pct": "100",
            "overshoot-pct": "15",
        }

    def encode(self, image: UInt8Array, pts: int, keyframe: bool) -> VideoPacket | None:
        """Encode one picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            pts: 90 kHz.
            keyframe: force a complete picture.

        Returns:
            Its packet; None if the encoder left the frame out.
        """
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts = pts
        frame.time_base = VIDEO_TIME_BASE
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = self._codec.encode(frame)
        if not packets:
            return None
        packet = packets[-1]
        packet.pts = pts
        packet.time_base = VIDEO_TIME_BASE
        return packet


def suitable_bit_rate(width: int, height: int, fps: int) -> int:
    """Bits a second for a talking head: 0.55 bits a pixel (0.9 Mb/s at 256², 25 fps), at most 3 Mb/s."""
    return int(min(3_000_000, max(300_000, 0.55 * width * height * fps)))
