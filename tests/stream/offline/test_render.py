"""The offline run: exact frames, the recording's own sound, nothing half-written,
one sentence for every fault.
"""

from __future__ import annotations

import argparse
import json
import math
import wave
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from models.framing.placement import Placement
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from stream.avatars.command import portrait_of
from stream.engine.protocol import Controls, Engine, StepRequest
from stream.engine.torch_engine import TorchEngine
from stream.engine.windower import Windower
from stream.errors import EngineError
from stream.offline.film import Film, film_of
from stream.offline.render import add_arguments, draw, render
from stream.offline.sound_files import Recording
from stream.serve import AVATARS
from tests.fakes import SMALL_SPEC, FakeEngine, FakeState, mouth_brightness, mouth_of
from tests.models.tiny import tiny_model


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def read_all(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A whole recording: for the engine (n,), for the film (channels, m)."""
    with Recording(path) as recording:
        blocks = list(recording.blocks(16_000))
    return np.concatenate([b.engine for b in blocks]), np.concatenate([b.playback for b in blocks], axis=1)


def tone(seconds: float, rate_hz: int = 16_000) -> np.ndarray:
    n = np.arange(round(seconds * rate_hz))
    return (12_000 * np.sin(2 * np.pi * 440 * n / rate_hz) * (n % rate_hz < 0.4 * rate_hz)).astype(np.int16)


def fake_for(film: Film, kind: type[FakeEngine] = FakeEngine) -> FakeEngine:
    place = film.placement
    return kind(replace(SMALL_SPEC, width=place.width, height=place.height))


class Files:
    """A good face, a good sound, and the command's arguments for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / "face.png"
        Image.fromarray(np.full((64, 64, 3), 60, np.uint8)).save(self.image)
        self.audio = write_wav(folder / "voice.wav", tone(1.5))
        self.out = folder / "out.mp4"

    def run(
        self, *more: str, engine: Engine | None = None, image: Path | None = None, audio: Path | None = None
    ) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        image, audio = image or self.image, audio or self.audio
        args = ["--image", str(image), "--audio", str(audio), "--out", str(self.out), *more]
        args += [] if "--points" in more else ["--already-framed"]
        return render(parser.parse_args(args), lambda film: engine or fake_for(film))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def leftovers(files: Files) -> list[str]:
    return sorted(path.name for path in files.folder.iterdir() if path.name not in ("face.png", "voice.wav"))


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 16_000, 24_321])
def test_the_number_of_frames_is_exact(samples: int, files: Files) -> None:
    write_wav(files.audio, tone(2.0)[:samples])
    assert files.run() == 0
    with av.open(str(files.out)) as movie:
        frames = sum(1 for _ in movie.decode(video=0))
        stream = movie.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 64, 64)
        assert float(stream.average_rate) == 25.0
    assert frames == math.ceil(samples / 16_000 * 25)


def test_the_mouth_moves_with_the_sound_and_the_sound_is_there(files: Files) -> None:
    assert files.run() == 0
    with av.open(str(files.out)) as movie:
        assert movie.streams.audio[0].codec_context.name == "aac"
        mouths = [mouth_of(frame.to_ndarray(format="rgb24")) for frame in movie.decode(video=0)]
    assert min(mouths[1:9]) > 150
    assert max(mouths[12:24]) < 15
    assert min(mouths[26:34]) > 150
    with av.open(str(files.out)) as movie:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in movie.decode(audio=0)])
        assert movie.streams.audio[0].sample_rate == 48_000
    levels = [float(np.abs(sound[i * 1920 : (i + 1) * 1920]).mean()) for i in range(36)]
    assert min(levels[1:9]) > 0.1
    assert max(levels[12:24]) < 0.01


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (22_050, 1), (44_100, 2), (48_000, 2)])
def test_any_rate_and_layout(rate_hz: int, channels: int, files: Files) -> None:
    sound = np.repeat(tone(1.0, rate_hz), channels)
    engine, playback = read_all(write_wav(files.audio, sound, rate_hz, channels))
    assert engine.shape == pytest.approx((16_000,), abs=2)
    assert playback.shape == pytest.approx((channels, 48_000), abs=4)
    assert float(np.abs(engine[:6000]).max()) == pytest.approx(12_000 / 32_768, rel=0.03)


