"""A live face: sound in, slots of picture and voice out. No network, no aiortc; event loop only.

    hear ─▶ windower ─▶ engine stream ─▶ (engine's thread) ─▶ on_drawn ─▶ pacer ─▶ slots, or a connection's tracks
       └───────────── voice ─────────────────────────────────────────────▶┘

The face owns this wiring, the controls in force and what an interruption does. It draws once `open` has given it a
stream; before that, and for who never opens it, its slots show the portrait in silence.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from stream.clock import Clock
from stream.engine.controls import controls_in_force, read_controls
from stream.engine.engine_stream import Drawn
from stream.engine.protocol import Controls, EngineSpec
from stream.engine.windower import Window, Windower
from stream.errors import EngineError
from stream.live.slots import Slot, SlotFeed, walk
from stream.media import Heard, UInt8Array
from stream.outbound.pacer import Pacer, PacerConfig
from stream.outbound.voice_buffer import loudness

SPEAKING_LOUDNESS: Final = 0.01


class DrawingLine(Protocol):
    """A face's line to whatever draws it; `stream.engine.engine_stream.EngineStream` is the real one."""

    controls: Controls

    def submit(self, window: Window, deadline_s: float) -> None: ...

    def restart(self, state: object) -> int: ...

    def rest(self) -> int: ...

    def close(self) -> None: ...


class Draughtsman(Protocol):
    """Who opens lines; `stream.engine.scheduler.Scheduler` is the real one."""

    async def open_state(self, image: UInt8Array, seed: int) -> object: ...

    def add_stream(self, state: object, listener: Face) -> DrawingLine: ...


class FaceWatcher(Protocol):
    """Hears what became of a face's windows, for figures, and of its end."""

    def on_drawn(self, drawn: Drawn) -> None: ...

    def on_dropped(self, first_frame: int) -> None: ...

    def on_failed(self, error: EngineError) -> None: ...


class Face:
    """See the module's docstring.

    Args:
        clock: the time.
        spec: what the engine draws.
        canvas: framed picture, (S, S, 3) uint8 RGB, shown until the first drawn frame.
        seed: of the stream.
        controls: in force from the first window on.
        pacing: see `PacerConfig`.
        watcher: hears of windows drawn, dropped and failed.
    """

    def __init__(
        self,
        clock: Clock,
        spec: EngineSpec,
        canvas: UInt8Array,
        seed: int = 0,
        controls: Controls | None = None,
        pacing: PacerConfig | None = None,
        watcher: FaceWatcher | None = None,
    ) -> None:
        self.spec = spec
        self.controls = controls or Controls()
        self.pacer = Pacer(clock, spec.fps, canvas, pacing)
        self.spoke_s = -math.inf  # when a voice was heard last
        self._canvas = canvas
        self._seed = seed
        self._watcher = watcher
        self._windower = Windower(spec)
        self._line: DrawingLine | None = None
        self._artist: Draughtsman | None = None

    # -- life ---------------------------------------------------------------------------------------------

    async def open(self, artist: Draughtsman) -> None:
        """Begin to be drawn.

        Raises:
            EngineError: the engine refused the portrait, or failed.
        """
        self.draw_on(artist.add_stream(await artist.open_state(self._canvas, self._seed), self))
        self._artist = artist

    def draw_on(self, line: DrawingLine) -> None:
        """Be drawn over a line that is open already."""
        self._line = line
        line.controls = self.controls

    async def change(self, canvas: UInt8Array) -> None:
        """Become another face; what is being drawn of the old one is dropped.

        Raises:
            EngineError: the engine refused it, or failed; the old face goes on.
        """
        assert self._artist is not None and self._line is not None, "a face is opened before it is changed"
        self._line.restart(await self._artist.open_state(canvas, self._seed))
        self._canvas = canvas

    def close(self) -> None:
        """Be drawn no more; the slots hold the last picture. The engine gets its state back."""
        if self._line is not None:
            self._line.close()
            self._line = None

    # -- in -----------------------------------------------------------------------------------------------

    def hear(self, heard: Heard) -> None:
        """Take the next piece of sound in."""
        pacer = self.pacer
        pacer.push_voice(heard.voice, heard.arrived_s)
        if loudness(heard.voice) > SPEAKING_LOUDNESS:
            self.spoke_s = heard.arrived_s
        for window in self._windower.push(heard.engine):
            if self._line is not None:  # before that the picture stands still anyway
                due_s = pacer.deadline(window.first_frame)
                self._line.submit(window, due_s or heard.arrived_s + 2 * self.spec.hop_s)

    def turn(self, fields: Mapping[str, Any]) -> None:
        """Change scales, or whether it listens, from the next window on.

        Raises:
            ValueError: a value is wrong; nothing has changed.
        """
        self.set_controls(read_controls(fields, self.controls, self.spec))

    def set_controls(self, controls: Controls) -> None:
        """Put settings, checked already, in force from the next window on."""
        self.controls = controls
        if self._line is not None:
            self._line.controls = controls

    @property
    def in_force(self) -> dict[str, float]:
        """The scales in force, and whether it listens."""
        return controls_in_force(self.controls, self.spec)

    def clear(self) -> None:
        """Interrupt: drop all that was heard and not yet shown, silence at once, the mouth eases to rest.

        What is heard from now on counts again, and the delay is found anew.
        """
        self.pacer.clear(self._windower.restart())
        if self._line is not None:
            self._line.rest()

    # -- for who has its sound before it is due --------------------------------------------------------------

    @property
    def is_drawn(self) -> bool:
        """Whether windows are drawn: not before `open`, nor after a failure."""
        return self._line is not None

    @property
    def is_showing(self) -> bool:
        """Whether what was heard since the last interruption is being shown."""
        return self.pacer.started

    @property
    def heard_samples(self) -> int:
        """Where on the media timeline, at 48 kHz, the next sample will lie."""
        return self.pacer.heard_samples

    @property
    def shown_samples(self) -> int:
        """How far the media timeline has been shown, to the frame."""
        return self.pacer.shown_samples

    def hasten(self) -> None:
        """Speech begins after silence: forget the silence not yet shown, so that the speech is drawn at once."""
        self.clear()

    def keep_silence(self, keep: bool) -> None:
        """Whether quiet moments may be left out to give delay back, or every sample is shown."""
        self.pacer.skips_silence = not keep

    # -- what the engine says ------------------------------------------------------------------------------

    def on_drawn(self, drawn: Drawn) -> None:
        """A window was drawn, or a rest."""
        if self._watcher is not None:
            self._watcher.on_drawn(drawn)
        if drawn.first_frame is None:
            self.pacer.push_rest(drawn.frames)
        else:
            self.pacer.push_frames(drawn.first_frame, drawn.frames)

    def on_dropped(self, first_frame: int) -> None:
        """A window was dropped from this face's full queue."""
        if self._watcher is not None:
            self._watcher.on_dropped(first_frame)

    def on_failed(self, error: EngineError) -> None:
        """The engine failed on this face; it is drawn no more."""
        if self._watcher is not None:
            self._watcher.on_failed(error)

    # -- out ----------------------------------------------------------------------------------------------

    def slots(self) -> AsyncIterator[Slot]:
        """Its slots, each when it is due, for ever; who reads them is the face's motor (see `walk`)."""
        return walk(self.pacer)

    def feed(self) -> SlotFeed:
        """Its slots beside the motor that it has; to be closed by the reader."""
        return SlotFeed(self.pacer)
