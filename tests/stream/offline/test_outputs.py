"""What render writes: what its name says, told before the work, nothing left when it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from stream.offline.outputs import ends_on_sigterm
from tests.fakes import FakeEngine
from tests.stream.offline.test_render import Files, leftovers


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("name", "container", "picture", "sound"),
    [
        ("x.mp4", "mp4", "h264", "aac"),
        ("x.M4V", "mp4", "h264", "aac"),
        ("x.mov", "mov", "h264", "aac"),
        ("x.mkv", "matroska", "h264", "aac"),
        ("x.webm", "webm", "vp9", "opus"),
    ],
)
def test_the_suffix_is_what_is_written(
    name: str, container: str, picture: str, sound: str, files: Files
) -> None:
    files.out = files.folder / name
    assert files.run() == 0
    start = files.out.read_bytes()[:64]
    brand = {"mp4": b"ftyp", "mov": b"ftypqt", "matroska": b"matroska", "webm": b"webm"}[container]
    assert brand in start
    with av.open(f"file:{files.out}") as movie:
        assert movie.streams.video[0].codec_context.name == picture
        assert movie.streams.audio[0].codec_context.name == sound
        assert sum(1 for _ in movie.decode(video=0)) == 38
    with av.open(f"file:{files.out}") as movie:
        heard = sum(frame.samples for frame in movie.decode(audio=0))
    assert heard == pytest.approx(72_000, abs=2100)


@pytest.mark.parametrize("name", ["x.avi", "x.gif", "x", "x.mp4.txt"])
def test_other_suffixes_are_refused(name: str, files: Files, capfd: pytest.CaptureFixture[str]) -> None:
    files.out = files.folder / name
    assert files.run() == 2
    said = capfd.readouterr().err
    assert ".mp4, .m4v, .mov, .mkv, .webm" in said and said.count("\n") == 1
    assert not leftovers(files)


@pytest.mark.parametrize("figures", ["nowhere/figures.json", ".", "face.png", "out.mp4", "n" * 300])
def test_figures_that_cannot_be_written_are_told_before_the_work(
    figures: str, files: Files, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine()
    assert files.run("--json", str(files.folder / figures), engine=engine) == 2
    assert "The figures" in capfd.readouterr().err
    assert not engine.opened and not leftovers(files)


@pytest.mark.parametrize(("length", "code"), [(245, 0), (255, 0), (256, 2)])
def test_names_as_long_as_a_folder_takes(length: int, code: int, files: Files) -> None:
    files.out = files.folder / ("n" * (length - 4) + ".mp4")
    engine = FakeEngine()
    assert files.run(engine=engine) == code
    assert engine.opened == (1 if code == 0 else 0)
    assert len(leftovers(files)) == (1 if code == 0 else 0)


SLOW = """
import sys
from pathlib import Path
from tests.fakes import FakeEngine
from tests.stream.offline.test_render import Files, tone, write_wav
files = Files(Path(sys.argv[1]))
write_wav(files.audio, tone(60.0))
sys.exit(files.run(engine=FakeEngine(cost_s=0.1)))
"""


def test_nothing_is_left_after_sigterm(tmp_path: Path) -> None:
    work = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)])
    try:
        until_s = time.monotonic() + 60
        while not list(tmp_path.glob(".fada-*.part")) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert list(tmp_path.glob(".fada-*.part"))
        work.send_signal(signal.SIGTERM)
        assert work.wait(30) == 128 + signal.SIGTERM
    finally:
        work.kill()
    assert sorted(os.listdir(tmp_path)) == ["face.png", "voice.wav"]


def test_the_signal_is_handed_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ends_on_sigterm():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