def test_chunked_equals_whole() -> None:
    """The live server's windows, whatever the packets' sizes, give the frames of the offline run."""
    rng = np.random.default_rng(0)
    sound = (0.3 * rng.standard_normal(30_000)).astype(np.float32)
    image = np.full((64, 64, 3), 60, np.uint8)
    offline = np.concatenate([frames for frames, _ in draw(FakeEngine(), image, [sound], Controls(), 5)])
    engine, windower = FakeEngine(), Windower(SMALL_SPEC)
    state, live = engine.open(image, 5), []
    chunks = np.split(sound, np.sort(rng.integers(0, len(sound), 90)))
    for windows in (*map(windower.push, chunks), windower.flush()):
        for window in windows:
            result = engine.step([StepRequest(state, window.audio)])[0]
            state = result.state
            live.append(result.frames)
    np.testing.assert_array_equal(np.concatenate(live), offline)
    assert mouth_brightness(SMALL_SPEC, Windower(SMALL_SPEC).push(sound)[0].audio)[0] > 100


def test_figures_are_written(files: Files) -> None:
    figures = files.folder / "figures.json"
    assert files.run("--json", str(figures), "--nfe", "2") == 0
    report = json.loads(figures.read_text())
    assert (report["frames"], report["windows"], report["seconds"], report["nfe"]) == (38, 10, 1.52, 2)
    assert report["rtf"] > 0


def test_an_existing_video_is_replaced_only_by_a_whole_one(files: Files) -> None:
    files.out.write_text("precious")

    def fail(requests: Sequence[StepRequest]) -> None:
        raise RuntimeError("halfway")

    assert files.run(engine=FakeEngine(fail=fail)) == 1
    assert files.out.read_text() == "precious"
    assert files.run() == 0
    assert files.out.stat().st_size > 1000
    assert leftovers(files) == ["out.mp4"]


def broken_inputs(folder: Path) -> dict[str, tuple[str, Path]]:
    good = write_wav(folder / "good.wav", tone(1.0)).read_bytes()
    (folder / "text.png").write_text("I am not a picture")
    (folder / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "header.wav").write_bytes(good[:20])
    (folder / "empty.wav").touch()
    write_wav(folder / "nothing.wav", np.zeros(0))
    (folder / "text.wav").write_text("la la la " * 500)
    (folder / "good.wav").unlink()
    return {
        "picture that is text": ("image", folder / "text.png"),
        "picture that is not there": ("image", folder / "none.png"),
        "picture that is a sound": ("image", folder / "nothing.wav"),
        "sound that is noise": ("audio", folder / "noise.wav"),
        "sound that is cut off in its header": ("audio", folder / "header.wav"),
        "sound of no bytes": ("audio", folder / "empty.wav"),
        "sound of no samples": ("audio", folder / "nothing.wav"),
        "sound that is text": ("audio", folder / "text.wav"),
        "sound that is not there": ("audio", folder / "none.wav"),
        "sound that is a folder": ("audio", folder),
        "sound that is a picture": ("audio", folder / "face.png"),
    }


