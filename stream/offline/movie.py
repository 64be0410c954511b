"""Writing the finished MP4: H.264 (or MPEG-4 where x264 is missing) and AAC, one frame and its sound at a
time.

The file appears under its own name only when it is complete: until then it is a temporary file beside it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt

from stream.errors import MediaError
from stream.media import UInt8Array
from stream.offline.sound_files import PLAYBACK_RATE_HZ

AAC_FRAME = 1024


class Movie:
    """A video file being written; use it as a context manager.

    Args:
        path: where the finished file goes.
        size: (width, height), even.
        fps: frames a second.
        sound: (channels, n) float32 at 48 kHz.

    Raises:
        MediaError: the folder cannot be written to.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int, sound: npt.NDArray[np.float32]) -> None:
        self._path = path
        self._size = size
        self._fps = fps
        self._sound = sound
        self._frames = 0
        self._sounded = 0

    def __enter__(self) -> Self:
        try:
            descriptor, name = tempfile.mkstemp(
                prefix=f".{self._path.name}.", suffix=".part", dir=self._path.parent
            )
        except OSError as error:
            raise cannot_write(self._path, error) from error
        os.close(descriptor)
        self._part = Path(name)
        try:
            self._open()
        except BaseException:
            self._part.unlink(missing_ok=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with contextlib.suppress(Exception):
                self._container.close()
            self._part.unlink(missing_ok=True)
            return
        try:
            self._add_sound(self._sound.shape[1])
            for stream in (self._video, self._audio):
                self._container.mux(stream.encode(None))
            self._container.close()
            os.chmod(self._part, 0o644)
            os.replace(self._part, self._path)
        except (OSError, av.FFmpegError) as failed:
            raise cannot_write(self._path, failed) from failed
        finally:
            self._part.unlink(missing_ok=True)

    def add(self, image: UInt8Array) -> None:
        """Append one frame, (H, W, 3) uint8 RGB, and the sound up to its end."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = self._frames
        frame.time_base = Fraction(1, self._fps)
        self._frames += 1
        try:
            self._container.mux(self._video.encode(frame))
            self._add_sound(self._frames * PLAYBACK_RATE_HZ // self._fps)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(self._path, error) from error

    def _open(self) -> None:
        self._container = av.open(str(self._part), mode="w", format="mp4", options={"movflags": "+faststart"})
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        video = self._container.add_stream(codec, rate=self._fps)
        assert isinstance(video, av.VideoStream)
        self._video = video
        video.width, video.height = self._size
        video.pix_fmt = "yuv420p"
        video.time_base = Fraction(1, self._fps)
        if codec == "libx264":
            video.options = {"preset": "fast", "crf": "17"}
        else:
            video.bit_rate = 4_000_000
        layout = "mono" if self._sound.shape[0] == 1 else "stereo"
        audio = self._container.add_stream("aac", rate=PLAYBACK_RATE_HZ, layout=layout)
        assert isinstance(audio, av.AudioStream)
        audio.bit_rate = 128_000 if layout == "mono" else 192_000
        self._audio = audio

    def _add_sound(self, until: int) -> None:
        while self._sounded < min(until, self._sound.shape[1]):
            block = np.ascontiguousarray(self._sound[:, self._sounded : self._sounded + AAC_FRAME])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._audio.layout.name)
            frame.sample_rate = PLAYBACK_RATE_HZ
            frame.pts = self._sounded
            frame.time_base = Fraction(1, PLAYBACK_RATE_HZ)
            self._sounded += block.shape[1]
            self._container.mux(self._audio.encode(frame))


def cannot_write(path: Path, error: Exception) -> MediaError:
    """The one sentence for an output that cannot be written."""
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError("cannot_write", f"The video {path} cannot be written: {str(reason).lower()}.")
