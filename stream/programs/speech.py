"""What a program has said and its face has not shown yet, in segments. Pure; event loop only.

In: samples in any pieces, ends, and from the other side how far the media timeline has been shown. Out: pieces at
48 kHz, each sample once, and what became of each segment, to the frame. A segment ends where the program says, and
the next one follows it without a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.media import RATE_HZ, Int16Array
from stream.programs.sound import SoundForm, Upsampler

CONVERTED_S: Final = 0.02
"""Turned into 48 kHz at a time: a long message costs nothing at once."""


class Segment:
    """One stretch of speech, such as an answer.

    Args:
        index: counts from 0.
        form: of its samples.
        label: whatever its program knows it by.
    """

    def __init__(self, index: int, form: SoundForm, label: Mapping[str, object] | None = None) -> None:
        self.index = index
        self.label = label
        self.ended = False
        self.samples = 0  # the program's, taken in
        self.shown_media = 0  # at 48 kHz, counted from the segment's beginning
        self.begun = False  # its program was told that its first frame was shown
        self.told_ms = 0.0  # how far its program was told that it was shown
        self._form = form
        self._step = round(CONVERTED_S * form.rate_hz)
        self._upsampler = Upsampler(form)
        self._raw: deque[Int16Array] = deque()
        self._unread = 0  # the program's samples in `_raw`
        self._ready: Int16Array = np.zeros(0, np.int16)  # at 48 kHz, not given out
        self._given = 0
        self._finished = False

    @property
    def waiting_s(self) -> float:
        """How much of it has not been given out, but for some milliseconds."""
        return self._form.span_s(self._unread)

    @property
    def shown_samples(self) -> int:
        """How many of the program's samples have been shown."""
        if self.shown_media >= self._form.to_media(self.samples):
            return self.samples
        return self.shown_media * self._form.rate_hz // RATE_HZ

    @property
    def shown_ms(self) -> float:
        """The same in milliseconds."""
        return round(1000 * self._form.span_s(self.shown_samples), 3)

    @property
    def given(self) -> bool:
        """Whether it has ended and all of it was given out."""
        return self.ended and self._given == self._form.to_media(self.samples)

    @property
    def shown(self) -> bool:
        """Whether it has ended and all of it was shown."""
        return self.given and self.shown_media >= self._given

    def push(self, pcm: Int16Array) -> None:
        """Append (n,) int16 at the program's rate."""
        self.samples += len(pcm)
        self._unread += len(pcm)
        if self._raw and len(self._raw[-1]) < self._step:  # a program that sends single samples costs no more
            pcm = np.concatenate((self._raw.pop(), pcm))
        self._raw.append(pcm)

    def at_hand(self, count: int) -> int:
        """How many samples at 48 kHz, at most `count`, could be read now."""
        pieces = [self._ready]
        size = len(self._ready)
        while size < count and (self._raw or (self.ended and not self._finished)):
            pieces.append(self._convert())
            size += len(pieces[-1])
        if len(pieces) > 1:
            self._ready = np.concatenate(pieces)
        return min(size, count)

    def read(self, count: int) -> tuple[int, Int16Array]:
        """The next samples at 48 kHz, at most `count`, and the place of the first one in the segment."""
        count = self.at_hand(count)
        piece, self._ready = self._ready[:count], self._ready[count:]
        start, self._given = self._given, self._given + count
        return start, piece

    def _convert(self) -> Int16Array:
        if not self._raw:
            self._finished = True
            return self._upsampler.finish()
        head, step = self._raw.popleft(), self._step
        if len(head) > step:
            self._raw.appendleft(head[step:])
        self._unread -= min(step, len(head))
        return self._upsampler.push(head[:step])


@dataclass(slots=True)
class _Run:
    """Samples [start, start + count) of a segment, laid at `media` of the timeline."""

    media: int
    segment: Segment
    start: int
    count: int


class Speech:
    """All segments that have not been shown to their end, oldest first.

    Args:
        form: of the samples.
    """

    def __init__(self, form: SoundForm) -> None:
        self.form = form
        self.segments: deque[Segment] = deque()
        self._next_index = 0
        self._runs: deque[_Run] = deque()

    @property
    def open_segment(self) -> Segment | None:
        """The one that sound is added to."""
        return self.segments[-1] if self.segments and not self.segments[-1].ended else None

    @property
    def waiting_s(self) -> float:
        """The backlog: sound that has been taken in and not given out."""
        return sum(segment.waiting_s for segment in self.segments)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing: all segments have ended, so silence follows them."""
        return self.open_segment is None

    @property
    def all_shown(self) -> bool:
        """Whether everything that came has been shown, whether or not more is to come."""
        return not self._runs and not self.at_hand(1)

    def push(self, pcm: Int16Array, label: Mapping[str, object] | None = None) -> Segment:
        """Take (n,) int16 in: more of the open segment, or a new one's beginning, which `label` names."""
        segment = self.open_segment or self._begin(label)
        segment.push(pcm)
        return segment

    def end(self) -> Segment:
        """The open segment is complete; where none is open, one without any sound."""
        segment = self.open_segment or self._begin(None)
        segment.ended = True
        return segment

    def clear(self) -> Segment | None:
        """Drop everything; returns the segment that was being shown or was to be next, None where none was."""
        stopped = self.segments[0] if self.segments else None
        self.segments.clear()
        self._runs.clear()
        return stopped

    def at_hand(self, count: int) -> int:
        """How many samples at 48 kHz, at most `count`, could be read now."""
        found = 0
        for segment in self.segments:
            found += segment.at_hand(count - found)
            if found == count or not segment.ended:
                break
        return found

    def read(self, count: int, media: int) -> Int16Array:
        """The next samples at 48 kHz, as many as are at hand and at most `count`, to be laid at `media`."""
        pieces = []
        for segment in self.segments:
            start, piece = segment.read(count)
            if len(piece):
                self._lay(media, segment, start, len(piece))
                pieces.append(piece)
                media, count = media + len(piece), count - len(piece)
            if not count or not segment.ended:
                break
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def show(self, media: int) -> list[Segment]:
        """The timeline has been shown up to `media`: the segments that went on or came to their end by it.

        One whose end was shown is left out from now on.
        """
        moved: list[Segment] = []
        while self._runs and self._runs[0].media < media:
            run = self._runs[0]
            count = min(run.count, media - run.media)
            run.segment.shown_media = run.start + count
            if run.segment not in moved:
                moved.append(run.segment)
            if count < run.count:
                break
            self._runs.popleft()
        while self.segments and self.segments[0].shown:
            segment = self.segments.popleft()
            if segment not in moved:
                moved.append(segment)
        return moved

    def _begin(self, label: Mapping[str, object] | None) -> Segment:
        self.segments.append(Segment(self._next_index, self.form, label))
        self._next_index += 1
        return self.segments[-1]

    def _lay(self, media: int, segment: Segment, start: int, count: int) -> None:
        last = self._runs[-1] if self._runs else None
        if last and last.segment is segment and last.media + last.count == media:
            last.count += count
        else:
            self._runs.append(_Run(media, segment, start, count))
