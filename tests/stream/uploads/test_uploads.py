"""POST /avatars and its kin, over HTTP against a running server: looked at, tried, kept, spoken with, removed."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from skimage import data

from stream.avatars.own_avatars import OwnAvatars
from stream.avatars.picture_files import read_picture
from stream.avatars.portrait import Portrait
from stream.uploads import routes
from stream.uploads.routes import CONSENT
from tests.stream.rig import Caller, Running, running_server

POINTS = [[184, 105], [260, 118], [214, 168]]
"""The cat's eyes and mouth."""


def saved(image: np.ndarray, form: str = "JPEG", **more: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, form, **more)
    return out.getvalue()


@pytest.fixture(scope="module")
def photo() -> bytes:
    exif = Image.Exif()
    exif[0x0110] = "CAMERA-SERIAL-4711"
    return saved(data.astronaut(), quality=95, exif=exif)


@pytest.fixture(scope="module")
def cat() -> bytes:
    return saved(data.chelsea(), "PNG")


async def give(
    running: Running, where: str, picture: bytes, file: str = "photo.jpg", headers: Any = None, **words: str
) -> httpx.Response:
    return await running.http.post(where, files={"picture": (file, picture)}, data=words, headers=headers)


def pixels_of(url: str) -> np.ndarray:
    kind, _, text = url.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


async def test_looked_at_tried_kept_called_with_and_removed(tmp_path: Path, photo: bytes) -> None:
    own = tmp_path / "own"
    async with running_server(tmp_path, own_avatars=own) as running:
        assert (await running.http.get("/config")).json()["uploads"]["consent"] == CONSENT
        looked = (await give(running, "/avatars/preview", photo)).json()
        assert (looked["picture"]["width"], looked["picture"]["height"]) == (512, 512)
        left, right, mouth = np.array(looked["points"])
        assert left[0] < mouth[0] < right[0] and mouth[1] > max(left[1], right[1])
        assert pixels_of(looked["framed"]).shape == (256, 256, 3)
        assert pixels_of(looked["picture"]["image"]).shape == (512, 512, 3)
        again = (await give(running, "/avatars/preview", photo, points=json.dumps(looked["points"]))).json()
        apart = np.abs(pixels_of(again["framed"]).astype(int) - pixels_of(looked["framed"]))
        assert apart.mean() < 1, "points that were found frame as the finding did"
        assert not own.exists(), "looking keeps nothing"
        film = await give(running, "/avatars/trial", photo)
        assert film.status_code == 200 and film.headers["content-type"] == "video/mp4"
        assert not own.exists(), "trying keeps nothing"
        kept = await give(running, "/avatars", photo, name="Eileen C", consent=CONSENT)
        assert kept.status_code == 201, kept.text
        assert kept.json()["avatar"]["id"] == "eileen-c" and kept.json()["avatar"]["own"] is True
        rows = (await running.http.get("/avatars")).json()
        assert [(row["id"], row["own"]) for row in rows] == [
            ("ada", False),
            ("bo", False),
            ("eileen-c", True),
        ]
        for where in ("image", "thumbnail"):
            assert (await running.http.get(f"/{rows[-1][where]}")).content.startswith(b"\x89PNG")
        [stored] = json.loads((own / "index.json").read_text())
        assert stored["consent"]["sentence"] == CONSENT and stored["consent"]["at"].endswith("+00:00")
        assert b"CAMERA-SERIAL" not in (own / "eileen-c.jpg").read_bytes()
        caller = Caller()
        await caller.call(running, avatar="eileen-c")
        await caller.until(lambda: len(caller.received.pictures) > 3)
        assert (await running.http.delete("/avatars/eileen-c")).status_code == 204
        seen = len(caller.received.pictures)
        await caller.until(lambda: len(caller.received.pictures) > seen + 5)
        await caller.hang_up()
        assert len((await running.http.get("/avatars")).json()) == 2
        assert (await running.http.get(f"/{rows[-1]['image']}")).status_code == 404
        assert not (own / "eileen-c.jpg").exists()


async def test_a_film_has_the_line_and_a_moving_mouth(tmp_path: Path, photo: bytes) -> None:
    async with running_server(tmp_path, own_avatars=tmp_path / "own") as running:
        for accept, form in (("*/*", "mp4"), ("video/webm", "webm")):
            film = await give(running, "/avatars/trial", photo, headers={"accept": accept})
            assert film.headers["content-type"] == f"video/{form}"
            with av.open(io.BytesIO(film.content)) as container:
                pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            with av.open(io.BytesIO(film.content)) as container:
                sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
            assert 8 < len(sound) / 48_000 < 10 and abs(len(sound) / 48_000 - len(pictures) / 25) < 0.1
            mouth = [picture[44:52, 28:36].mean() for picture in pictures]
            assert np.std(mouth) > 20
        assert running.server.scheduler.seats.taken == 0


async def test_a_full_server_draws_no_film_and_keeps_pictures(tmp_path: Path, photo: bytes) -> None:
    async with running_server(tmp_path, own_avatars=tmp_path / "own", max_sessions=1) as running:
        caller = Caller()
        await caller.call(running)
        refused = await give(running, "/avatars/trial", photo)
        assert (refused.status_code, refused.json()["error"]) == (503, "server_full")
        kept = await give(running, "/avatars", photo, name="a/b/../c", consent=CONSENT)
        assert kept.json()["avatar"]["id"] == "a-b-c" and kept.json()["avatar"]["name"] == "a/b/../c"
        assert caller.channel is not None
        caller.channel.send(json.dumps({"type": "avatar", "id": "a-b-c"}))
        await caller.until(lambda: {"type": "notice", "avatar": "a-b-c"} in caller.received.messages)
        await caller.hang_up()


