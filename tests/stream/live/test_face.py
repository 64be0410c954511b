"""A face without any network: the frames of `fada render`, slots for whoever asks, interruption."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream.engine.engine_stream import Drawn
from stream.live.slots import Slot
from tests.stream.outbound.pacer_stage import Stage

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("engine", ["fake", "tiny"])
def test_a_face_with_no_webrtc_in_the_process_draws_what_render_draws(engine: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.stream.live.offline_face", engine],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["webrtc"] == []
    assert told["shown"] == list(range(told["frames"])), "every frame once, in order"
    assert told["frames"] > 40
    assert told["worst_difference"] == 0
    assert told["moved"] > 0
    assert told["voice"], "each frame's own samples went with it"
    assert told["held_states"] == 0


def test_a_feed_reads_beside_the_motor_and_loses_no_voice_where_a_picture_was_skipped() -> None:
    stage = Stage()
    feed = stage.face.feed()
    stage.run(30)
    stage.pacer.sent_picture(stage.pacer.picture(33))  # the motor skips three slots
    feed.close()
    feed.close()

    async def read() -> list[Slot]:
        return [slot async for slot in feed]

    slots = asyncio.run(read())
    assert [slot.index for slot in slots] == list(range(34))
    for slot, voice in zip(slots[:30], stage.voice, strict=True):
        assert np.array_equal(slot.voice, voice)
    assert [slot.picture.media_frame for slot in slots[:30]] == stage.shown
    assert not stage.pacer.on_sent


def test_a_feed_that_nobody_reads_keeps_the_newest_and_counts_the_others() -> None:
    stage = Stage()
    feed = stage.face.feed()
    stage.run(80)
    assert feed.lost == 30


def test_an_interruption_drops_what_was_heard_and_the_face_goes_on_with_what_comes_then() -> None:
    stage = Stage()
    stage.run(60)
    heard, shown = stage.heard, stage.shown[-1]
    stage.face.clear()
    assert not stage.easel.waiting
    stage.run(60)
    after = set(stage.shown[60:])
    assert shown in after, "the picture is held until there is another"
    assert len(after) > 30
    assert all(frame is not None and frame >= heard for frame in after - {shown})


def test_a_rest_is_shown_and_its_watcher_hears_of_everything() -> None:
    stage = Stage()
    told: list[Drawn] = []

    class Watcher:
        def on_drawn(self, drawn: Drawn) -> None:
            told.append(drawn)

    stage.face._watcher = Watcher()  # type: ignore[assignment]
    stage.face.clear()
    rest = Drawn(None, np.full((2, 4, 4, 3), 77, np.uint8), 0, None, 1, 0.0, 0.0, 0.0, 0.0, {})
    stage.face.on_drawn(rest)
    assert told == [rest]
    assert int(stage.pacer.picture(0).image[0, 0, 0]) == 77