FAULTS = (
    "picture that is text",
    "picture that is not there",
    "picture that is a sound",
    "sound that is noise",
    "sound that is cut off in its header",
    "sound of no bytes",
    "sound of no samples",
    "sound that is text",
    "sound that is not there",
    "sound that is a folder",
    "sound that is a picture",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_inputs(fault: str, files: Files, capfd: pytest.CaptureFixture[str]) -> None:
    kind, path = broken_inputs(files.folder)[fault]
    loaded: list[bool] = []

    class Watched(FakeEngine):
        def warm_up(self) -> None:
            loaded.append(True)

    assert files.run(engine=Watched(), **{kind: path}) == 2
    error = capfd.readouterr().err
    assert error.startswith("fada render: ")
    assert error.count("\n") == 1, error
    assert str(path) in error
    assert not files.out.exists()
    assert not [name for name in leftovers(files) if "part" in name or "probe" in name]


def test_a_sound_cut_off_in_its_samples_is_used_as_far_as_it_goes(files: Files) -> None:
    whole = write_wav(files.audio, tone(2.0)).read_bytes()
    files.audio.write_bytes(whole[: len(whole) // 2])
    assert files.run() == 0
    with av.open(str(files.out)) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == pytest.approx(25, abs=1)


@pytest.mark.parametrize("out", ["nowhere/out.mp4", ".", "face.png", "voice.wav"])
def test_outputs_that_cannot_be(out: str, files: Files, capfd: pytest.CaptureFixture[str]) -> None:
    files.out = files.folder / out
    before = files.image.read_bytes(), files.audio.read_bytes()
    assert files.run() == 2
    assert "cannot be written" in capfd.readouterr().err
    assert (files.image.read_bytes(), files.audio.read_bytes()) == before


def test_scales_change_the_film_with_the_same_seed(files: Files) -> None:
    cpu = torch.device("cpu")
    place = Placement.canvas(64)
    engine = TorchEngine(
        Streamer(TorchNetworks(tiny_model(), cpu, torch.float32), cpu, placement=place), nfe=1
    )
    write_wav(files.audio, tone(0.3))
    films = []
    for options in ((), ("--audio-scale", "2.5"), ("--reference-scale", "0.5"), ("--audio-scale", "1.4")):
        assert files.run(*options, engine=engine) == 0
        with av.open(str(files.out)) as movie:
            films.append(np.stack([frame.to_ndarray(format="rgb24") for frame in movie.decode(video=0)]))
    plain, loud, loose, own = films
    np.testing.assert_array_equal(plain, own)  # 1.4 is the preset's own
    assert np.abs(loud.astype(int) - plain).mean() > 0.1
    assert np.abs(loose.astype(int) - plain).mean() > 0.1


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "-1"),
        ("--audio-scale", "2.6"),
        ("--audio-scale", "-1"),
        ("--reference-scale", "0.4"),
        ("--reference-scale", "1.6"),
        ("--reference-scale", "nan"),
        ("--nfe", "0"),
    ],
)
def test_options_that_make_no_sense(
    options: tuple[str, str], files: Files, capfd: pytest.CaptureFixture[str]
) -> None:
    assert files.run(*options) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert not files.out.exists()


def test_an_engine_that_does_not_load(files: Files, capfd: pytest.CaptureFixture[str]) -> None:
    def load(film: Film) -> Engine:
        raise EngineError("engine_not_loaded", "The weights are truncated.")

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(
        [
            "--image",
            str(files.image),
            "--audio",
            str(files.audio),
            "--out",
            str(files.out),
            "--already-framed",
        ]
    )
    assert render(args, load) == 1
    assert capfd.readouterr().err == "fada render: The weights are truncated.\n"
    assert not files.out.exists()


def test_a_photo_is_framed_by_its_face(files: Files, capfd: pytest.CaptureFixture[str]) -> None:
    from skimage import data

    Image.fromarray(data.astronaut()).save(files.image)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    opened: list[np.ndarray] = []

    class Watched(FakeEngine):
        def open(self, image: np.ndarray, seed: int) -> FakeState:
            opened.append(image)
            return super().open(image, seed)

    args = ["--image", str(files.image), "--audio", str(files.audio), "--out", str(files.out)]
    assert render(parser.parse_args(args), lambda film: fake_for(film, Watched)) == 0
    assert "will look soft" in capfd.readouterr().err
    film = film_of(portrait_of(files.image, None), None)
    np.testing.assert_array_equal(opened[0], film.picture())
    with av.open(str(files.out)) as movie:
        assert (movie.streams.video[0].width, movie.streams.video[0].height) == (512, 512)
    Image.fromarray(data.chelsea()).save(files.image)
    assert render(parser.parse_args(args), lambda film: fake_for(film, Watched)) == 2
    assert "No face was found" in capfd.readouterr().err
    assert files.run("--points", "184,105", "260,118", "214,168") == 0


def test_a_house_face_is_taken_as_its_index_says() -> None:
    for name in ("mira", "freya"):
        own = np.asarray(Image.open(AVATARS / f"{name}.png").convert("RGB"))
        np.testing.assert_array_equal(portrait_of(AVATARS / f"{name}.png", None).canvas(256), own)
