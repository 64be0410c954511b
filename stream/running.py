"""The HTTP server as a process: prints its address once calls can start, and stops when it is told to.

In: an application and a listening socket. Out: an exit code. While the networks are still loading there is nothing
to lose, so a signal ends the process at once, whatever the loading thread is doing. Later it ends every call first;
a second signal changes nothing, and a stop that hangs is ended by a watchdog.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

STOP_WITHIN_S: Final = 5
"""Time that HTTP answers under way get."""
GIVE_UP_AFTER_S: Final = 9.0
"""A stop that takes longer is ended hard: `docker stop` and systemd would kill soon after."""
WS_MAX_BYTES: Final = 4 * 1024 * 1024
"""Of a WebSocket's message; the doors refuse shorter ones with a sentence."""


class AnnouncedServer(uvicorn.Server):
    """Runs `stream.app`'s application; ends itself where the engine cannot be loaded."""

    def __init__(self, app: FastAPI, address: str, verbose: bool) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=verbose,
                log_level="info" if verbose else "warning",
                timeout_graceful_shutdown=STOP_WITHIN_S,
                server_header=False,
                ws_max_size=WS_MAX_BYTES,
                ws_per_message_deflate=False,  # sound and film do not become smaller
            )
        )
        self.problem = ""
        self._state = app.state.server
        self._address = address
        self._announcing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        print("Loading the networks ...", file=sys.stderr, flush=True)
        self._announcing = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        await self._state.loaded.wait()
        if self._state.load_error is not None:
            self.problem = self._state.load_error.message
            self.should_exit = True
        elif not self.should_exit:
            print(f"Fada Live is ready: {self._address}  (Ctrl-C stops it)", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called on the main thread, for SIGINT and SIGTERM."""
        if not self._state.loaded.is_set():
            leave(128 + sig, "stopped while it was loading")
        if not self.should_exit:
            watchdog = threading.Timer(GIVE_UP_AFTER_S, leave, (1, "did not stop in time and was ended"))
            watchdog.daemon = True
            watchdog.start()
        self.should_exit = True


def leave(code: int, why: str) -> None:
    """End the process now, without waiting for any thread."""
    with contextlib.suppress(OSError):
        os.write(2, f"fada serve: {why}.\n".encode())
    os._exit(code)
