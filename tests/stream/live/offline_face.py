"""A live face driven by a list of samples and a fake clock: `python -m tests.stream.live.offline_face ENGINE`.

Draws the same sound once as `fada render` does and once live, compares, and says what of WebRTC was imported. Runs
in a process of its own, since a test's process has imported everything.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

import numpy as np

from stream.engine.protocol import Controls, Engine
from stream.engine.scheduler import Scheduler, SchedulerConfig
from stream.live.face import Face
from stream.live.slots import Slot
from stream.media import Float32Array, Heard, Int16Array, UInt8Array
from stream.offline.render import draw
from stream.outbound.pacer import PacerConfig
from tests.fakes import FakeClock, FakeEngine

PACKET = 480
SECONDS = 2.0
SEED = 5


def speech() -> tuple[Float32Array, Int16Array]:
    """Something loud and various, at 16 kHz for the engine and as many moments of it at 48 kHz."""
    n = np.arange(round(16_000 * SECONDS))
    tone = 0.4 * np.sin(2 * np.pi * 180 * n / 16_000) * (1 + np.sin(2 * np.pi * 3 * n / 16_000)) / 2
    return tone.astype(np.float32), (32767 * np.repeat(tone, 3)).astype(np.int16)


async def live(engine: Engine, canvas: UInt8Array, controls: Controls) -> tuple[list[Slot], int]:
    """The slots of a face that hears the speech, and its windows; the clock waits for the engine."""
    clock = FakeClock()
    scheduler = Scheduler(lambda: engine, clock, SchedulerConfig(queue_s=10.0))
    spec = await scheduler.start()
    face = Face(clock, spec, canvas, SEED, controls, PacerConfig(fade_frames=0))
    drawn: list[int | None] = []
    slots: list[Slot] = []

    async def show() -> None:
        async for slot in face.slots():
            slots.append(slot)

    await face.open(scheduler)
    told, face.on_drawn = face.on_drawn, lambda each: (told(each), drawn.append(each.first_frame))[0]  # type: ignore[method-assign, func-returns-value]
    showing = asyncio.create_task(show())
    low, high = speech()
    windows = 0
    for index in range(len(high) // PACKET):
        await clock.advance(PACKET / 48_000)
        at = slice(index * PACKET, (index + 1) * PACKET)
        face.hear(Heard(clock.now(), high[at], low[index * PACKET // 3 : (index + 1) * PACKET // 3]))
        windows = face._windower.next_index
        while len(drawn) < windows:
            await asyncio.sleep(0.001)
    await clock.advance(1.0)
    showing.cancel()
    face.close()
    await scheduler.stop()
    return slots, windows


def tiny_engine() -> Engine:
    """A real model, small and random."""
    import torch

    from models.runtimes.torch_networks import TorchNetworks
    from models.streaming import Streamer
    from stream.engine.torch_engine import TorchEngine
    from tests.models.tiny import tiny_model

    cpu = torch.device("cpu")
    return TorchEngine(Streamer(TorchNetworks(tiny_model(), cpu, torch.float32), cpu))


ENGINES: dict[str, Callable[[], Engine]] = {"fake": FakeEngine, "tiny": tiny_engine}


def compare(name: str) -> dict[str, object]:
    """What came of it, in numbers."""
    engine, controls = ENGINES[name](), Controls(audio_scale=1.2)
    size = (engine.spec.height, engine.spec.width, 3)
    canvas = np.random.default_rng(1).integers(0, 255, size, dtype=np.uint8)
    rendered = np.concatenate([frames for frames, _ in draw(engine, canvas, [speech()[0]], controls, SEED)])
    engine = ENGINES[name]()
    slots, windows = asyncio.run(live(engine, canvas, controls))
    shown = [slot for slot in slots if slot.picture.media_frame is not None]
    first = [slot.picture.media_frame for slot in shown if slot.picture.fresh]
    worst = max(
        int(np.abs(rendered[frame].astype(int) - slot.picture.image).max())
        for slot in shown
        if (frame := slot.picture.media_frame) is not None
    )
    spoken = [slot.voice for slot in shown if slot.picture.fresh]
    return {
        "frames": windows * engine.spec.hop_frames,
        "shown": first,
        "worst_difference": worst,
        "moved": int(np.abs(np.diff(rendered.astype(int), axis=0)).max()),
        "voice": bool(np.array_equal(np.concatenate(spoken)[1920:], speech()[1][1920 : 1920 * len(spoken)])),
        "held_states": len(getattr(engine, "held", ())),
        "webrtc": sorted({"aiortc", "aioice"} & set(sys.modules)),
    }


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1])))
