"""Writing the finished video: pictures and sound as they come, in the container that its name says.

MP4, MOV and MKV hold H.264 (MPEG-4 where x264 is missing) and AAC, WebM holds VP9 and Opus. Of pictures with
transparency WebM keeps it in VP9, MOV in ProRes 4444, as browsers and editors read it. The file appears
under its own name only when it is complete: until then it is a temporary file beside it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
import numpy.typing as npt

from models.sound import ffmpeg_url
from stream.errors import MediaError
from stream.media import UInt8Array
from stream.offline.sound_files import PLAYBACK_RATE_HZ

CONTAINERS: Final = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""FFmpeg's name of the container for each suffix that is written."""
WITH_ALPHA: Final = (".webm", ".mov")
"""Suffixes of containers in which transparency is kept."""


class Movie:
    """A video file being written; use it as a context manager.

    Args:
        path: where the finished file goes.
        size: (width, height), even.
        fps: frames a second.
        channels: of the sound, 1 or 2.
        quick: somebody waits for it and will look at it once: less work, a little less sharp.
        alpha: pictures say how much of each pixel is there, and the film keeps it.

    Raises:
        MediaError: the folder cannot be written to, or the name's suffix is of no container that is written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: int,
        channels: int,
        quick: bool = False,
        alpha: bool = False,
    ) -> None:
        self._path = path
        self._container_name = container_of(path)
        self._size, self._alpha = size, alpha
        self._fps = fps
        self._quick = quick
        self._layout = "mono" if channels == 1 else "stereo"
        self._frames = 0
        self._sounded = 0

    def __enter__(self) -> Self:
        try:
            # a name of its own: with the video's in it, it could be longer than names may be
            descriptor, name = tempfile.mkstemp(prefix=".fada-", suffix=".part", dir=self._path.parent)
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
        """Append one frame, (H, W, 3) uint8 RGB; with alpha (H, W, 4), the colours lying on white."""
        pixels, form = (off_white(image), "rgba") if self._alpha else (image, "rgb24")
        frame = av.VideoFrame.from_ndarray(pixels, format=form)
        frame.pts = self._frames
        frame.time_base = Fraction(1, self._fps)
        self._frames += 1
        try:
            self._container.mux(self._video.encode(frame))
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(self._path, error) from error

    def add_sound(self, sound: npt.NDArray[np.float32]) -> None:
        """Append sound, (channels, n) float32 at 48 kHz."""
        if not sound.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=self._layout)
        frame.sample_rate = PLAYBACK_RATE_HZ
        frame.pts = self._sounded
        frame.time_base = Fraction(1, PLAYBACK_RATE_HZ)
        self._sounded += sound.shape[1]
        try:
            self._container.mux(self._audio.encode(frame))
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(self._path, error) from error

    def _open(self) -> None:
        name = self._container_name
        options = {"movflags": "+faststart"} if name in ("mp4", "mov") else {}
        self._container = av.open(ffmpeg_url(self._part), mode="w", format=name, options=options)
        codec, form, settings = _video_codec(name, self._quick, self._alpha)
        video = self._container.add_stream(codec, rate=self._fps)
        assert isinstance(video, av.VideoStream)
        self._video = video
        video.width, video.height = self._size
        video.pix_fmt = form
        video.time_base = Fraction(1, self._fps)
        video.options = dict(settings)
        if codec == "mpeg4":
            video.bit_rate = 4_000_000
        sound_codec = "libopus" if name == "webm" else "aac"
        audio = self._container.add_stream(sound_codec, rate=PLAYBACK_RATE_HZ, layout=self._layout)
        assert isinstance(audio, av.AudioStream)
        audio.bit_rate = 128_000 if self._layout == "mono" else 192_000
        self._audio = audio


def off_white(image: UInt8Array) -> UInt8Array:
    """Pictures (H, W, 4) whose colours lie on white, as those of what is there alone: as files keep them."""
    share = np.maximum(image[..., 3:].astype(np.float32), 1.0) / 255
    colours = 255 - (255 - image[..., :3]) / share
    return np.concatenate((np.rint(colours.clip(0, 255)).astype(np.uint8), image[..., 3:]), axis=-1)


def _video_codec(container: str, quick: bool, alpha: bool) -> tuple[str, str, Mapping[str, str]]:
    """FFmpeg's encoder for a container, the form of its pixels, and its settings."""
    if container == "webm" and quick and not alpha:
        return "libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "6", "crf": "10", "b:v": "3M"}
    if container == "webm":
        settings = {"deadline": "good", "cpu-used": "4", "crf": "24", "b:v": "0"}
        if alpha:  # without frames that are never shown: the transparency, coded apart, has none for them
            return "libvpx-vp9", "yuva420p", {**settings, "auto-alt-ref": "0"}
        return "libvpx-vp9", "yuv420p", settings
    if alpha:
        return "prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"}
    if "libx264" in av.codecs_available:
        return (
            "libx264",
            "yuv420p",
            {"preset": "veryfast" if quick else "fast", "crf": "20" if quick else "17"},
        )
    return "mpeg4", "yuv420p", {}


def container_of(path: Path) -> str:
    """FFmpeg's name of the container that a file's suffix says.

    Raises:
        MediaError: it is none that is written here.
    """
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(CONTAINERS)
        raise MediaError(
            "cannot_write",
            f"The video {path} cannot be written: expected a name that ends in {known}, got "
            f"{path.suffix or 'no suffix'!r}.",
        ) from None


def cannot_write(path: Path, error: Exception) -> MediaError:
    """The one sentence for an output that cannot be written."""
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError("cannot_write", f"The video {path} cannot be written: {str(reason).lower()}.")
