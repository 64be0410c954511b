"""What callers may turn: read strictly, refused with a sentence, and each session's own inside a shared batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
import torch

from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from stream.clock import MonotonicClock
from stream.engine.controls import check_scales, controls_in_force, in_force, offered_scales, read_controls
from stream.engine.engine_stream import Drawn
from stream.engine.protocol import Controls, ScaleRange, StepRequest
from stream.engine.scheduler import Scheduler, SchedulerConfig
from stream.engine.torch_engine import TorchEngine
from stream.engine.windower import Window
from stream.errors import EngineError
from tests.fakes import SMALL_SPEC
from tests.models.tiny import tiny_model
from tests.tolerances import STREAM_EQUALS_OFFLINE

NOW = Controls(audio_scale=1.5, reference_scale=1.25)


def test_fields_change_what_they_name() -> None:
    assert read_controls({"audio_scale": 2}, NOW, SMALL_SPEC) == Controls(2.0, 1.25)
    assert read_controls({"reference_scale": None}, NOW, SMALL_SPEC) == Controls(1.5, None)
    assert read_controls({"type": "controls", "speed": 3}, NOW, SMALL_SPEC) == NOW
    assert read_controls({}, Controls(1.0, None, 2), SMALL_SPEC) == Controls(1.0, None, 2)


@pytest.mark.parametrize("wrong", ["2", True, [1], {}, 2.51, -0.1, float("nan"), float("inf"), 10**400])
def test_wrong_values_are_one_sentence(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^Expected audio_scale .*, got .*\.$") as raised:
        read_controls({"audio_scale": wrong, "reference_scale": 0.5}, NOW, SMALL_SPEC)
    assert len(str(raised.value)) < 120


def test_each_scale_has_its_own_range() -> None:
    check_scales(Controls(2.5, 1.5), SMALL_SPEC)
    check_scales(Controls(0.0, 0.5), SMALL_SPEC)
    check_scales(Controls(), SMALL_SPEC)
    with pytest.raises(ValueError, match=r"Expected reference_scale between 0\.5 and 1\.5, got 2\.5"):
        check_scales(Controls(2.5, 2.5), SMALL_SPEC)


def test_what_nobody_asked_for_is_the_presets_own() -> None:
    assert in_force(Controls(reference_scale=0.5), SMALL_SPEC) == {"audio_scale": 1.4, "reference_scale": 0.5}
    assert offered_scales(SMALL_SPEC)["audio_scale"] == {"low": 0.0, "high": 2.5, "default": 1.4}


@pytest.mark.parametrize(
    "wrong", [(1.0, 0.5, 0.7), (0.0, 2.0, 2.1), (-1.0, 1.0, 0.0), (0.0, float("inf"), 1.0)]
)
def test_a_range_that_makes_no_sense_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="low <= default <= high"):
        ScaleRange(*wrong)


class Listener:
    """What one session hears."""

    def __init__(self) -> None:
        self.drawn: asyncio.Queue[Drawn] = asyncio.Queue()

    def on_drawn(self, drawn: Drawn) -> None:
        self.drawn.put_nowait(drawn)

    def on_dropped(self, first_frame: int) -> None:
        raise AssertionError(f"the window of frame {first_frame} was dropped")

    def on_failed(self, error: EngineError) -> None:
        raise error


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    """Around a real engine with random weights."""
    cpu = torch.device("cpu")
    streamer = Streamer(TorchNetworks(tiny_model(), cpu, torch.float32), cpu)
    scheduler = Scheduler(lambda: TorchEngine(streamer), MonotonicClock(), SchedulerConfig(max_sessions=3))
    await scheduler.start()
    yield scheduler
    await scheduler.stop()


async def test_sessions_with_different_scales_share_a_batch_and_get_what_each_gets_alone(
    scheduler: Scheduler,
) -> None:
    engine = scheduler._engine
    assert engine is not None
    scales = ((0.0, 1.5), (1.4, 1.0), (2.5, 0.5))
    sound = np.random.default_rng(0).normal(0, 0.1, engine.spec.window_samples).astype(np.float32)
    picture = np.random.default_rng(1).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    start, listeners = await scheduler.open_state(picture, 7), [Listener() for _ in scales]
    streams = [scheduler.add_stream(start, listener) for listener in listeners]
    gate = threading.Semaphore(0)
    held = asyncio.create_task(
        scheduler._thread.call(lambda: gate.acquire(timeout=5), str)
    )  # so that all windows wait
    for stream, pair in zip(streams, scales, strict=True):
        stream.controls = Controls(*pair)
        stream.submit(Window(0, 0, sound), 1e9)
    gate.release()
    drawn = [await asyncio.wait_for(listener.drawn.get(), 20) for listener in listeners]
    await held
    assert [each.batch for each in drawn] == [3, 3, 3]
    for pair, stream, each in zip(scales, streams, drawn, strict=True):
        (alone,) = engine.step([StepRequest(start, sound, Controls(*pair))])
        ours, theirs = stream.state.motion, alone.state.motion  # type: ignore[attr-defined]
        assert (ours - theirs).norm() / theirs.norm() <= STREAM_EQUALS_OFFLINE
        assert np.abs(alone.frames.astype(int) - each.frames).max() <= 1
    assert not np.array_equal(drawn[0].frames, drawn[2].frames)


def test_listening_is_turned_like_a_scale() -> None:
    listening = read_controls({"listening": True}, NOW, SMALL_SPEC)
    assert listening.listening and listening.audio_scale == 1.5
    assert read_controls({"audio_scale": 1.0}, listening, SMALL_SPEC).listening
    assert not read_controls({"listening": None}, listening, SMALL_SPEC).listening
    assert controls_in_force(listening, SMALL_SPEC) == {
        "audio_scale": 1.5,
        "reference_scale": 1.25,
        "listening": True,
    }
    for wrong in ("yes", 1, [True]):
        with pytest.raises(ValueError, match="listening to be true"):
            read_controls({"listening": wrong, "audio_scale": 0.5}, NOW, SMALL_SPEC)
