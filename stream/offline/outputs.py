"""What a command writes: whether it can be is found out before the work, and nothing half-written is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from stream.errors import MediaError


def check_output(path: Path, inputs: tuple[Path, ...], what: str = "The video") -> None:
    """Find out before the work, not after it, that a file cannot be written.

    Raises:
        MediaError: it cannot, and why.
    """

    def refused(reason: str) -> MediaError:
        return MediaError("cannot_write", f"{what} {path} cannot be written: {reason}.")

    try:
        if path.is_dir():
            raise refused("it is a folder")
        if not path.parent.is_dir():
            raise refused(f"there is no folder {path.parent}")
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # names that are too long say so here
        if any(path.resolve() == other.resolve() for other in inputs):
            raise refused("it is one of the other files")
        descriptor, probe = tempfile.mkstemp(prefix=".fada-", suffix=".probe", dir=path.parent)
        os.close(descriptor)
        os.unlink(probe)
    except (OSError, ValueError) as error:
        raise refused((getattr(error, "strerror", None) or str(error)).lower()) from error


def write_figures(path: Path, figures: Mapping[str, object]) -> None:
    """Write figures as JSON.

    Raises:
        MediaError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise MediaError(
            "cannot_write", f"The figures {path} cannot be written: {error.strerror}."
        ) from error


@contextlib.contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """SIGTERM unwinds like an error and ends with 143, so that what is half-written goes away."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's alone
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
