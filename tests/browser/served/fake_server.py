"""The real server on an engine without networks: `python -m tests.browser.served.fake_server --port N`.

In: arguments. Out: the page and its media, until interrupted. Its faces breathe, so that a picture that
stands still is a fault and not the engine's habit, and open their mouths with the voice, the wider the larger
the audio scale is.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import uvicorn

from models.face import CANVAS_PX, MOUTH_LINE_Y
from stream.app import create_app
from stream.engine.controls import in_force
from stream.engine.protocol import StepRequest, StepResult
from stream.media import UInt8Array
from stream.server_config import ServerConfig
from tests.browser.served.cast import write_cast
from tests.fakes import SMALL_SPEC, FakeEngine, FakeState, mouth_brightness

SPEC: Final = dataclasses.replace(SMALL_SPEC, width=CANVAS_PX, height=CANVAS_PX)
BREATH_HZ: Final = 0.3
BREATH_PX: Final = 1.5
OPENEST_PX: Final = 16
LIPS: Final = (112, 38, 40)


class BreathingEngine(FakeEngine):
    """The fake, with a mouth that opens and a chest that rises."""

    def __init__(self) -> None:
        super().__init__(SPEC)

    def _draw(self, request: StepRequest) -> StepResult:
        state = request.state
        assert isinstance(state, FakeState)
        first = state.windows * SPEC.hop_frames
        scale = in_force(request.controls, SPEC)["audio_scale"] / SPEC.audio_scale.default
        rest = [0] * SPEC.hop_frames
        brightness_of = rest if request.audio is None else mouth_brightness(SPEC, request.audio)
        frames = [
            _breathe(_open_mouth(state.still, min(1.0, scale * brightness / 255)), (first + index) / SPEC.fps)
            for index, brightness in enumerate(brightness_of)
        ]
        after = FakeState(state.still, state.seed, state.windows + 1)
        return StepResult(after, np.stack(frames), {"draw": 0.1})


def _open_mouth(still: UInt8Array, opening: float) -> UInt8Array:
    """The picture with an oval mouth, `opening` 0 closed .. 1 widest."""
    picture = still.copy()
    height_px = 4 + OPENEST_PX * opening
    y, x = np.mgrid[0:CANVAS_PX, 0:CANVAS_PX]
    down = (y - MOUTH_LINE_Y - height_px / 2 + 2) / height_px
    picture[((x - CANVAS_PX / 2) / 20) ** 2 + down**2 < 1] = LIPS
    return picture


def _breathe(picture: UInt8Array, at_s: float) -> UInt8Array:
    """The picture moved down by up to `BREATH_PX`, between rows too."""
    shift = BREATH_PX * (1 - np.cos(2 * np.pi * BREATH_HZ * at_s)) / 2
    whole = int(shift)
    part = np.float32(shift - whole)
    here, above = np.roll(picture, whole, axis=0), np.roll(picture, whole + 1, axis=0)
    mixed: UInt8Array = ((1 - part) * here + part * above).astype(np.uint8)
    return mixed


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-sessions", type=int, default=2)
    parser.add_argument("--no-uploads", action="store_true")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig(
            write_cast(Path(folder)),
            host=args.host,
            max_sessions=args.max_sessions,
            own_avatars=Path(os.environ["FADA_AVATARS"]),
            uploads=False if args.no_uploads else None,
        )
        uvicorn.run(
            create_app(config, BreathingEngine),
            host=args.host,
            port=args.port,
            log_level="warning",
            ws="none",
        )


if __name__ == "__main__":
    main()