async def test_where_no_face_is_found_three_points_do(tmp_path: Path, cat: bytes) -> None:
    async with running_server(tmp_path, own_avatars=tmp_path / "own") as running:
        refused = await give(running, "/avatars/preview", cat, "/home/me/ca\u202et.png")
        assert refused.status_code == 422
        said = refused.json()
        assert said["error"] == "no_face" and "No face was found in cat.png" in said["message"]
        assert "--points" not in said["message"]
        assert pixels_of(said["seen"]).shape == (300, 451, 3)
        assert (said["picture"]["width"], said["picture"]["height"]) == (451, 300)
        points = json.dumps(POINTS)
        looked = (await give(running, "/avatars/preview", cat, points=points)).json()
        assert looked["points"] == POINTS
        kept = await give(running, "/avatars", cat, points=points, name="Chelsea", consent=CONSENT)
        assert kept.status_code == 201
        outside = await give(running, "/avatars/preview", cat, points="[[1,1],[2,2],[900,3]]")
        assert (outside.status_code, outside.json()["error"]) == (422, "bad_points")
        assert "/tmp" not in outside.text


WRONG_WORDS = (
    ({"consent": CONSENT}, 422, "invalid_request"),
    ({"name": "A"}, 422, "invalid_request"),
    ({"name": "A", "consent": "yes"}, 422, "no_consent"),
    ({"name": "", "consent": CONSENT}, 422, "invalid_request"),
    ({"name": "x" * 61, "consent": CONSENT}, 422, "invalid_request"),
    ({"name": "a\nb", "consent": CONSENT}, 422, "invalid_request"),
    ({"name": "a\u202eb", "consent": CONSENT}, 422, "invalid_request"),
    ({"name": "A", "consent": CONSENT, "points": "[1,2,3]"}, 422, "invalid_request"),
    ({"name": "A", "consent": CONSENT, "points": "[[1,2],[3,4],[NaN,4]]"}, 422, "invalid_request"),
    ({"name": "A", "consent": CONSENT, "points": "[" * 3000}, 422, "invalid_request"),
    ({"name": "A", "consent": CONSENT, "more": "x" * 5000}, 400, "bad_form"),
)


async def test_words_that_are_wrong_keep_nothing(tmp_path: Path, photo: bytes) -> None:
    async with running_server(tmp_path, own_avatars=tmp_path / "own") as running:
        for words, status, code in WRONG_WORDS:
            refused = await running.http.post("/avatars", files={"picture": ("p.jpg", photo)}, data=words)
            assert (refused.status_code, refused.json()["error"]) == (status, code), words
        assert not (tmp_path / "own").exists()


async def test_forms_that_are_none(tmp_path: Path, photo: bytes) -> None:
    kind = "multipart/form-data; boundary=x"
    async with running_server(tmp_path, own_avatars=tmp_path / "own") as running:

        async def post(body: bytes, content_type: str) -> tuple[int, str]:
            refused = await running.http.post(
                "/avatars/preview", content=body, headers={"content-type": content_type}
            )
            return refused.status_code, refused.json()["error"]

        assert await post(photo, "image/jpeg") == (415, "bad_type")
        assert await post(b"{}", "application/json") == (415, "bad_type")
        assert await post(b"picture=1", "application/x-www-form-urlencoded") == (415, "bad_type")
        assert await post(photo, "multipart/form-data") == (400, "bad_form")
        assert await post(photo, kind) == (400, "bad_form")
        assert await post(b"--x--\r\n", kind) == (422, "invalid_request")
        field = b'--x\r\ncontent-disposition: form-data; name="picture"\r\n\r\nno file\r\n--x--\r\n'
        assert await post(field, kind) == (422, "invalid_request")
        two = {"picture": ("a.jpg", photo), "other": ("b.jpg", photo)}
        assert (await running.http.post("/avatars/preview", files=two)).json()["error"] == "bad_form"
        big = {"picture": ("a.jpg", b"x" * (65 * 1024**2))}
        assert (await running.http.post("/avatars/preview", files=big)).status_code == 413


async def test_what_fada_avatar_adds_and_removes_is_there_at_once(tmp_path: Path, photo: bytes) -> None:
    own = OwnAvatars(tmp_path / "own")
    (tmp_path / "p.jpg").write_bytes(photo)
    async with running_server(tmp_path, own_avatars=own.folder) as running:
        own.add(Portrait.laid_out(read_picture(tmp_path / "p.jpg")), "Bo", frozenset(("bo",)))
        assert [row["id"] for row in (await running.http.get("/avatars")).json()] == ["ada", "bo", "bo-2"]
        own.add(Portrait.laid_out(read_picture(tmp_path / "p.jpg")), "Late")
        caller = Caller()
        await caller.call(running, avatar="late")  # nobody has asked for the list meanwhile
        await caller.hang_up()
        own.remove("bo-2")
        assert [row["id"] for row in (await running.http.get("/avatars")).json()] == ["ada", "bo", "late"]
        (own.folder / "index.json").write_text("[")
        assert [row["id"] for row in (await running.http.get("/avatars")).json()] == ["ada", "bo", "late"]


async def test_there_are_only_so_many(tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MOST_OWN", 1)
    async with running_server(tmp_path, own_avatars=tmp_path / "own") as running:
        answers = [await give(running, "/avatars", photo, name="Ada", consent=CONSENT) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 409]
        assert answers[0].json()["avatar"]["id"] == "ada-2", "the house's own keeps its id"
        assert answers[1].json()["error"] == "avatars_full"
        house = await running.http.delete("/avatars/ada")
        assert (house.status_code, house.json()["error"]) == (403, "not_own")
        nobody = await running.http.delete("/avatars/nobody")
        assert (nobody.status_code, nobody.json()["error"]) == (404, "unknown_avatar")
