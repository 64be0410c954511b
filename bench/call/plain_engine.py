"""An engine without networks, to measure everything else, with a server: `python -m bench.call.plain_engine`.

In: windows of sound, cut as for the preset. Out: the reference picture with a dark mouth, as open as each frame's
own samples are loud. It costs next to nothing and answers at once, so that what a call measures is the way there
and back; `--lag-ms` lets its mouth follow the sound that much later, which a measurement must show. With
`--networks` the preset's networks draw too, with random weights, and the mouth is painted onto their frames: what a
preset will cost in a call, before it is trained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from models.face import CANVAS_PX, MOUTH_LINE_Y
from models.presets import HopChoice, preset
from models.runtimes.options import read_engine_options
from models.runtimes.picture_size import checked_side
from stream import serve
from stream.engine.protocol import Engine, EngineSpec, StepRequest, StepResult, check_canvas
from stream.engine.spec import spec_of
from stream.media import UInt8Array

OPENEST_PX: Final = 18.0
LIPS: Final = (90, 30, 34)
LOUD_RMS: Final = 0.1
"""Loudness of a frame whose mouth stands widest open."""


@dataclass(frozen=True, slots=True)
class PlainState:
    """The picture that the stream was opened with."""

    still: UInt8Array


class PlainEngine:
    """See the module's docstring.

    Args:
        name: preset whose windows it takes.
        lag_s: how much later than the sound the mouth moves; at most the preset's context.
        size: side of its pictures; None takes what the preset is served with.
        spec: in place of all that, another engine's.
    """

    def __init__(
        self,
        name: str = "small",
        lag_s: float = 0.0,
        size: int | None = None,
        spec: EngineSpec | None = None,
    ) -> None:
        chosen = HopChoice().applied(preset(name))
        self.spec = spec or spec_of(chosen, size=None if size is None else (checked_side(size), size))
        self._lag_samples = round(lag_s * self.spec.sample_rate_hz)
        if not 0 <= self._lag_samples <= self.spec.context_samples:
            raise ValueError(
                f"expected a lag within the context of {self.spec.context_samples}, got {lag_s} s."
            )
        self._rows, self._columns = _mouth_grid(self.spec.width)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def open(self, image: UInt8Array, seed: int) -> PlainState:
        """Start a stream on a framed canvas."""
        check_canvas(image, self.spec)
        return PlainState(image)

    def step(self, requests: Sequence[StepRequest]) -> list[StepResult]:
        """Draw one window for each request."""
        return [self._draw(request) for request in requests]

    def prepare(self, states: Sequence[object]) -> list[object]:
        """Nothing can be done ahead."""
        return list(states)

    def release(self, state: object) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Nothing to free."""

    def _draw(self, request: StepRequest) -> StepResult:
        assert isinstance(request.state, PlainState)
        frames = np.repeat(request.state.still[None], self.spec.hop_frames, axis=0)
        self.paint(frames, request)
        return StepResult(request.state, frames, {"draw": 0.1})

    def paint(self, frames: UInt8Array, request: StepRequest) -> None:
        """Give frames (hop_frames, H, W, 3) of a window their mouths."""
        for frame, opening in zip(frames, self._openings(request), strict=True):
            height = 3.0 + OPENEST_PX * opening
            frame[self._columns**2 + ((self._rows - height / 2) / height) ** 2 < 0.6] = LIPS

    def _openings(self, request: StepRequest) -> list[float]:
        """How far the mouth is open in each frame of the hop, 0..1."""
        if request.audio is None:
            return [0.0] * self.spec.hop_frames
        spf, first = self.spec.samples_per_frame, self.spec.context_samples - self._lag_samples
        heard = request.audio[first : first + self.spec.hop_frames * spf].reshape(-1, spf)
        return [min(1.0, float(np.sqrt(np.mean(frame**2))) / LOUD_RMS) for frame in heard]


class PaintedEngine:
    """Another engine, with the plain one's mouths on its frames."""

    def __init__(self, engine: Engine, plain: PlainEngine) -> None:
        self._engine, self._plain = engine, plain
        self.spec = engine.spec
        self.warm_up, self.open, self.prepare = engine.warm_up, engine.open, engine.prepare
        self.release, self.close = engine.release, engine.close

    def step(self, requests: Sequence[StepRequest]) -> list[StepResult]:
        """Draw one window for each request, then its mouths."""
        results = self._engine.step(requests)
        for request, result in zip(requests, results, strict=True):
            self._plain.paint(result.frames, request)
        return results


def _painted(args: argparse.Namespace) -> Engine:
    """The preset's engine with random weights, as `fada serve` would load it, and plain mouths."""
    from models.runtimes.backends import live_threads
    from stream.engine.torch_engine import load_engine

    args.weights = "random"
    options = read_engine_options(args, args.size, max_batch=args.max_sessions, fit=True)
    engine = load_engine(replace(options, threads=options.threads or live_threads()))
    return PaintedEngine(engine, PlainEngine(spec=engine.spec))


def _mouth_grid(side: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Rows below the mouth's line in canvas pixels, and columns from its middle as shares of half its width."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) * (CANVAS_PX / side)
    return rows - MOUTH_LINE_Y, (columns - CANVAS_PX / 2) / 26


def main() -> int:
    """Serve with the plain engine; options of `fada serve` and `--lag-ms`."""
    parser = argparse.ArgumentParser(description="The live server without networks, for measuring.")
    serve.add_arguments(parser)
    parser.add_argument("--lag-ms", type=float, default=0.0, help="mouth behind sound (default 0)")
    parser.add_argument("--networks", action="store_true", help="draw with the preset's networks too")
    args = parser.parse_args()
    if args.networks:
        return serve.serve(args, lambda: _painted(args))
    return serve.serve(args, lambda: PlainEngine(args.preset, args.lag_ms / 1e3, args.size))


if __name__ == "__main__":
    sys.exit(main())
