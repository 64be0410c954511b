"""Decoding: any video file as pictures at 25 fps and sound at 16 kHz on one clock.

In: a path. Out: `Video` (what the file says of itself), an iterator of RGB pictures at 25 fps by time stamps, and
the sound from the first picture on. Media time 0 is the first picture's time stamp; sound that begins later is
preceded by zeros, sound that begins earlier is cut. Files are read twice (to look, then to cut), never kept whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from models.face import FPS, SAMPLE_RATE_HZ
from models.framing.finder import resize
from models.sound import DownMix, ffmpeg_url

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

DECODE_ERRORS = (av.FFmpegError, ValueError, OSError, EOFError, IndexError)
"""What PyAV raises on files that are damaged or are something else."""
MAX_GAP_S = 0.04
"""Sound whose time stamps jump by more than this is laid where they say, with silence between."""


class UnreadableVideoError(Exception):
    """A file is no video that can be prepared; the text says why."""


@dataclass(frozen=True, slots=True)
class Video:
    """What a file says of itself.

    Attributes:
        fps: mean pictures per second as stored.
        kbit_s: kilobits per second of its pictures, or of the whole file where it does not say; 0 unknown.
        sound_hz: sample rate of the sound as stored; 0 means that there is none.
    """

    path: Path
    width: int
    height: int
    fps: float
    seconds: float
    kbit_s: float
    codec: str
    sound_hz: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"Expected a picture size of at least 1x1, got {self.width}x{self.height}.")

    def figures(self) -> dict[str, float]:
        """What the grade of every clip looks at; what the file does not say is left out."""
        out = {"fps": self.fps} if self.fps else {}
        if self.fps and self.kbit_s:
            out["bits_per_pixel"] = 1e3 * self.kbit_s / (self.width * self.height * self.fps)
        return out


def probe_video(path: Path) -> Video:
    """Read a file's header.

    Raises:
        UnreadableVideoError: not a video, or damaged.
    """
    try:
        with av.open(ffmpeg_url(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise UnreadableVideoError("the file has no pictures")
            stream = container.streams.video[0]
            _check_decoder(stream, "video track")
            seconds = (container.duration or 0) / av.time_base
            sound = container.streams.audio[0] if container.streams.audio else None
            if sound is not None:
                _check_decoder(sound, "sound track")
            return Video(
                path,
                stream.width,
                stream.height,
                float(stream.average_rate or 0),
                seconds,
                (stream.bit_rate or 0) / 1e3 or (path.stat().st_size * 8e-3 / seconds if seconds else 0.0),
                stream.codec_context.name,
                int(sound.rate) if sound is not None else 0,
            )
    except DECODE_ERRORS as error:
        raise _unreadable(error) from error


def _check_decoder(stream: av.VideoStream | av.AudioStream, what: str) -> None:
    if stream.codec_context is None:  # the container names a codec that FFmpeg does not know
        raise UnreadableVideoError(f"its {what} has a codec that cannot be decoded here")


def _unreadable(error: Exception) -> UnreadableVideoError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnreadableVideoError(f"the file cannot be decoded ({str(reason).rstrip('.').lower()})")


def pictures(path: Path) -> Iterator[tuple[UInt8, float]]:
    """Pictures at 25 fps, each the stored one nearest in time, upright and with square pixels.

    Yields:
        ((H, W, 3) uint8 RGB, its distance in seconds from the moment it stands for).

    Raises:
        UnreadableVideoError: nothing could be decoded.
    """
    aspect = _pixel_aspect(path)
    before: tuple[float, av.VideoFrame] | None = None
    drawn: tuple[float, UInt8] | None = None
    index, first, gap = 0, 0.0, 0.0
    for time_s, frame in _timed_frames(path):
        if before is None:
            first = time_s
        else:
            gap = time_s - before[0]
        # a due moment belongs to the earlier picture until it is closer to the later one
        while before is not None and (due := first + index / FPS) <= (before[0] + time_s) / 2:
            if drawn is None or drawn[0] != before[0]:
                drawn = (before[0], _upright(before[1], aspect))
            yield drawn[1], abs(before[0] - due)
            index += 1
        before = (time_s, frame)
    if before is None:
        raise UnreadableVideoError("the file has no picture that can be decoded")
    stands_until = before[0] + gap / 2  # the last picture stands as long as the one before
    while (due := first + index / FPS) <= stands_until:
        yield _upright(before[1], aspect), abs(before[0] - due)
        index += 1


def _timed_frames(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """Decoded pictures with rising times; a damaged tail ends the video."""
    last = -np.inf
    try:
        with av.open(ffmpeg_url(path), metadata_errors="ignore") as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # one thread a file; `--workers` is what uses the cores
            for frame in container.decode(stream):
                if frame.time is not None and frame.time > last:
                    last = frame.time
                    yield frame.time, frame
    except DECODE_ERRORS as error:
        if last == -np.inf:
            raise _unreadable(error) from error


def _pixel_aspect(path: Path) -> float:
    """Width of a stored pixel over its height."""
    try:
        with av.open(ffmpeg_url(path), metadata_errors="ignore") as container:
            return float(container.streams.video[0].sample_aspect_ratio or 1)
    except DECODE_ERRORS as error:
        raise _unreadable(error) from error


def _upright(frame: av.VideoFrame, aspect: float) -> UInt8:
    image: UInt8 = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    if abs(aspect - 1) > 0.01:
        image = resize(image, max(1, round(image.shape[1] * aspect)), image.shape[0])
    return np.ascontiguousarray(_turned(image, _display_matrix(frame)))


def _display_matrix(frame: av.VideoFrame) -> tuple[float, float, float, float]:
    """(a, b, c, d): a stored point (x, y) is shown at (a x + c y, b x + d y); the identity where nothing is said.

    Source: ISO/IEC 14496-12, 8.3.2; FFmpeg's libavutil/display.h: nine 32-bit numbers, rows of three.
    """
    said: Any = frame.side_data.get("DISPLAYMATRIX")
    if said is None or said.buffer_size < 36:
        return 1.0, 0.0, 0.0, 1.0
    a, b, _, c, d, *_ = np.frombuffer(said, np.int32)[:9] / 65_536
    return float(a), float(b), float(c), float(d)


def _turned(image: UInt8, matrix: tuple[float, float, float, float]) -> UInt8:
    """Turned by the nearest number of quarters; mirrored too where the matrix's determinant is negative."""
    a, b, c, d = matrix
    if a * d - b * c < 0:  # mirror left and right first, which leaves a turn
        image, a, b = image[:, ::-1], -a, -b
    quarters = round(np.degrees(np.arctan2(b - c, a + d)) / 90)  # clockwise as seen
    return np.asarray(np.rot90(image, -quarters))


