"""Films of pictures that speak, with sound: the whole picture, its canvas put back where it came from.

In: portraits and a performer's choices. Out: an MP4 each, through `stream.offline`'s writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from distill.data.speech_set import SpeechSet
from distill.evaluation.faces.command import FacesConfig
from distill.evaluation.faces.line import Line, make_line
from distill.evaluation.faces.opened import open_performer, open_streamer
from distill.evaluation.faces.performers import Performer, Student
from distill.evaluation.faces.regions import OUT_PX
from models.face import FPS, SAMPLE_RATE_HZ
from stream.avatars.portrait import Portrait
from stream.media import Float32Array
from stream.offline.movie import Movie
from stream.offline.sound_files import PLAYBACK_RATE_HZ


def film_pictures(
    config: FacesConfig, portraits: Mapping[str, Portrait], folder: Path, seconds: float
) -> Iterator[Path]:
    """Film each picture saying one held-out text, its head moving as the server moves it; yields the files."""
    if not portraits:
        return
    line = make_line(SpeechSet(config.data, config.split, 1, seconds)[0], 0)
    performer = open_performer(config.student, config.preset, config.data)
    if isinstance(performer, Student):
        performer = Student(open_streamer(config.student, config.preset, True), performer.controls)
    for name, portrait in portraits.items():
        path = folder / f"{name}.mp4"
        film(path, performer, portrait, line)
        yield path


def film(path: Path, performer: Performer, portrait: Portrait, line: Line) -> None:
    """Write one film."""
    width, height = (side // 2 * 2 for side in portrait.size)
    with Movie(path, (width, height), FPS, 1) as movie:
        movie.add_sound(for_playback(line.item.audio.numpy()))
        for frame in performer.perform(portrait.canvas(OUT_PX), line):
            movie.add(np.ascontiguousarray(portrait.put_back(frame)[:height, :width]))


def for_playback(sound: Float32Array) -> Float32Array:
    """Sound (N,) at the engine's rate as (1, 3 N) at 48 kHz, between samples by a sinc through FFT."""
    factor = PLAYBACK_RATE_HZ // SAMPLE_RATE_HZ
    spectrum = np.fft.rfft(sound)
    padded = np.zeros(len(sound) * factor // 2 + 1, spectrum.dtype)
    padded[: len(spectrum)] = spectrum
    return (np.fft.irfft(padded, len(sound) * factor) * factor).astype(np.float32)[None]
