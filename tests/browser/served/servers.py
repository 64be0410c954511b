"""A live server in a process of its own, which tests may kill and start again on the same port.

In: which engine, how many seats. Out: its URL. "fake" runs `fake_server.py` beside this file: the real server on
an engine without networks. Every other name is a preset and runs `fada.py serve`, as a user would.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
READY_WITHIN_S: Final = {"fake": 60.0}
READY_WITHIN_S_OTHERS: Final = 120.0
STOP_WITHIN_S: Final = 30.0


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """Starts on entering, ends on leaving.

    Args:
        engine: "fake" or a preset's name.
        log: file for what the server prints.
        seats: sessions it takes at once.
        more: further arguments of the command.
    """

    def __init__(self, engine: str, log: Path, seats: int = 2, more: Sequence[str] = ()) -> None:
        self.engine = engine
        self.seats = seats
        self._more = list(more)
        self.port = free_port()
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Starts the process and returns when it takes calls.

        Raises:
            RuntimeError: it ended, or was not ready in time; the message carries the end of its log.
        """
        program = (
            ["-m", "tests.browser.served.fake_server"] if self.engine == "fake" else ["fada.py", "serve"]
        )
        preset = [] if self.engine == "fake" else ["--preset", self.engine]
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--max-sessions", str(self.seats)]
        own = {"FADA_AVATARS": str(self._log.with_name("own-avatars")), "PYTHONUNBUFFERED": "1"}
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, *program, *preset, *arguments, *self._more],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | own,
            )
        limit = time.monotonic() + READY_WITHIN_S.get(self.engine, READY_WITHIN_S_OTHERS)
        while not self._is_ready():
            if self._child.poll() is not None:
                raise RuntimeError(f"the {self.engine} server ended at its start:\n{self._last_lines()}")
            if time.monotonic() > limit:
                self.kill()
                raise RuntimeError(f"the {self.engine} server was not ready in time:\n{self._last_lines()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends the process without a word to anybody, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Asks the process to end, as Ctrl-C does."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.send_signal(how)
        try:
            self._child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