def sound(path: Path) -> Floats:
    """The first sound track, mono at 16 kHz in [-1, 1], from the time of the first picture on.

    Returns:
        (N,) samples; empty when the file has no sound.

    Raises:
        UnreadableVideoError: the sound cannot be decoded.
    """
    first, _ = next(_timed_frames(path), (0.0, None))
    pieces: list[tuple[float, Floats]] = []
    try:
        with av.open(ffmpeg_url(path), metadata_errors="ignore") as container:
            if not container.streams.audio:
                return np.zeros(0, np.float32)
            pieces = _resampled(container)
    except DECODE_ERRORS as error:
        raise _unreadable(error) from error
    out = np.zeros(
        max((round((at - first) * SAMPLE_RATE_HZ) + len(p) for at, p in pieces), default=0), np.float32
    )
    for at, piece in pieces:
        begin = round((at - first) * SAMPLE_RATE_HZ)
        kept = piece[max(-begin, 0) :]
        out[max(begin, 0) : max(begin, 0) + len(kept)] = kept
    return np.clip(np.nan_to_num(out), -1.0, 1.0)


def _resampled(container: av.container.InputContainer) -> list[tuple[float, Floats]]:
    """Runs of sound without gaps: (start in seconds, samples at 16 kHz)."""
    runs: list[tuple[float, Floats]] = []
    resampler, blocks, begin, end = _resampler(), list[Floats](), 0.0, -np.inf
    mix = DownMix(SAMPLE_RATE_HZ)
    for frame in container.decode(container.streams.audio[0]):
        at = frame.time if frame.time is not None else max(end, 0.0)
        if abs(at - end) > MAX_GAP_S:
            _close(runs, resampler, mix, blocks, begin)
            resampler, blocks, begin = _resampler(), [], at
            end = at
        end += frame.samples / frame.sample_rate
        frame.pts = None
        blocks.extend(mix.push(_floats(f)) for f in resampler.resample(frame))
    _close(runs, resampler, mix, blocks, begin)
    return runs


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE_HZ)


def _close(
    runs: list[tuple[float, Floats]],
    resampler: av.AudioResampler,
    mix: DownMix,
    blocks: list[Floats],
    begin: float,
) -> None:
    if blocks:
        blocks.extend(mix.push(_floats(f)) for f in resampler.resample(None))
        runs.append((begin, np.concatenate(blocks).astype(np.float32)))


def _floats(frame: av.AudioFrame) -> Floats:
    return frame.to_ndarray().astype(np.float32, copy=False)
