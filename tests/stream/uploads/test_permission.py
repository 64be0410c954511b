"""Who may give pictures: this machine's own people, whom the operator lets, and never another origin's page."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import Request

from stream.errors import SignalingError
from stream.uploads.permission import UploadRule, is_loopback
from tests.stream.rig import running_server

HERE = "127.0.0.1:8080"


def asked(client: str = "127.0.0.1", **headers: str) -> Request:
    named = {"host": HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw, "client": (client, 5000)})


@pytest.mark.parametrize(
    ("wanted", "host", "place", "request_", "may"),
    [
        (None, "127.0.0.1", True, asked(), True),
        (None, "::1", True, asked("::1", host="[::1]:8080"), True),
        (None, "localhost", True, asked(host="localhost:8080"), True),
        (None, "0.0.0.0", True, asked(), False),
        (None, "192.168.0.7", True, asked("192.168.0.7"), False),
        (None, "127.0.0.1", True, asked(host="evil.example"), False),  # a name that was made to lead here
        (None, "127.0.0.1", True, asked(x_forwarded_for="203.0.113.9"), False),  # a proxy speaks for others
        (None, "127.0.0.1", True, asked(forwarded="for=203.0.113.9"), False),
        (None, "127.0.0.1", True, asked("203.0.113.9"), False),
        (None, "127.0.0.1", False, asked(), False),
        (True, "0.0.0.0", True, asked("203.0.113.9", host="live.example"), True),
        (True, "127.0.0.1", True, asked(x_forwarded_for="203.0.113.9", host="live.example"), True),
        (True, "0.0.0.0", False, asked(), False),
        (False, "127.0.0.1", True, asked(), False),
    ],
)
def test_where_pictures_are_taken(
    wanted: bool | None, host: str, place: bool, request_: Request, may: bool
) -> None:
    assert UploadRule(wanted, host, place).allows(request_) is may


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({}, True),  # a program
        ({"sec_fetch_site": "same-origin", "origin": f"http://{HERE}"}, True),
        (
            {"sec_fetch_site": "same-origin", "origin": "https://live.example"},
            True,
        ),  # a proxy that renames us
        ({"origin": f"http://{HERE}"}, True),
        ({"sec_fetch_site": "cross-site", "origin": "https://evil.example"}, False),
        ({"sec_fetch_site": "same-site", "origin": "http://127.0.0.1:3000"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "null"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://127.0.0.1:3000"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_another_origins_page_may_not(headers: dict[str, str], may: bool) -> None:
    rule = UploadRule(None, "127.0.0.1", True)
    if may:
        rule.check(asked(**headers))
        return
    with pytest.raises(SignalingError) as refused:
        rule.check(asked(**headers))
    assert (refused.value.code, refused.value.status) == ("other_origin", 403)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "a.localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "localhost.evil.example", "127.0.0.1.evil.example"])
def test_no_loopback(host: str) -> None:
    assert not is_loopback(host)


async def test_where_it_is_off_nothing_is_read_and_the_page_is_told(tmp_path: Path) -> None:
    picture = {"picture": ("p.jpg", b"x" * 3_000_000)}
    async with running_server(tmp_path, own_avatars=tmp_path / "own", uploads=False) as running:
        assert (await running.http.get("/config")).json()["uploads"] is None
        for where in ("/avatars", "/avatars/preview", "/avatars/trial"):
            refused = await running.http.post(where, files=picture)
            assert (refused.status_code, refused.json()["error"]) == (403, "uploads_off")
        refused = await running.http.delete("/avatars/ada")
        assert (refused.status_code, refused.json()["error"]) == (403, "uploads_off")


async def test_a_form_of_another_page_is_refused(tmp_path: Path) -> None:
    async with running_server(tmp_path, own_avatars=tmp_path / "own") as running:
        refused = await running.http.post(
            "/avatars", files={"picture": ("p.jpg", b"x")}, headers={"origin": "https://evil.example"}
        )
        assert (refused.status_code, refused.json()["error"]) == (403, "other_origin")
        refused = await running.http.delete("/avatars/ada", headers={"sec-fetch-site": "cross-site"})
        assert (refused.status_code, refused.json()["error"]) == (403, "other_origin")
