"""Video encoders: rate, speed and key frames under our own control.

In: RGB pictures with their 90 kHz times. Out: packets that aiortc only cuts and sends. aiortc's own encoders start
at 0.5 or 1 Mb/s, cannot be told otherwise, and run after the track has handed its frame over, so that a slow encode
becomes skew. Here a frame is encoded before it is due and the packet is sent when it is.

`Vp8Encoder` and `H264Encoder` share one protocol; H.264 runs on NVENC where a card has it, else on x264. One call
at a time each; called on the event loop for small pictures, in an executor for large ones.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

import av
from av.error import FFmpegError
from av.video.frame import PictureType

from stream.media import UInt8Array

if TYPE_CHECKING:
    VideoPacket = av.Packet[av.VideoStream]
    VideoCodec = av.VideoCodecContext
else:
    VideoPacket = av.Packet
    VideoCodec = av.CodecContext

VIDEO_RATE_HZ = 90_000
VIDEO_TIME_BASE = Fraction(1, VIDEO_RATE_HZ)
VP8: Final = "video/vp8"
H264: Final = "video/h264"
VP8_SPEED: Final = "-8"
"""Fixed: a positive number lets libvpx spend what time a picture has. At 512² -8 took 4.6 ms in place of 5.9 at the
same rate and 40.6 dB; -16 took 4.2 and half a dB."""
KEYFRAME_EVERY_S = 10  # a lost key frame is asked for; this is the last resort


class Encoder(Protocol):
    """One picture in, one packet out."""

    name: str
    bit_rate: int

    def encode(self, image: UInt8Array, pts: int, keyframe: bool) -> VideoPacket | None:
        """Encode one picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            pts: 90 kHz.
            keyframe: force a complete picture.

        Returns:
            Its packet; None if the encoder left the frame out.
        """
        ...


class _AvEncoder:
    """What the codecs share: a codec context without delay, one thread, constant rate."""

    def __init__(
        self, codec: str, width: int, height: int, fps: int, bit_rate: int, options: dict[str, str]
    ) -> None:
        if width % 2 or height % 2:
            raise ValueError(f"4:2:0 video needs even sides, got {width}x{height}.")
        self.name, self.bit_rate = codec, bit_rate
        context = av.CodecContext.create(codec, "w")
        assert isinstance(context, av.VideoCodecContext)
        self._codec: VideoCodec = context
        context.width, context.height = width, height
        context.pix_fmt = "yuv420p"
        context.bit_rate = bit_rate
        context.time_base = VIDEO_TIME_BASE
        context.framerate = Fraction(fps, 1)
        context.gop_size = KEYFRAME_EVERY_S * fps
        context.max_b_frames = 0
        context.thread_count = 1
        context.options = options

    def encode(self, image: UInt8Array, pts: int, keyframe: bool) -> VideoPacket | None:
        """See `Encoder.encode`."""
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


class Vp8Encoder(_AvEncoder):
    """libvpx.

    Args:
        width, height: pixels, even.
        fps: frames a second, for the rate control.
        bit_rate: bits a second.

    Raises:
        ValueError: an odd side.
    """

    def __init__(self, width: int, height: int, fps: int, bit_rate: int) -> None:
        options = {
            "deadline": "realtime",
            "cpu-used": VP8_SPEED,
            "lag-in-frames": "0",
            "error-resilient": "default",
            "bufsize": str(bit_rate // 2),
            "minrate": str(bit_rate),
            "maxrate": str(bit_rate),
            "undershoot-pct": "100",
            "overshoot-pct": "15",
        }
        super().__init__("libvpx", width, height, fps, bit_rate, options)
        self._codec.qmin, self._codec.qmax = 4, 48


class H264Encoder(_AvEncoder):
    """NVENC where the machine has it, else x264; constrained baseline, as browsers negotiate it.

    Args and errors as for `Vp8Encoder`.
    """

    def __init__(self, width: int, height: int, fps: int, bit_rate: int) -> None:
        codec = h264_codec()
        super().__init__(codec, width, height, fps, bit_rate, h264_options(codec, bit_rate))


def h264_options(codec: str, bit_rate: int) -> dict[str, str]:
    """Options of an H.264 codec for live pictures: no delay, parameter sets at every key frame."""
    shared = {"profile": "baseline", "bufsize": str(bit_rate // 2), "maxrate": str(bit_rate)}
    if codec == "h264_nvenc":
        return {**shared, "preset": "p2", "tune": "ull", "rc": "cbr", "zerolatency": "1", "forced-idr": "1"}
    return {
        **shared,
        "preset": "superfast",
        "tune": "zerolatency",
        "x264-params": "repeat-headers=1:scenecut=0",
        "forced-idr": "1",
    }


@cache
def h264_codec() -> str:
    """The fastest H.264 codec that opens here: "h264_nvenc" or "libx264". Probed once."""
    try:
        probe = _AvEncoder("h264_nvenc", 256, 256, 25, 1_000_000, h264_options("h264_nvenc", 1_000_000))
        probe._codec.open()
    except (FFmpegError, ValueError):  # not built in, or no card that has it
        return "libx264"
    return "h264_nvenc"


def make_encoder(mime_type: str, width: int, height: int, fps: int, bit_rate: int) -> Encoder:
    """The encoder of a negotiated codec.

    Raises:
        ValueError: a codec that is not ours.
    """
    kinds: dict[str, type[Vp8Encoder | H264Encoder]] = {VP8: Vp8Encoder, H264: H264Encoder}
    kind = kinds.get(mime_type.lower())
    if kind is None:
        raise ValueError(f"Expected one of {', '.join(kinds)}, got '{mime_type}'.")
    return kind(width, height, fps, bit_rate)


def suitable_bit_rate(width: int, height: int, fps: int) -> int:
    """Bits a second for a talking head: 0.9 Mb/s at 256² and 25 fps, 2.7 at 512², 6 at most.

    Four times the pixels take three times the bits: larger pictures of a face are smoother ones.
    """
    pixels = (width * height / 256**2) ** 0.8 * fps / 25
    return int(min(6_000_000, max(300_000, 900_000 * pixels)))
