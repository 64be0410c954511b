"""The bundled faces: read once, looked up by id, never by path."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stream.avatars.catalogue import AvatarCatalogue
from stream.errors import MediaError, SignalingError
from stream.serve import AVATARS
from tests.stream.rig import make_avatars


def test_list_lookup_and_picture(tmp_path: Path) -> None:
    catalogue = AvatarCatalogue.read(make_avatars(tmp_path))
    assert [avatar.id for avatar in catalogue] == ["ada", "bo"]
    assert catalogue.find(None).id == "ada"
    assert catalogue.canvas(catalogue.find("bo"), 64).shape == (64, 64, 3)
    assert catalogue.as_json()[1] == {
        "id": "bo",
        "name": "Bo",
        "image": "avatars/bo.png",
        "thumbnail": "avatars/bo.thumb.png",
        "about": "",
        "own": False,
    }


@pytest.mark.parametrize("avatar_id", ["", "nobody", "../bo", "bo.png", "x" * 1000])
def test_unknown_ids_are_404(avatar_id: str, tmp_path: Path) -> None:
    with pytest.raises(SignalingError) as raised:
        AvatarCatalogue.read(make_avatars(tmp_path)).find(avatar_id)
    assert (raised.value.code, raised.value.status) == ("unknown_avatar", 404)
    assert len(raised.value.message) < 200


@pytest.mark.parametrize(
    "index",
    [
        "",
        "{}",
        "[]",
        "[1]",
        '[{"id": "a"}]',
        '[{"id": "", "image": "a.png"}]',
        '[{"id": "a", "image": "../a.png"}]',
        '[{"id": "a", "image": "ada.png"}, {"id": "a", "image": "bo.png"}]',
        '[{"id": "a", "image": "gone.png"}]',
        "[" * 50_000,
    ],
)
def test_a_wrong_index_is_one_sentence(index: str, tmp_path: Path) -> None:
    (make_avatars(tmp_path) / "index.json").write_text(index)
    with pytest.raises(MediaError) as raised:
        AvatarCatalogue.read(tmp_path)
    assert raised.value.code == "bad_avatars"
    assert "\n" not in raised.value.message


def test_a_face_asked_for_again_is_not_read_again(tmp_path: Path) -> None:
    catalogue = AvatarCatalogue.read(make_avatars(tmp_path))
    bo = catalogue.find("bo")
    first = catalogue.canvas(bo, 64)
    (tmp_path / "bo.png").unlink()
    assert np.array_equal(catalogue.canvas(bo, 64), first)
    assert not first.flags.writeable


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.avatars.catalogue.KEPT_BYTES", 96 * 96 * 3)
    catalogue = AvatarCatalogue.read(make_avatars(tmp_path))
    kept = catalogue.portrait(catalogue.find("ada"))
    assert catalogue.portrait(catalogue.find("ada")) is kept
    catalogue.portrait(catalogue.find("bo"))
    assert catalogue.portrait(catalogue.find("ada")) is not kept


def test_the_house_faces_are_framed_to_the_pixel() -> None:
    """Drawn faces are laid out as the canvas: framing them changes nothing."""
    catalogue = AvatarCatalogue.read(AVATARS)
    for avatar in catalogue:
        own = np.asarray(Image.open(AVATARS / avatar.image).convert("RGB"))
        np.testing.assert_array_equal(catalogue.canvas(avatar, len(own)), own)


def test_a_folder_without_an_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="fada avatars"):
        AvatarCatalogue.read(tmp_path)


def test_names_and_thumbnails_may_be_left_out(tmp_path: Path) -> None:
    (make_avatars(tmp_path) / "index.json").write_text(json.dumps([{"id": "ada", "image": "ada.png"}]))
    avatar = AvatarCatalogue.read(tmp_path).find("ada")
    assert (avatar.name, avatar.thumbnail, avatar.about) == ("ada", "ada.png", "")


def test_a_damaged_picture_is_found_at_the_start_and_not_offered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = make_avatars(tmp_path) / "bo.png"
    picture.write_bytes(picture.read_bytes()[:60])
    catalogue = AvatarCatalogue.read(tmp_path)
    assert [avatar.id for avatar in catalogue] == ["ada"]
    assert "not offered" in caplog.text
    assert "bo.png" in caplog.text
    (tmp_path / "ada.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match="None of the faces can be used") as raised:
        AvatarCatalogue.read(tmp_path)
    assert raised.value.code == "no_avatars"
