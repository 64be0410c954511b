"""Media time for any network: gapless, deterministic, never far behind the clock, whole where nothing was lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.inbound.timeline import Timeline, TimelineConfig
from stream.media import FADE_SAMPLES, RATE_HZ, Int16Array

START_S = 100.0
PACKET = 480
PACKET_S = PACKET / RATE_HZ
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Fate:
    """What the network does to one packet."""

    lost: bool
    delay_s: float
    pause_s: float  # of the microphone, before the packet was spoken


FATES = st.lists(
    st.builds(
        Fate,
        st.booleans(),
        st.floats(0, 0.4),
        st.one_of(st.just(0.0), st.just(0.0), st.just(0.0), st.floats(0, 3)),
    ),
    max_size=40,
)


def tone(start: int, count: int) -> Int16Array:
    return (8000 * np.sin(2 * np.pi * 300 * np.arange(start, start + count) / RATE_HZ)).astype(np.int16)


def arrivals(fates: list[Fate]) -> list[tuple[float, int]]:
    """(moment of arrival, the sender's position) of what was not lost, as it arrives."""
    spoken_s, found = START_S, []
    for number, fate in enumerate(fates):
        spoken_s += PACKET_S + fate.pause_s
        if not fate.lost:
            found.append((spoken_s + fate.delay_s, number * PACKET))
    return sorted(found)


def fed(timeline: Timeline, events: list[tuple[float, int]]) -> list[Int16Array]:
    """Everything that comes out while the clock looks in every 20 ms."""
    out: list[Int16Array] = []
    now_s = START_S
    for arrives_s, pts in events:
        while now_s + POLL_S < arrives_s:
            now_s += POLL_S
            silence = timeline.fill(now_s)
            out += [] if silence is None else [silence]
        out += timeline.add(tone(pts, PACKET), pts, arrives_s)
    return out


@given(FATES)
def test_what_comes_out_is_gapless_and_counted(fates: list[Fate]) -> None:
    timeline = Timeline(START_S)
    out = fed(timeline, arrivals(fates))
    assert sum(map(len, out)) == timeline.length_samples
    assert all(chunk.dtype == np.int16 and len(chunk) for chunk in out)
    received = sum(not fate.lost for fate in fates) * PACKET
    assert timeline.length_samples == received - timeline.late_samples + timeline.concealed_samples


@given(FATES, st.integers(0, 40))
def test_more_packets_never_change_the_past(fates: list[Fate], kept: int) -> None:
    events = arrivals(fates)
    before = fed(Timeline(START_S), events[:kept])
    after = fed(Timeline(START_S), events)
    for one, other in zip(before, after, strict=False):
        np.testing.assert_array_equal(one, other)


@given(FATES, st.floats(0, 5))
def test_after_a_look_in_it_is_never_further_behind_than_it_may_be(fates: list[Fate], later_s: float) -> None:
    timeline, events = Timeline(START_S), arrivals(fates)
    fed(timeline, events)
    now_s = max([START_S, *(arrives_s for arrives_s, _ in events)]) + later_s
    timeline.fill(now_s)
    config = TimelineConfig()
    # Real time is read against the least delay seen, which is forgotten by so much a second.
    slack_s = config.stall_s + 0.01 + config.baseline_rise * (now_s - START_S) + 1e-6
    assert timeline.length_samples / RATE_HZ >= now_s - START_S - slack_s


@given(
    st.lists(st.sampled_from([120, 240, 480, 960, 1920]), min_size=1, max_size=30),
    st.integers(-(2**31), 2**31),
)
def test_however_a_whole_sound_is_cut_into_packets_it_stays_whole(sizes: list[int], offset: int) -> None:
    timeline, position, out = Timeline(START_S), 0, []
    for size in sizes:
        arrives_s = START_S + (position + size) / RATE_HZ
        out += timeline.add(tone(position, size), position + offset, arrives_s)
        position += size
    heard = np.concatenate(out)
    np.testing.assert_array_equal(heard[FADE_SAMPLES:], tone(0, position)[FADE_SAMPLES:])
    assert timeline.concealed_samples == timeline.late_samples == 0
