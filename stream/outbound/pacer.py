"""One clock for the face and the voice that goes with it. Pure decisions plus `wait`; runs on the event loop.

In: drawn frames by media frame index, and the microphone's own 48 kHz samples. Out: for every *slot* of 1/fps
one picture and one slot's worth of voice.

Slot n is due at `t0 + n / fps`; both tracks count slots from the same t0, so neither can start late or drift.
A whole number, the *offset*, ties slots to media frames: slot n shows media frame n - offset and carries
exactly that frame's samples. Before the first drawn frame there is no offset: the slots show the reference
picture in silence. The first one moves t0 by a part of a slot, to be shown as soon as it can. After that the voice
never waits for the picture: a late frame is skipped and the last one held.

The delay follows what is needed in two ways. t0 moves by fractions of a millisecond a slot
(`stream.outbound.reserve`), unheard; that also absorbs two clocks that drift apart. The offset moves by
whole slots, in quiet moments if it can, where that would take too long: later when frames keep arriving
late, earlier when a slot or more is to spare.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from stream.clock import Clock
from stream.media import PACKET_SAMPLES, RATE_HZ, Int16Array, Picture, UInt8Array
from stream.outbound.pacing_stats import PacingStats
from stream.outbound.reserve import Reserve, ReserveConfig
from stream.outbound.voice_buffer import VoiceBuffer, joined, loudness

SETTLED_SLOTS = 32  # remembered, so that both tracks see the same decision


@dataclass(frozen=True, slots=True)
class PacerConfig:
    """Attributes:
    margin_s: time the first frame has to spare, before anything is known about the others.
    quiet: loudness (0 … 1) below which a slot may be repeated or left out unheard.
    nudged_s: a lack of reserve up to this is made up by moving t0 alone.
    max_extra_slots: how far the delay may grow beyond the first one.
    max_spare_slots: reserve that is given back at once, heard or not: after a standstill it is only delay.
    stall_s: a track this late means that the process stood still; the clock is moved on.
    max_frames: frames kept; the oldest go first.
    fade_frames: frames over which the reference picture turns into drawn ones.
    voice_lead_s: how much earlier than its picture a sound is sent; makes up for what delays it afterwards.
    reserve: see `ReserveConfig`.
    """

    margin_s: float = 0.015
    quiet: float = 0.006
    nudged_s: float = 0.02
    max_extra_slots: int = 25
    max_spare_slots: int = 20
    stall_s: float = 0.25
    max_frames: int = 50
    fade_frames: int = 4
    voice_lead_s: float = 0.0
    reserve: ReserveConfig = field(default_factory=ReserveConfig)

    def __post_init__(self) -> None:
        if self.max_frames < 1:
            raise ValueError(f"PacerConfig.max_frames must be at least 1, got {self.max_frames}")
        if not 0.0 <= self.voice_lead_s <= 0.1:
            raise ValueError(f"PacerConfig.voice_lead_s must lie in 0..0.1, got {self.voice_lead_s}")


@dataclass(frozen=True, slots=True)
class Slot:
    """What was settled for one slot: its media frame (None before the first) and its voice.

    `repeated` is True where the delay grows: the samples went out before, so the voice is silence.
    """

    index: int
    media_frame: int | None
    voice: Int16Array
    repeated: bool


class Pacer:
    """One session's output clock.

    Args:
        clock: the time.
        fps: frames a second; must divide 48000.
        still: (H, W, 3) uint8 RGB, shown until the first drawn frame.
        config: see `PacerConfig`.
    """

    def __init__(self, clock: Clock, fps: int, still: UInt8Array, config: PacerConfig | None = None) -> None:
        if RATE_HZ % fps:
            raise ValueError(f"fps must divide {RATE_HZ}, got {fps}")
        self._clock = clock
        self._config = config or PacerConfig()
        self._fps = fps
        self.slot_samples = RATE_HZ // fps
        self._still = still
        self._t0_s: float | None = None
        self._offset: int | None = None
        self._first_offset = 0
        self._first_media = 0
        self._not_before = 0
        self._voice = VoiceBuffer()
        self._voice_next = 0  # media position after the slot settled last
        self._voice_sent = 0  # media position up to which samples have been sent
        self._muted = True  # the slot settled last was silence
        self._frames: dict[int, UInt8Array] = {}
        self._shown: tuple[int | None, UInt8Array] = (None, still)
        self._slots: deque[Slot] = deque(maxlen=SETTLED_SLOTS)
        self._resting: deque[UInt8Array] = deque()  # shown in turn while there is no offset
        self._voice_lead = round(self._config.voice_lead_s * RATE_HZ)
        self.reserve = Reserve(self._config.reserve)
        self.skips_silence = True  # whether quiet slots may be left out to give delay back
        self.shown_samples = 0  # media position after the newest picture that has gone out
        self.picture_lead_s = 0.0  # before a slot's due time its picture is chosen; the picture track says
        self.stats = PacingStats(fps)
        self.on_sent: list[Callable[[Picture], None]] = []  # told of every picture, at the moment it goes out

    # -- time ---------------------------------------------------------------------------------------------

    def due(self, slot: float) -> float:
        """The clock's reading at which a slot (or a part of one) is due.

        Starts the clock when first asked.
        """
        if self._t0_s is None:
            self._t0_s = self._clock.now()
        return self._t0_s + slot / self._fps

    async def wait(self, slot: float, lead_s: float = 0.0) -> None:
        """Wait until `lead_s` before a slot is due."""
        await self._clock.sleep_until(self.due(slot) - lead_s)

    async def wait_as_master(self, slot: float) -> None:
        """Wait as the voice does: after a standstill of the process the clock moves on with it.

        Nobody else may move the clock, or a slow picture would make the voice wait.
        """
        self.follow_standstill(slot)
        await self.wait(slot)

    def follow_standstill(self, slot: float) -> None:
        """Move the clock on if this slot's time has passed by more than `stall_s`."""
        late_s = self._clock.now() - self.due(slot)
        if late_s > self._config.stall_s:
            assert self._t0_s is not None
            self._t0_s += late_s
            self.stats.stalls += 1

    def latest_slot(self, slot: int) -> int:
        """The slot to show when it is `slot`'s turn: a later one when whole slots have already passed."""
        passed = math.floor((self._clock.now() - self.due(slot)) * self._fps)
        if passed > 0:
            self.stats.missed_slots += passed
        return slot + max(0, passed)

    @property
    def heard_samples(self) -> int:
        """Media position after the newest sample of voice."""
        return self._voice.end_samples

    @property
    def voice_sent_s(self) -> float:
        """Media time up to which the voice has been sent, in seconds."""
        return self._voice_sent / RATE_HZ

    @property
    def started(self) -> bool:
        """Whether drawn frames are being shown."""
        return self._offset is not None

    def deadline(self, media_frame: int) -> float | None:
        """When a media frame is due to be shown; None before the first one was drawn."""
        return None if self._offset is None else self.due(media_frame + self._offset)

    # -- in -----------------------------------------------------------------------------------------------

    def push_voice(self, pcm: Int16Array, arrived_s: float) -> None:
        """Append (n,) int16 of the media timeline at 48 kHz; keeps 4 s, older ones go."""
        self.stats.note_arrival(self._voice.end_samples, len(pcm), self.slot_samples, arrived_s)
        self._voice.push(pcm)

    def push_frames(self, first_frame: int, frames: UInt8Array) -> None:
        """Take drawn frames (n, H, W, 3) of media frames first_frame ….

        Late ones count as reserve below zero.
        """
        now_s = self._clock.now()
        if first_frame < self._not_before:
            return
        for index, image in enumerate(frames):
            self._frames[first_frame + index] = image
        while len(self._frames) > self._config.max_frames:
            del self._frames[min(self._frames)]
            self.stats.dropped_frames += 1
        if self._offset is None:
            self._begin(first_frame, now_s + self.picture_lead_s + self._config.margin_s)
        assert self._offset is not None
        self.reserve.note(first_frame / self._fps, now_s)
        self.stats.note_reserve(self.due(first_frame + self._offset) - self.picture_lead_s - now_s)

    def _begin(self, first_frame: int, show_s: float) -> None:
        """Tie slots to media so that this frame is shown at `show_s`, or in the next slot that is still open."""
        slot = math.floor((show_s - self.due(0)) * self._fps + 1e-6)
        if self._slots:
            slot = max(slot, self._slots[-1].index + 1)
        assert self._t0_s is not None
        self._t0_s += max(0.0, show_s - self.due(slot))
        self._offset = self._first_offset = slot - first_frame
        self._first_media = first_frame
        self._voice_next = self._voice_sent = first_frame * self.slot_samples + self._voice_lead

    def clear(self, first_media: int) -> None:
        """Forget all voice and frames before media frame ``first_media``: silence from the next packet on.

        The picture stays until `push_rest` or the first frame from there on; then the delay is found anew.
        """
        self._offset = None
        self._not_before = first_media
        self._frames.clear()
        self._resting.clear()
        self.reserve.clear()
        self._still = self._shown[1]
        self._cut_voice()

    def _cut_voice(self) -> None:
        """Let the settled slots' voice fade where the next packet begins; what has been sent stays as it was."""
        faded = False
        for place, slot in enumerate(self._slots):
            packets = math.floor((self._clock.now() - self.due(slot.index)) * RATE_HZ / PACKET_SAMPLES) + 1
            sent = max(0, packets * PACKET_SAMPLES)
            rest = slot.voice[sent:]
            if rest.size:
                silent = np.zeros_like(rest)
                ending = silent if faded else joined(rest, silent)
                self._slots[place] = replace(slot, voice=np.concatenate([slot.voice[:sent], ending]))
                self._muted = faded = True

    def push_rest(self, frames: UInt8Array) -> None:
        """Pictures (n, H, W, 3) of a mouth coming to rest, for the slots until speech is drawn again."""
        if self._offset is None:
            self._resting.extend(frames)

    # -- out ----------------------------------------------------------------------------------------------

    def voice(self, slot: int) -> Int16Array:
        """The samples of a slot, (slot_samples,) int16; settles the slot if nobody has."""
        return self._settled(slot).voice

    def picture(self, slot: int) -> Picture:
        """The picture of a slot; settles the slot if nobody has."""
        media = self._settled(slot).media_frame
        if media is None:
            if not self._resting:
                return Picture(slot, self._shown[0], False, self._shown[1])
            self._shown = (None, self._resting.popleft())
            self._still = self._shown[1]
            return Picture(slot, None, True, self._shown[1])
        ready = [index for index in self._frames if index <= media]
        newest = max(ready, default=None)
        for index in ready:
            image = self._frames.pop(index)
            if index == newest:
                self._shown = (index, self._faded_in(index, image))
        self.stats.dropped_frames += max(0, len(ready) - 1)
        self.stats.note_picture(media, self._shown[0], newest is not None)
        return Picture(slot, self._shown[0], newest is not None, self._shown[1])

    def sent_picture(self, picture: Picture) -> None:
        """The video track hands `picture` over for sending, now."""
        slot = self._settled(picture.slot)
        voice_frame = None if slot.repeated else slot.media_frame
        if slot.media_frame is not None:
            self.shown_samples = max(self.shown_samples, (slot.media_frame + 1) * self.slot_samples)
        late_s = self._clock.now() - self.due(picture.slot)
        self.stats.note_sent(self._clock.now(), late_s, voice_frame, picture)
        for tell in self.on_sent:
            tell(picture)

    def sent_voice(self, slot: float) -> None:
        """The audio track hands the samples of `slot` (or a part of it) over for sending, now."""
        self.stats.note_voice_sent(self._clock.now() - self.due(slot))

    # -- decisions ----------------------------------------------------------------------------------------

    def _settled(self, index: int) -> Slot:
        for slot in reversed(self._slots):
            if slot.index == index:
                return slot
        if self._slots and index < self._slots[-1].index:  # long gone: nothing may be decided about it now
            return Slot(index, None, np.zeros(self.slot_samples, dtype=np.int16), repeated=True)
        # One after the other, also those that the picture skips: the voice will ask for them.
        first = self._slots[-1].index + 1 if self._slots else index
        for following in range(max(first, index - SETTLED_SLOTS + 1), index + 1):
            self._slots.append(self._settle(following))
        return self._slots[-1]

    def _settle(self, index: int) -> Slot:
        if self._offset is None or index - self._offset < self._first_media:
            return Slot(index, None, self._silence(), repeated=False)
        media = index - self._offset
        move = self._wanted_move(media)
        if move:
            self._offset += move
            self.stats.moves += 1
            media = index - self._offset
        else:
            assert self._t0_s is not None
            self._t0_s += self.reserve.nudge_s(self._anchor_s, self._is_quiet(media, 1))
        return self._with_voice(index, media)

    def _silence(self) -> Int16Array:
        """A slot without voice; one that comes after voice begins with its fading end."""
        pcm = np.zeros(self.slot_samples, dtype=np.int16)
        if not self._muted:
            pcm = joined(self._voice.read(self._voice_next, self.slot_samples), pcm)
        self._muted = True
        return pcm

    @property
    def _anchor_s(self) -> float:
        """When the picture of media time 0 is, or was, to be chosen."""
        assert self._offset is not None
        return self.due(self._offset) - self.picture_lead_s

    def _with_voice(self, index: int, media: int) -> Slot:
        """The slot's samples: the media's own, silence where they were sent before, no step at any joint."""
        start = media * self.slot_samples + self._voice_lead
        if not self._voice.has(start, self.slot_samples):
            self.stats.missing_voice_slots += 1
        repeated = start < self._voice_sent
        pcm = (
            np.zeros(self.slot_samples, np.int16) if repeated else self._voice.read(start, self.slot_samples)
        )
        if start != self._voice_next:
            pcm = joined(self._voice.read(self._voice_next, self.slot_samples), pcm)
        elif self._muted and not repeated:
            pcm = joined(np.zeros_like(pcm), pcm)
        self._muted = repeated
        self._voice_next = start + self.slot_samples
        self._voice_sent = max(self._voice_sent, self._voice_next)
        return Slot(index, media, pcm, repeated)

    def _wanted_move(self, media: int) -> int:
        """Slots by which the delay should grow (positive) or shrink (negative) at this slot."""
        config, reserve = self._config, self.reserve
        assert self._offset is not None
        if not len(reserve):
            return 0
        low_s = reserve.low_s(self._anchor_s)
        if low_s < 0:
            room = config.max_extra_slots - (self._offset - self._first_offset)
            wanted = max(0, min(math.ceil(-low_s * self._fps), room))
            if not wanted or low_s > -config.nudged_s:
                return 0
            return wanted if reserve.impatient(self._anchor_s) or self._is_quiet(media, 1) else 0
        if not self.skips_silence:
            return 0
        guard_s = reserve.config.guard_s
        overflow = math.floor((min(reserve.recent_s(self._anchor_s)) - guard_s) * self._fps)
        if overflow > config.max_spare_slots:
            return -overflow
        spare = math.floor((low_s - guard_s) * self._fps)
        if not reserve.settled or spare < 1:
            return 0
        skipped = (spare + 1) // 2  # half of it at a time: what is left may still be needed
        unheard = media + skipped in self._frames and self._is_quiet(media, skipped + 1)
        return -skipped if unheard else 0

    def _is_quiet(self, media: int, slots: int) -> bool:
        """Whether nothing would be missed if these slots were repeated or left out."""
        pcm = self._voice.read(media * self.slot_samples, slots * self.slot_samples)
        return loudness(pcm) < self._config.quiet

    def _faded_in(self, index: int, image: UInt8Array) -> UInt8Array:
        """The first drawn frames melt out of the reference picture."""
        step = index - self._first_media + 1
        if step > self._config.fade_frames or image.shape != self._still.shape:
            return image
        share = step / (self._config.fade_frames + 1)
        mixed = self._still.astype(np.float32) * (1.0 - share) + image.astype(np.float32) * share
        return (mixed + 0.5).astype(np.uint8)
