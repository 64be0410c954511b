"""Log lines: which are written, and that no id in them is of use to who reads them."""

from __future__ import annotations

import io
import logging
import secrets
from collections.abc import Callable, Iterator

import pytest

from stream.logs import ShortIds, shorten_ids, start_logging


def written(message: str, *values: object) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(ShortIds("%(message)s"))
    handler.emit(logging.LogRecord("stream.calls.session", logging.INFO, __file__, 1, message, values, None))
    return out.getvalue()


@pytest.mark.parametrize("make", [lambda: secrets.token_hex(8), lambda: secrets.token_hex(16)])
def test_an_id_is_cut_in_whatever_line_it_stands(make: Callable[[], str]) -> None:
    for token in ("deadbeef00c0ffee", *(make() for _ in range(50))):
        for line in (
            written("session %s is live", token),
            written('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", f"/sessions/{token}/x", "1.1", 200),
        ):
            assert token not in line
            assert token[:4] + "…" in line


@pytest.mark.parametrize(
    "text",
    [
        "a call was refused: The server is full (2 of 2 seats taken); try again later.",
        "GET /healthz 200",
        "the engine could not open a stream",
        "127.0.0.1:41234 - /avatars/01-portrait.png",
    ],
)
def test_words_stay_whole(text: str) -> None:
    assert shorten_ids(text) == text


@pytest.fixture
def levels() -> Iterator[None]:
    """Puts the loggers back as they were."""
    names = ("", "stream", "stream.engine", "aioice")
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("levels")
@pytest.mark.parametrize("verbose", [False, True])
def test_without_verbose_only_what_tells_of_callers_is_written(verbose: bool) -> None:
    start_logging(verbose)
    for told in ("stream.calls.session", "stream.calls.viewer", "stream.app"):
        assert logging.getLogger(told).isEnabledFor(logging.INFO)
    assert logging.getLogger("stream.engine.torch_engine").isEnabledFor(logging.INFO) == verbose
    assert logging.getLogger("stream.engine.scheduler").isEnabledFor(logging.WARNING)
