"""Two hundred odd pictures give two hundred clear answers, none over 2 s of a core's time or 400 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from skimage import data

from tests.stream.avatars.odd_pictures import write_odd_pictures

READ = """
import json, sys, time
from pathlib import Path
from stream.avatars.command import portrait_of
from stream.errors import MediaError
from tests.peak_memory import peak_mb
for path in sorted(Path(sys.argv[1]).iterdir()):
    started_s = time.process_time()
    try:
        portrait = portrait_of(path, None)
        answer = [portrait.canvas(256).shape == (256, 256, 3), "framed"]
    except MediaError as error:
        answer = [False, error.message]
    print(json.dumps([path.name, *answer, time.process_time() - started_s, peak_mb()]), flush=True)
"""
FACES = (
    "exif-1.jpg",
    "exif-6.jpg",
    "look-face.png",
    "look-lying.png",
    "look-slanted.png",
    "look-mirrored.png",
)
NONE = ("look-noise.png", "look-black.png", "look-dark.png", "look-tiny.png", "lie-svg.png", "size-63x63.png")


@pytest.mark.slow
def test_every_picture_gets_a_clear_answer(tmp_path: Path) -> None:
    paths = write_odd_pictures(tmp_path, data.astronaut())
    assert len({path.name for path in paths}) >= 200
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = {row[0]: row[1:] for row in map(json.loads, done.stdout.splitlines())}
    assert set(answers) == {path.name for path in paths}
    for name, (framed, said, seconds, held_mb) in answers.items():
        assert "\n" not in said and (framed or (said.endswith(".") and len(said) < 600)), (name, said)
        assert framed or "Error" not in said, (name, said)
        assert seconds < 2.0, (name, seconds)
        assert held_mb < 400, (name, held_mb)
    assert all(answers[name][0] for name in FACES), [answers[name] for name in FACES]
    assert not any(answers[name][0] for name in NONE), [answers[name] for name in NONE]
