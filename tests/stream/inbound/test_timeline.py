"""Media time: gapless whatever the network and the microphone do."""

from __future__ import annotations

import numpy as np
import pytest

from stream.inbound.timeline import Timeline, TimelineConfig
from stream.media import RATE_HZ

PACKET = 960
START_S = 100.0


def tone(start: int, count: int = PACKET) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * 300 * np.arange(start, start + count) / RATE_HZ)).astype(np.int16)


class Feed:
    """A sender with a timeline behind it; collects what comes out."""

    def __init__(self, config: TimelineConfig | None = None) -> None:
        self.timeline = Timeline(START_S, config)
        self.chunks: list[np.ndarray] = []

    @property
    def out(self) -> np.ndarray:
        return np.concatenate(self.chunks)

    def packet(self, number: int, now_s: float | None = None, offset: int = 0) -> int:
        """Deliver packet `number`, by default the moment its last sample was spoken.

        Returns samples given.
        """
        arrived_s = START_S + (number + 1) * 0.02 if now_s is None else now_s
        chunks = self.timeline.add(tone(number * PACKET), number * PACKET + offset, arrived_s)
        self.chunks += chunks
        return sum(map(len, chunks))

    def fill(self, now_s: float) -> int:
        chunk = self.timeline.fill(now_s)
        if chunk is not None:
            self.chunks.append(chunk)
        return 0 if chunk is None else len(chunk)


def test_steady_packets_pass_unchanged() -> None:
    feed = Feed()
    for number in range(50):
        assert feed.packet(number) == PACKET
        assert feed.fill(START_S + (number + 1) * 0.02) == 0
    np.testing.assert_array_equal(feed.out[240:], tone(0, 50 * PACKET)[240:])  # the first 5 ms fade in
    assert feed.timeline.concealed_samples == feed.timeline.late_samples == 0


def test_a_lost_packet_leaves_its_length_and_everything_after_it_in_place() -> None:
    feed = Feed()
    for number in (0, 1, 2, 4, 5):
        feed.packet(number)
    assert len(feed.out) == 6 * PACKET
    assert feed.timeline.concealed_samples == PACKET
    np.testing.assert_array_equal(feed.out[5 * PACKET :], tone(5 * PACKET))


def test_the_joints_of_a_gap_do_not_click() -> None:
    feed = Feed()
    for number in (0, 1, 3, 4):
        feed.packet(number)
    steps = np.abs(np.diff(feed.out.astype(int)))
    assert steps.max() <= 1.3 * np.abs(np.diff(tone(0, 4800).astype(int))).max()


def test_a_stalled_microphone_becomes_silence_at_real_time_pace() -> None:
    feed = Feed()
    for number in range(10):
        feed.packet(number)
    now_s = START_S + 0.2
    for _ in range(100):
        now_s += 0.02
        feed.fill(now_s)
    behind_s = (now_s - START_S) - len(feed.out) / RATE_HZ
    assert 0.08 < behind_s < 0.13  # stall_s behind, no more
    assert not feed.out[13 * PACKET :].any(), "60 ms of the voice going on, then silence"


def test_no_microphone_at_all_still_makes_time_pass() -> None:
    feed = Feed()
    for step in range(100):
        feed.fill(START_S + 0.02 * step)
    assert len(feed.out) == pytest.approx(1.88 * RATE_HZ, abs=PACKET)


def test_a_late_burst_is_dropped_up_to_what_was_filled_and_adds_no_delay() -> None:
    feed = Feed()
    for number in range(10):
        feed.packet(number)
    burst_s = START_S + 0.5
    for step in range(15):
        feed.fill(START_S + 0.2 + 0.02 * step)
    for number in range(10, 25):  # 300 ms of packets come at once
        feed.packet(number, burst_s)
    for number in range(25, 40):
        feed.packet(number)
    assert len(feed.out) == 40 * PACKET
    np.testing.assert_array_equal(feed.out[26 * PACKET :], tone(26 * PACKET, 14 * PACKET))
    assert feed.timeline.restarts == 1  # the start itself


def test_a_sender_that_pauses_its_timestamps_is_followed_without_adding_delay() -> None:
    feed = Feed()
    for number in range(10):
        feed.packet(number)
    for step in range(50):  # one second of nothing
        feed.fill(START_S + 0.2 + 0.02 * step)
    for number in range(10, 60):  # its timestamps go on as if nothing had been
        feed.packet(number, START_S + 1.0 + (number + 1) * 0.02)
    now_s = START_S + 1.0 + 60 * 0.02
    assert now_s - START_S - len(feed.out) / RATE_HZ == pytest.approx(0.0, abs=0.021)
    np.testing.assert_array_equal(feed.out[-20 * PACKET :], tone(40 * PACKET, 20 * PACKET))


def test_a_jump_of_the_timestamps_is_a_new_start() -> None:
    feed = Feed()
    for number in range(5):
        feed.packet(number)
    feed.packet(5, offset=10**8)
    feed.packet(6, offset=10**8)
    assert len(feed.out) == 7 * PACKET
    assert feed.timeline.restarts == 2
    assert feed.packet(7, offset=-(10**8)) == PACKET


def test_duplicates_and_reordered_packets_are_dropped() -> None:
    feed = Feed()
    feed.packet(0)
    feed.packet(1)
    assert feed.packet(0, START_S + 0.04) == 0
    assert feed.packet(1, START_S + 0.04) == 0
    assert feed.packet(2) == PACKET


def test_a_slower_sender_clock_never_runs_into_the_stall_limit() -> None:
    feed = Feed()
    filled = 0
    for number in range(5000):  # 100 s at 200 ppm slow
        now_s = START_S + (number + 1) * 0.02 * 1.0002
        feed.packet(number, now_s)
        filled += feed.fill(now_s)
    assert filled == 0


def test_an_empty_packet_changes_nothing() -> None:
    timeline = Timeline(START_S)
    assert timeline.add(np.zeros(0, np.int16), 0, START_S) == []
    assert timeline.length_samples == 0


@pytest.mark.parametrize("name", ["stall_s", "max_gap_s", "late_s", "baseline_rise"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TimelineConfig(**{name: 0.0})


@pytest.mark.parametrize("late_s", [0.0, 0.0031, 0.0127, 0.0199])
def test_packets_lie_on_the_frames_grid_whenever_the_first_one_comes(late_s: float) -> None:
    """A frame's last sample comes with a packet's end; off the grid a window would wait for the next packet."""
    timeline = Timeline(100.0)
    now_s = 100.0 + 0.02 + late_s
    for index in range(4):
        timeline.add(tone(index * PACKET), 7000 + index * PACKET, now_s + 0.02 * index)
        assert timeline.length_samples % PACKET == 0
    assert timeline.length_samples <= (5 if late_s else 4) * PACKET + PACKET


def test_packets_of_an_odd_length_stay_where_they_come() -> None:
    timeline = Timeline(100.0)
    timeline.add(np.ones(441, np.int16), 0, 100.0 + 500 / 48_000)
    assert timeline.length_samples == pytest.approx(500, abs=1)
