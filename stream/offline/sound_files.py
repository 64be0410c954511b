"""Reading a recording for the offline run: any file FFmpeg decodes, once, block by block, on its own time line.

In: a path. Out: blocks of about a second, each at the engine's rate and at 48 kHz for the film. Gaps in the file's
time stamps and a late start are silence, as a player plays them. Never is the whole recording in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from models.sound import DownMix, ffmpeg_url
from stream.errors import MediaError
from stream.media import Float32Array

MAX_SECONDS: Final = 3600
PLAYBACK_RATE_HZ: Final = 48_000
MAX_GAP_S: Final = 0.04
"""Time stamps that jump ahead by more than this leave a gap; less is rounding."""
MIXED_BY_FFMPEG: Final = 8
"""Most channels that FFmpeg knows a mix to stereo for."""
GUESSED_LENGTH: Final = frozenset({"mp3", "aac", "ac3", "loas"})
"""Formats whose length FFmpeg guesses from the bit rate."""
TS_DISCONT: Final = 0x0200
"""AVFMT_TS_DISCONT: formats whose clock begins anywhere and may jump, as broadcasts do."""
BLOCK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class SoundBlock:
    """The next piece of a recording.

    Attributes:
        engine: (n,) float32 mono in [-1, 1] at the engine's rate.
        playback: (channels, m) float32 at 48 kHz, one or two channels, for the finished video.
    """

    engine: Float32Array
    playback: npt.NDArray[np.float32]


class Recording:
    """One sound file, open, to be read once; use it as a context manager.

    Attributes:
        channels: of the film's sound, 1 or 2.
        seconds: its length where the file says so; None where it does not.

    Raises:
        MediaError: not there, not a sound, damaged at its beginning, empty, or said to be longer than an hour.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise MediaError("no_audio_file", f"The sound {path} cannot be read: there is no such file.", 404)
        if path.is_dir():
            raise MediaError("bad_audio", f"Expected a sound file, but {path} is a folder.")
        with self._told():
            self._container: InputContainer = av.open(ffmpeg_url(path), mode="r", metadata_errors="ignore")
        try:
            with self._told():
                self._begin()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def blocks(self, engine_rate_hz: int) -> Iterator[SoundBlock]:
        """The recording from its beginning to its end, once.

        Raises:
            MediaError: it is damaged, or longer than an hour.
        """
        lines = _Lines(self._path, engine_rate_hz, self.channels)
        with self._told():
            for frame in self._timed():
                lines.push(frame)
                if lines.waiting_s >= BLOCK_S:
                    yield lines.take()
            lines.finish()
            yield lines.take()

    def _begin(self) -> None:
        if not self._container.streams.audio:
            raise ValueError("it has no audio stream")
        stream = self._container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError("FFmpeg does not know its codec")
        self._discontinuous = bool(self._container.format.flags & TS_DISCONT)
        self._zero_s = (self._container.start_time or 0) / av.time_base if self._discontinuous else 0.0
        said = (self._container.duration or 0) / av.time_base or None
        guessed = bool(GUESSED_LENGTH & set(self._container.format.name.split(",")))
        self.seconds = None if guessed else said
        if self.seconds is not None and self.seconds > MAX_SECONDS + 1:
            raise self._too_long()
        self._frames = self._container.decode(stream)
        first = next(self._frames, None)
        if first is None:
            raise MediaError(
                "empty_audio", f"The sound {self._path} has no samples; give one with something to hear."
            )
        self._first = first
        count = first.layout.nb_channels
        self.channels = 1 if count == 1 or count > MIXED_BY_FFMPEG else 2

    def _timed(self) -> Iterator[av.AudioFrame]:
        """All frames, with frames of silence where the time stamps leave a gap."""
        end_s = 0.0
        shift_s = -self._zero_s
        for frame in _and_then(self._first, self._frames):
            if frame.time is not None:
                gap_s = frame.time + shift_s - end_s
                if gap_s < -MAX_GAP_S or (self._discontinuous and gap_s > BLOCK_S and end_s > 0):
                    shift_s -= gap_s  # stamps that start anew: the sound goes on where it was
                elif gap_s > MAX_GAP_S:
                    if end_s + gap_s > MAX_SECONDS:
                        raise self._too_long()
                    yield from _silence_like(frame, gap_s)
                    end_s += gap_s
            end_s += frame.samples / frame.sample_rate
            if end_s > MAX_SECONDS:
                raise self._too_long()
            yield frame

    def _too_long(self) -> MediaError:
        return MediaError(
            "bad_audio",
            f"The sound {self._path} is longer than {MAX_SECONDS // 60} minutes; cut it into parts.",
        )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What FFmpeg raises, as one sentence."""
        try:
            yield
        except PermissionError as error:
            raise MediaError(
                "bad_audio", f"The sound {self._path} cannot be read: permission was refused."
            ) from error
        except (av.FFmpegError, ValueError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MediaError(
                "bad_audio",
                f"{self._path} is not a sound that can be decoded ({reason}); give a WAV, FLAC or MP3 file.",
            ) from error


class _Lines:
    """Decoded frames of one recording on their two ways: to the engine and to the film."""

    def __init__(self, path: Path, engine_rate_hz: int, channels: int) -> None:
        self._path, self._rate_hz, self._channels = path, engine_rate_hz, channels
        self._source: tuple[str, str, int] | None = None
        self._engine_mix = DownMix(engine_rate_hz)
        self._engine: list[Float32Array] = []
        self._playback: list[npt.NDArray[np.float32]] = []
        self.waiting_s = 0.0

    def push(self, frame: av.AudioFrame) -> None:
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:  # the first one, or a file that changes its form on the way
            self.finish()
            self._source = source
            layout = "mono" if self._channels == 1 else "stereo"
            self._source_mix = DownMix(frame.sample_rate)
            self._to_engine = av.AudioResampler(format="fltp", layout=layout, rate=self._rate_hz)
            self._to_playback = av.AudioResampler(format="fltp", layout=layout, rate=PLAYBACK_RATE_HZ)
        if frame.layout.nb_channels > MIXED_BY_FFMPEG:
            frame = _as_frame(self._source_mix.push(_channels_of(frame)), frame.sample_rate)
        frame.pts = None
        self._keep(self._to_engine.resample(frame), self._to_playback.resample(frame))

    def finish(self) -> None:
        """Let out what the resamplers hold back."""
        if self._source is not None:
            self._keep(self._to_engine.resample(None), self._to_playback.resample(None))
            self._source = None

    def take(self) -> SoundBlock:
        """Everything that waits.

        Raises:
            MediaError: it has samples that are no numbers.
        """
        engine = np.concatenate(self._engine or [np.zeros(0, np.float32)])
        playback = np.concatenate([np.zeros((self._channels, 0), np.float32), *self._playback], axis=1)
        self._engine, self._playback, self.waiting_s = [], [], 0.0
        if not np.isfinite(engine).all():
            raise MediaError(
                "bad_audio", f"The sound {self._path} has samples that are no numbers (NaN or infinite)."
            )
        return SoundBlock(np.clip(engine, -1.0, 1.0), np.clip(playback, -1.0, 1.0))

    def _keep(self, engine: list[av.AudioFrame], playback: list[av.AudioFrame]) -> None:
        # Mixed here and not by FFmpeg, which adds 3 dB to what both channels share.
        self._engine += [self._engine_mix.push(_samples(frame)) for frame in engine]
        self._playback += [_samples(frame) for frame in playback]
        self.waiting_s += sum(frame.samples / frame.sample_rate for frame in playback)


def _and_then(first: av.AudioFrame, others: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    yield first
    yield from others


def _silence_like(frame: av.AudioFrame, seconds: float) -> Iterator[av.AudioFrame]:
    """Frames of silence in a frame's own form, at most a second each."""
    left = round(seconds * frame.sample_rate)
    while left > 0:
        samples = min(left, frame.sample_rate)
        silent = av.AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=samples)
        silent.sample_rate = frame.sample_rate
        middle = 0x80 if frame.format.name in ("u8", "u8p") else 0
        for plane in silent.planes:
            plane.update(bytes([middle]) * plane.buffer_size)
        left -= samples
        yield silent


def _samples(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    return frame.to_ndarray().astype(np.float32, copy=False)


def _channels_of(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """A frame of any format as (channels, n) float32 in [-1, 1]."""
    raw = frame.to_ndarray()
    if frame.format.is_packed:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    if raw.dtype.kind == "f":
        return np.ascontiguousarray(raw, dtype=np.float32)
    middle, top = (128, 128) if raw.dtype == np.uint8 else (0, 2 ** (8 * raw.dtype.itemsize - 1))
    return np.ascontiguousarray((raw.astype(np.float32) - middle) / top)


def _as_frame(mono: Float32Array, rate_hz: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="fltp", layout="mono")
    frame.sample_rate = rate_hz
    return frame
