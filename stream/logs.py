"""What the server says while it runs: a line for each call that starts, ends or is refused, and what went wrong.

In: records of every logger. Out: lines of one form on stderr; `--verbose` adds requests and the libraries' own.
Ids by which a call may be steered or watched are never written out: who reads a log must not be able to use them.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

QUIET: Final = ("stream.engine",)
"""Of our own loggers, those whose information is for `--verbose` alone; the others tell of callers, a line each."""
KEPT_OF_ID: Final = 4
_ID: Final = re.compile(r"(?<![\w.-])(?=[\w-]*\d)[\w-]{16,}(?![\w-])")


class ShortIds(logging.Formatter):
    """Time, logger and message; of an id only its first characters, enough to tell two calls apart."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = shorten_ids(record.message)
        return super().formatMessage(record)


def shorten_ids(text: str) -> str:
    """The text with every long token that has a digit (what `secrets` makes) cut to its first characters."""
    return _ID.sub(lambda found: f"{found.group()[:KEPT_OF_ID]}…", text)


def start_logging(verbose: bool) -> None:
    """Write log lines to stderr from now on."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(ShortIds("%(asctime)s %(name)s: %(message)s" if verbose else "%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[out])
    logging.getLogger("stream").setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET if verbose else logging.WARNING)
    logging.getLogger("aioice").setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a line for each form that is none
