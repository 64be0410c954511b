"""Reading a recording for the offline run: any file FFmpeg decodes, as engine and listener need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from stream.errors import MediaError
from stream.media import Float32Array

MAX_SECONDS = 3600
PLAYBACK_RATE_HZ = 48_000


@dataclass(frozen=True, slots=True)
class Recording:
    """One sound at two rates.

    Attributes:
        engine: (n,) float32 mono in [-1, 1] at the engine's rate.
        playback: (channels, m) float32 at 48 kHz, one or two channels, for the finished video.
    """

    engine: Float32Array
    playback: npt.NDArray[np.float32]


def read_recording(path: Path, engine_rate_hz: int) -> Recording:
    """Decode a sound file.

    Args:
        path: WAV, FLAC, MP3, Ogg, MP4 …; the first audio stream counts.
        engine_rate_hz: rate of the engine's copy.

    Raises:
        MediaError: not there, not a sound, damaged, empty, or longer than an hour.
    """
    if not path.exists():
        raise MediaError("no_audio_file", f"The sound {path} cannot be read: there is no such file.", 404)
    if path.is_dir():
        raise MediaError("bad_audio", f"Expected a sound file, but {path} is a folder.")
    try:
        engine, playback = _decode(path, engine_rate_hz)
    except PermissionError as error:
        raise MediaError("bad_audio", f"The sound {path} cannot be read: permission was refused.") from error
    except (av.FFmpegError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            "bad_audio",
            f"{path} is not a sound that can be decoded ({reason}); give a WAV, FLAC or MP3 file.",
        ) from error
    if engine.size == 0:
        raise MediaError("empty_audio", f"The sound {path} has no samples; give one with something to hear.")
    if not np.isfinite(engine).all():
        raise MediaError("bad_audio", f"The sound {path} has samples that are no numbers (NaN or infinite).")
    return Recording(np.clip(engine, -1.0, 1.0), np.clip(playback, -1.0, 1.0))


def _decode(path: Path, engine_rate_hz: int) -> tuple[Float32Array, npt.NDArray[np.float32]]:
    with av.open(str(path), mode="r", metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise ValueError("it has no audio stream")
        stream = container.streams.audio[0]
        layout = "mono" if stream.codec_context.channels == 1 else "stereo"
        to_engine = av.AudioResampler(format="fltp", layout=layout, rate=engine_rate_hz)
        to_playback = av.AudioResampler(format="fltp", layout=layout, rate=PLAYBACK_RATE_HZ)
        engine: list[npt.NDArray[np.float32]] = []
        playback: list[npt.NDArray[np.float32]] = []
        decoded = 0
        for frame in container.decode(stream):
            decoded += frame.samples
            if decoded > MAX_SECONDS * frame.sample_rate:
                raise ValueError(f"it is longer than {MAX_SECONDS // 60} minutes")
            frame.pts = None
            engine.extend(map(_samples, to_engine.resample(frame)))
            playback.extend(map(_samples, to_playback.resample(frame)))
        if decoded:
            engine.extend(map(_samples, to_engine.resample(None)))
            playback.extend(map(_samples, to_playback.resample(None)))
    channels = 1 if layout == "mono" else 2
    # The mean, not FFmpeg's own mix: that adds 3 dB to what both channels share.
    mono = np.concatenate([np.zeros((channels, 0), np.float32), *engine], axis=1).mean(axis=0)
    return mono, np.concatenate([np.zeros((channels, 0), np.float32), *playback], axis=1)


def _samples(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    return frame.to_ndarray().astype(np.float32, copy=False)
