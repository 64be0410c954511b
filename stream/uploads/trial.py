"""A film of a picture that speaks, before anybody decides to keep it.

In: a framed canvas. Out: a short film with the house's own line, drawn on the engine that draws the calls. It takes
a seat like a call, so that a server is never fuller than it says; its windows wait behind those of calls, and while
there are any it leaves the engine half of its time. Frames are encoded as they come, in a worker thread.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kernels.machine import ROOT
from stream.clock import Clock
from stream.engine.admission import Pool, Seat
from stream.engine.engine_stream import Drawn
from stream.engine.protocol import EngineSpec
from stream.engine.windower import Window, Windower
from stream.errors import EngineError
from stream.media import UInt8Array
from stream.offline.movie import Movie
from stream.offline.sound_files import PLAYBACK_RATE_HZ, Recording

LINE: Final = ROOT / "stream" / "uploads" / "line.ogg"
"""What is said: synthesised for this project, CC0."""
PATIENCE_S: Final = 60.0
"""How much later than now a window is due: after every call's."""
WINDOW_WITHIN_S: Final = 30.0
FORMS: Final = {"video/mp4": ".mp4", "video/webm": ".webm"}


class _Reel:
    """Hears of the windows drawn; one is under way at a time."""

    def __init__(self) -> None:
        self.drawn: asyncio.Queue[UInt8Array | EngineError] = asyncio.Queue()

    def on_drawn(self, drawn: Drawn) -> None:
        self.drawn.put_nowait(drawn.frames)

    def on_dropped(self, first_frame: int) -> None:
        self.on_failed(EngineError("engine_failed", "A window of the trial was dropped."))

    def on_failed(self, error: EngineError) -> None:
        self.drawn.put_nowait(error)


async def make_trial(pool: Pool, clock: Clock, canvas: UInt8Array, form: str = "video/mp4") -> bytes:
    """Draw the line as a film.

    Args:
        pool: gives the seat and draws.
        canvas: the framed picture, as large as the engine draws.
        form: of `FORMS`.

    Returns:
        The film's bytes.

    Raises:
        AdmissionError: no seat is free.
        EngineError: the engine failed.
    """
    seat = pool.take_seat()
    try:
        with tempfile.TemporaryDirectory(prefix="fada-trial-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / f"trial{FORMS[form]}"
            await _draw(seat, pool, clock, canvas, path)
            return await asyncio.to_thread(path.read_bytes)
    finally:
        seat.release()


async def _draw(seat: Seat, pool: Pool, clock: Clock, canvas: UInt8Array, path: Path) -> None:
    """Draw the line, window by window, into a film."""
    spec = seat.scheduler.spec
    windows, sound = await asyncio.to_thread(_read_line, spec)
    frames_left = math.ceil(sound.shape[1] * spec.fps / PLAYBACK_RATE_HZ)
    reel = _Reel()
    line = seat.scheduler.add_stream(await seat.scheduler.open_state(canvas, 0), reel)
    try:
        with Movie(path, (spec.width, spec.height), spec.fps, len(sound), quick=True) as movie:
            await asyncio.to_thread(movie.add_sound, sound)
            for window in windows:
                began_s = clock.now()
                line.submit(window, began_s + PATIENCE_S)
                frames = await asyncio.wait_for(reel.drawn.get(), WINDOW_WITHIN_S)
                if isinstance(frames, EngineError):
                    raise frames
                took_s = clock.now() - began_s
                await asyncio.to_thread(_add, movie, frames[:frames_left])
                frames_left = max(0, frames_left - len(frames))
                if pool.seats_taken > 1:
                    await asyncio.sleep(took_s)
    except TimeoutError:
        sentence = (
            f"The engine drew nothing for {WINDOW_WITHIN_S:.0f} seconds; try again when it has less to do."
        )
        raise EngineError("engine_failed", sentence, 503) from None
    finally:
        line.close()


def _read_line(spec: EngineSpec) -> tuple[list[Window], npt.NDArray[np.float32]]:
    """The line as windows, and as sound for the film, (1, n) at 48 kHz."""
    windower = Windower(spec)
    windows: list[Window] = []
    sounds = []
    with Recording(LINE) as recording:
        for block in recording.blocks(spec.sample_rate_hz):
            windows += windower.push(block.engine)
            sounds.append(block.playback)
    return windows + windower.flush(), np.concatenate(sounds, axis=1)


def _add(movie: Movie, frames: UInt8Array) -> None:
    for frame in frames:
        movie.add(frame)
