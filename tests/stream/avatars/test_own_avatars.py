"""`fada avatar`: pictures of one's own come, are shown and go; folders of pictures are offered as they are."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from stream.avatars.catalogue import AvatarCatalogue
from stream.avatars.command import add_arguments, portrait_of, run
from stream.avatars.own_avatars import OwnAvatars, own_folder, own_folder_or_none
from stream.errors import MediaError


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0110] = "CAMERA-SERIAL-4711"
    Image.fromarray(data.astronaut()).save(tmp_path / "Eileen C.jpg", quality=95, exif=exif)
    return tmp_path / "Eileen C.jpg"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FADA_AVATARS", str(tmp_path / "own"))
    return tmp_path / "own"


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def fada_avatar(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


def test_added_listed_shown_served_removed(
    photo: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert OwnAvatars(own_folder()).entries() == []
    assert fada_avatar("list") == 0
    assert fada_avatar("add", photo, "--seen", tmp_path / "seen.png") == 0
    assert fada_avatar("add", photo, "--name", "Mira") == 0  # a bundled face has that id
    said = capsys.readouterr().out
    assert "eileen-c: added" in said and "mira-2: added" in said and "look soft" in said
    assert size_of(tmp_path / "seen.png") == (512, 512)
    assert b"CAMERA-SERIAL" not in (own / "eileen-c.jpg").read_bytes()
    catalogue = AvatarCatalogue.read(own)
    assert [avatar.name for avatar in catalogue] == ["Eileen C", "Mira"]
    canvas = catalogue.canvas(catalogue.find("eileen-c"), 256)
    fresh = portrait_of(photo, None).canvas(256)
    assert np.abs(canvas.astype(int) - fresh).mean() < 2
    shown = catalogue.shown("eileen-c.png")
    assert isinstance(shown, bytes) and shown.startswith(b"\x89PNG")
    assert fada_avatar("show", "Eileen C", "--out", tmp_path / "sheet.png") == 0
    assert size_of(tmp_path / "sheet.png") == (1024, 512)
    assert fada_avatar("remove", "eileen-c") == 0
    assert not (own / "eileen-c.jpg").exists()
    assert fada_avatar("remove", "mira-2") == 0
    assert OwnAvatars(own_folder()).entries() == []


def test_transparency_is_stored(own: Path, tmp_path: Path) -> None:
    layers = np.dstack((data.astronaut(), np.full((512, 512), 255, np.uint8)))
    layers[:20, :20, 3] = 0
    Image.fromarray(layers).save(tmp_path / "cut.png")
    assert fada_avatar("add", tmp_path / "cut.png") == 0
    catalogue = AvatarCatalogue.read(own)
    portrait = catalogue.portrait(catalogue.find("cut"))
    assert portrait.pixels.alpha is not None and portrait.pixels.alpha[:20, :20].max() == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "nobody", "--out", "x.png"), "no avatar 'nobody'"),
        (("remove", "../own"), "no avatar"),
        (("add", "gone.jpg"), "no such file"),
        (("add", "PHOTO", "--name", ""), "1 to 60 printable characters"),
        (("add", "PHOTO", "--name", "a\nb"), "1 to 60 printable characters"),
        (("add", "PHOTO", "--points", "1,2", "3,4", "5"), "a point as x,y"),
        (("add", "PHOTO", "--points", "1,2", "3,4", "nan,1"), "a point as x,y"),
        (("add", "PHOTO", "--avatars", "PHOTO"), "is a file"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    words: tuple[str, ...], why: str, photo: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fada_avatar(*(str(photo) if word == "PHOTO" else word for word in words)) == 2
    said = capsys.readouterr().err
    assert said.startswith("fada avatar: ") and why in said and said.count("\n") == 1
    assert not own.exists()


def test_a_refusal_shows_what_was_seen(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.png")
    assert fada_avatar("add", tmp_path / "cat.png", "--seen", tmp_path / "seen.png") == 2
    assert size_of(tmp_path / "seen.png") == (451, 300)
    assert "(--points x,y x,y x,y)" in capsys.readouterr().err
    assert fada_avatar("add", tmp_path / "cat.png", "--points", "184,105", "260,118", "214,168") == 0


def test_a_damaged_index_is_not_overwritten(photo: Path, own: Path) -> None:
    own.mkdir()
    for text in ("[", "{}", "[1]"):
        (own / "index.json").write_text(text)
        assert fada_avatar("add", photo) == 2
        assert (own / "index.json").read_text() == text


def test_a_plain_folder_of_pictures(photo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in ("b.jpg", "B!.jpg", ".hidden.jpg"):
        (folder / name).write_bytes(photo.read_bytes())
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    (folder / "notes.txt").write_text("not a picture")
    catalogue = AvatarCatalogue.read(folder)
    assert [avatar.id for avatar in catalogue] == ["b", "b-2"]
    assert "cat.png" in caplog.text
    assert catalogue.shown("b.jpg") is None and catalogue.shown("cat.png") is None
    np.testing.assert_array_equal(
        catalogue.canvas(catalogue.find("b"), 128), portrait_of(photo, None).canvas(128)
    )
    (folder / "b.jpg").unlink()
    (folder / "B!.jpg").unlink()
    with pytest.raises(MediaError, match=r"none of its pictures can be used. No face was found"):
        AvatarCatalogue.read(folder)


def test_two_folders_with_one_id(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (96, 96)).save(tmp_path / name / "x.png")
        (tmp_path / name / "index.json").write_text(json.dumps([{"id": "x", "image": "x.png"}]))
    with pytest.raises(MediaError, match="same id 'x'"):
        AvatarCatalogue.read(tmp_path / "one", tmp_path / "two")


def test_where_avatars_of_ones_own_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FADA_AVATARS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_folder() == tmp_path / "fada-live" / "avatars"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(MediaError, match="no home"):
        own_folder()
    assert own_folder_or_none() is None


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")
