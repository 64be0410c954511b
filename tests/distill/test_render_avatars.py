"""`fada avatars`: the bundled pictures are what the command draws, and the index names them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill import avatars


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    avatars.add_arguments(parser)
    return parser.parse_args(words)


def test_the_bundled_avatars_are_those_the_command_draws(tmp_path: Path) -> None:
    assert avatars.run(parse("--out", str(tmp_path), "--json", str(tmp_path / "made.json"))) == 0
    index = json.loads((tmp_path / "index.json").read_text())
    assert index == json.loads((avatars.DEFAULT_FOLDER / "index.json").read_text())
    assert len(index) >= 14
    people = {person.id for person in avatars.PEOPLE}
    for entry in index:
        assert set(entry) == {"id", "name", "image", "thumbnail", "about"}
        with (
            Image.open(tmp_path / entry["image"]) as fresh,
            Image.open(avatars.DEFAULT_FOLDER / entry["image"]) as shipped,
        ):
            assert fresh.size == ((512, 512) if entry["id"] in people else (256, 256))
            assert fresh.mode == "RGB"
            # another CPU may round one level differently, and take another triangle at an edge
            difference = np.abs(np.asarray(fresh, dtype=int) - np.asarray(shipped, dtype=int))
            assert difference.max() <= 2 or (entry["id"] in people and np.mean(difference > 2) < 0.01)
        with Image.open(tmp_path / entry["thumbnail"]) as small:
            assert small.size == (96, 96)
    assert json.loads((tmp_path / "made.json").read_text())["split"] == "val"


def test_a_sheet_of_a_split(tmp_path: Path) -> None:
    sheet = tmp_path / "deep" / "sheet.png"
    assert avatars.run(parse("--sheet", str(sheet), "--split", "test", "--count", "2")) == 0
    with Image.open(sheet) as picture:
        assert picture.size == (8 * 256, 2 * 256)


def test_a_count_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        avatars.run(parse("--sheet", "x.png", "--split", "test", "--count", "0"))


def test_an_avatar_id_is_checked() -> None:
    with pytest.raises(ValueError, match="avatar id"):
        avatars.Avatar("../Mira", "Mira", 1, "")
