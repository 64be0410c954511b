"""The server's side of the process that reads strangers' pictures.

In: a picture's file and what to do with it. Out: what `stream.uploads.worker` answers, or its refusal. One picture
at a time, the others wait. The process is started for the first picture and ended when none has come for a while,
when one takes too long, and with the server. Event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from kernels.machine import ROOT
from stream.errors import MediaError, SignalingError
from stream.uploads.form import PictureForm

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 60.0
"""By the clock on the wall: a machine that has much else to do is slow, which is no fault of the picture."""
IDLE_S: Final = 120.0
FREED_AT_ONCE: Final = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""For glibc: pictures are given back to the system when they are freed, not kept for the next one beside it."""
LONGEST_LINE: Final = 32 * 1024 * 1024
"""Of an answer: two small pictures, or a canvas."""


class RefusedPicture(SignalingError):
    """A picture that cannot be used, and what was seen of it: small pictures as data URLs, or nothing."""

    def __init__(self, code: str, message: str, status: int, shown: Mapping[str, Any]) -> None:
        super().__init__(code, message, status)
        self.shown = shown

    def as_json(self) -> dict[str, Any]:
        """The body of the HTTP answer."""
        return {"error": self.code, "message": self.message, **self.shown}


class PictureReader:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[int] | None = None

    async def ask(self, do: str, form: PictureForm, **more: object) -> dict[str, Any]:
        """Have something done with a picture: "look", "cut" or "keep".

        Raises:
            SignalingError: the picture cannot be used.
            MediaError: the server cannot keep it.
        """
        asked = {"do": do, "picture": str(form.path), "called": form.called, "points": form.points, **more}
        async with self._turn:
            told = await self._told(json.dumps(asked), form.called)
        if "done" in told:
            done: dict[str, Any] = told["done"]
            return done
        refused = told["refused"]
        if refused["status"] >= 500:
            raise MediaError(refused["code"], refused["message"], refused["status"])
        raise RefusedPicture(refused["code"], refused["message"], refused["status"], told["shown"])

    async def close(self) -> None:
        """End the process."""
        if self._resting is not None:
            self._resting.cancel()
        if (process := self._kill()) is not None:
            await process.wait()

    def _kill(self) -> asyncio.subprocess.Process | None:
        """Have the process ended at once, and the next picture start another."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return process

    async def _told(self, line: str, called: str) -> dict[str, Any]:
        """What the process answers to a line."""
        if self._resting is not None:
            self._resting.cancel()
        try:
            process = await self._running()
            assert process.stdin is not None and process.stdout is not None
            async with asyncio.timeout(ANSWER_WITHIN_S):
                process.stdin.write(line.encode() + b"\n")
                await process.stdin.drain()
                said = await process.stdout.readline()
            told: dict[str, Any] = json.loads(said)
        except BaseException as error:
            # an answer that nobody waits for any more would be taken for the next picture's
            await self.close()
            if not isinstance(error, TimeoutError | OSError | ValueError):
                raise
            logger.warning("a picture could not be read: %r", error)
            why = "takes too long" if isinstance(error, TimeoutError) else "ended the program that read it"
            raise RefusedPicture(
                "bad_image", f"{called} {why}; save it as a PNG or JPEG, or smaller.", 422, {}
            ) from error
        self._resting = asyncio.get_running_loop().call_later(IDLE_S, self._rest)
        return told

    def _rest(self) -> None:
        """Nobody has come for a while: give the memory back."""
        if (process := self._kill()) is not None:
            self._ending = asyncio.create_task(process.wait())

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "stream.uploads.worker",
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                env={**os.environ, **FREED_AT_ONCE},
                start_new_session=True,  # Ctrl-C is the server's to hear
            )
        return self._process
