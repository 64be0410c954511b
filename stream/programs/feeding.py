"""Gives a face what a program has said, at the face's own pace. Decisions on a clock; event loop only.

In: the speech, which may be minutes ahead or come as it is spoken. Out: packets of 10 ms on the media timeline, for
ever: the speech where there is some, silence where there is none.

    resting ── speech ─▶ starting ── enough is ahead ─▶ speaking ── all was shown ─▶ resting

What was silent and not yet shown when speech begins is forgotten (`Showing.hasten`), and as much of the speech as
the first window hears is given at once: its frames need not wait for sound that is there. From then on a packet
goes every 10 ms. Speech that is late (its program is slower than it speaks) is waited for a little; then silence is
put in.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Final

import numpy as np

from stream.clock import Clock
from stream.inbound.resampler import EngineResampler
from stream.live.caller import Showing
from stream.media import PACKET_SAMPLES, RATE_HZ, Heard, Int16Array
from stream.outbound.tracks import VOICE_LEAD_S
from stream.programs.speech import Segment, Speech

PACKET_S: Final = PACKET_SAMPLES / RATE_HZ
PATIENCE_S: Final = 0.06
"""How late a packet of speech may be before silence takes its place."""
READY_FRAMES: Final = 3
STANDSTILL_S: Final = 0.25
"""A look this late means that the process stood still: the pacer's clock moves on then, and so does this one."""
EPSILON_S: Final = 1e-6


class _State(enum.Enum):
    RESTING = "resting"
    STARTING = "starting"
    SPEAKING = "speaking"


class Feeding:
    """See the module's docstring.

    Args:
        clock: the time.
        speech: what is to be said.
        showing: of the face that says it.
        tell: called at every look, some 10 ms apart, with the segments that were shown further meanwhile.
    """

    def __init__(
        self, clock: Clock, speech: Speech, showing: Showing, tell: Callable[[list[Segment]], None]
    ) -> None:
        self.underruns = 0  # packets of silence within a segment
        self._clock = clock
        self._speech = speech
        self._showing = showing
        self._tell = tell
        spec = showing.spec
        self._resampler = EngineResampler(spec.sample_rate_hz)
        self._frame = RATE_HZ // spec.fps
        ahead = spec.window_samples - spec.context_samples
        self._first_window = (
            math.ceil(ahead * RATE_HZ / spec.sample_rate_hz / PACKET_SAMPLES) * PACKET_SAMPLES
        )
        self._hop = spec.hop_frames * self._frame
        # A little more lies ready for a process that stands still; not more windows than may wait.
        self._burst = self._first_window + min(READY_FRAMES, spec.hop_frames) * self._frame
        self._least_ahead = self._first_window - 2 * self._frame  # of what is shown: windows need that much
        # The voice is sent ahead of its picture: what lies before the first picture by less is never sent.
        self._lead_in = math.ceil(VOICE_LEAD_S * spec.fps) * self._frame
        self._state = _State.RESTING
        self._due_s = 0.0  # when the next packet is to go
        self._given = 0  # samples since the speech began
        self._hear: Callable[[Heard], None] = lambda heard: None

    async def run(self, hear: Callable[[Heard], None]) -> None:
        """Feed until cancelled."""
        self._hear = hear
        self._due_s = self._clock.now()
        self._showing.keep_silence(True)
        try:
            while True:
                now_s = self._clock.now()
                self._look(now_s)
                self.note_shown()
                await self._clock.sleep_until(self._due_s if self._due_s > now_s else now_s + PACKET_S)
        finally:
            self._showing.keep_silence(False)

    def note_shown(self) -> None:
        """Tell how far the speech has been shown by now; who says more when he hears it begins anew."""
        moved = self._speech.show(self._showing.shown_samples)
        if self._speech.all_shown:
            self._state = _State.RESTING
        self._tell(moved)

    def rest(self) -> None:
        """The speech was cleared."""
        self._state = _State.RESTING

    # -- decisions ----------------------------------------------------------------------------------------

    def _look(self, now_s: float) -> None:
        """Give all packets whose time has come, and those that need not wait for theirs."""
        if now_s - self._due_s > STANDSTILL_S:
            self._due_s = now_s
        if self._state is _State.RESTING and self._showing.is_drawn and not self._speech.all_shown:
            self._start(now_s)
        while self._due_s <= now_s + EPSILON_S or self._state is _State.STARTING or self._is_behind:
            if not self._may_give(now_s):
                return
            self._give()
            if self._is_behind or self._state is _State.SPEAKING:
                self._due_s = min(self._due_s, now_s + PACKET_S)

    def _start(self, now_s: float) -> None:
        """Forget the silence that waits, and begin on a whole frame, so far ahead as the voice goes."""
        self._showing.hasten()
        to_the_frame = -self._showing.heard_samples % self._frame
        self._put(np.zeros(to_the_frame + self._lead_in, np.int16))
        self._state = _State.STARTING
        self._given = self._lead_in
        self._due_s = now_s

    @property
    def _is_behind(self) -> bool:
        """Whether the face is about to run out of sound: its clock did not stand still as long as ours."""
        showing = self._showing
        return showing.is_showing and showing.heard_samples - showing.shown_samples < self._least_ahead

    def _may_give(self, now_s: float) -> bool:
        late_s = now_s - self._due_s
        unseen = self._state is not _State.RESTING and not self._showing.is_showing
        if unseen and self._given >= self._first_window + self._hop:  # more windows would be dropped
            self._due_s = now_s + PACKET_S
            return False
        if self._state is _State.RESTING or self._speech.complete:
            return True
        if self._speech.at_hand(PACKET_SAMPLES) == PACKET_SAMPLES:
            return True
        return late_s > PATIENCE_S

    def _give(self) -> None:
        """One packet: speech, filled up with silence."""
        packet = np.zeros(PACKET_SAMPLES, np.int16)
        if self._state is not _State.RESTING:
            said = self._speech.read(PACKET_SAMPLES, self._showing.heard_samples)
            packet[: len(said)] = said
            self.underruns += not self._speech.complete and len(said) < PACKET_SAMPLES
        self._put(packet)
        self._due_s += PACKET_S
        self._given += PACKET_SAMPLES
        if self._state is _State.STARTING and self._given >= self._burst:
            self._state = _State.SPEAKING

    def _put(self, pcm: Int16Array) -> None:
        self._hear(Heard(self._clock.now(), pcm, self._resampler.push(pcm)))
