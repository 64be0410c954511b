"""The engine: the student behind the `Engine` protocol. The only file in `stream/` that imports torch.

In: batches of windows with their states, from the scheduler's thread. Out: frames and new states.
`load_engine` takes the runtime that `fada doctor --calibrate` measured to be fastest here, or, before
that, the one that `models.runtimes.backends` has a rule for; on CUDA a hop is recorded once and replayed
(`models.runtimes.static_hop`). Where the device's memory runs out, a batch is drawn in smaller parts, and
so is every later one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

import numpy as np
import torch

from kernels.native.build import NativeError
from models.checkpoint import CheckpointError
from models.hop import HopControls, StreamState
from models.presets import Preset
from models.runtimes.backends import find_device, load_networks, why_not_native
from models.runtimes.calibration import resolve_backend
from models.runtimes.hop_fit import HopFit, fit_hop
from models.runtimes.options import AUTO, EngineOptions
from models.runtimes.picture_size import served_side
from models.runtimes.static_hop import record_on
from models.streaming import Streamer
from models.weights import open_model
from stream.engine.protocol import Controls, StepRequest, StepResult
from stream.engine.spec import spec_of
from stream.errors import EngineError
from stream.media import UInt8Array

logger = logging.getLogger(__name__)

FITTED: Final = frozenset({"native", "native-bf16", "torch-fp32", "torch-bf16", "torch-eager"})
"""Backends that take hops of any length as they come; graphs are made for one."""
REST: Final = 0
"""In place of a number of evaluations: windows without sound need none."""


class TorchEngine:
    """Runs hops of any sessions as batches on one `Streamer`. Used from one thread at a time."""

    def __init__(
        self,
        streamer: Streamer,
        nfe: int | None = None,
        backend: str = "",
        why: str = "",
        fitted: HopFit | None = None,
        slower: str = "",
    ) -> None:
        """``backend`` runs the networks, ``why`` it was taken: "measured", "rule" or "asked".

        ``slower``: why it is not this machine's own kernels, and what helps; "" where nothing is amiss.
        """
        preset = streamer.preset
        self.slower = slower
        self._streamer, self.backend, self.why, self.fitted = streamer, backend, why, fitted
        self._most_rows = preset.stream.max_batch
        self._defaults = HopControls(
            preset.stream.audio_scale, preset.stream.reference_scale, nfe or preset.stream.nfe
        )
        place = streamer.placement
        self.spec = spec_of(preset, self._defaults.nfe, (place.width, place.height))

    def warm_up(self) -> None:
        """Run every batch size once, so that the first session does not pay for it."""
        place = self._streamer.placement
        picture = np.full((place.height, place.width, place.channels), 128, dtype=np.uint8)
        state = self.open(picture, seed=0)
        audio = np.zeros(self.spec.window_samples, dtype=np.float32)
        # Recorded hops are recorded for every number of evaluations that the effort ladder may fall to.
        rungs = [nfe := self._defaults.nfe]
        while self._streamer.device.type == "cuda" and nfe > 1:
            rungs.append(nfe := nfe // 2)
        for nfe in rungs:
            for rows in range(1, self.spec.max_batch + 1):
                self.step([StepRequest(state, audio, Controls(nfe=nfe))] * rows)

    def open(self, image: UInt8Array, seed: int) -> StreamState:
        """Start a stream on a picture (H, W, 3) uint8 RGB, or (H, W, 4) where the options' placement has alpha.

        Raises:
            ValueError: it is not as large as `spec` says.
        """
        return self._streamer.open(image, seed)

    def step(self, requests: Sequence[StepRequest]) -> list[StepResult]:
        """Run one hop for every request, as one batch where all have the same nfe; each keeps its own scales.

        Raises:
            EngineError: the networks failed; no state has changed.
        """
        results: list[StepResult | None] = [None] * len(requests)
        controls = [self._controls(request.controls) for request in requests]
        groups: dict[int, list[int]] = {}
        for index, (request, asked) in enumerate(zip(requests, controls, strict=True)):
            groups.setdefault(asked.nfe if request.audio is not None else REST, []).append(index)
        for nfe, members in groups.items():
            told = [controls[i] for i in members]
            drawn = self._draw_parts([requests[i] for i in members], told, nfe)
            for index, result in zip(members, drawn, strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def _draw_parts(
        self, requests: Sequence[StepRequest], controls: Sequence[HopControls], nfe: int
    ) -> list[StepResult]:
        """One hop for all, in as few parts as memory allows; what it allowed last is remembered."""
        drawn: list[StepResult] = []
        while len(drawn) < len(requests):
            part = slice(len(drawn), len(drawn) + self._most_rows)
            rows = len(requests[part])
            try:
                drawn += self._draw(requests[part], controls[part], nfe)
            except (torch.OutOfMemoryError, MemoryError) as error:
                if rows == 1:
                    raise EngineError(
                        "engine_failed", f"The device has not enough memory for one session: {error}"
                    ) from error
                self._most_rows = rows // 2
                logger.warning(
                    "out of memory on a batch of %d; from now on at most %d", rows, self._most_rows
                )
                self._streamer.free_memory()
            except RuntimeError as error:
                raise EngineError(
                    "engine_failed", f"The engine failed on a batch of {rows}: {error}"
                ) from error
        return drawn

    def _draw(
        self, requests: Sequence[StepRequest], controls: Sequence[HopControls], nfe: int
    ) -> list[StepResult]:
        states = [cast(StreamState, request.state) for request in requests]
        if nfe == REST:
            after, frames, timings = self._streamer.rest(states)
        else:
            audio = [request.audio for request in requests if request.audio is not None]
            after, frames, timings = self._streamer.hop(states, np.stack(audio), controls)
        return [StepResult(after[row], frames[row], timings) for row in range(len(requests))]

    def prepare(self, states: Sequence[object]) -> list[object]:
        """Make the banks of the motion frames; see `Streamer.prepare`."""
        return list(self._streamer.prepare([cast(StreamState, state) for state in states]))

    def release(self, state: object) -> None:
        """Nothing to free: a state is a value, and goes with its last reader."""

    def close(self) -> None:
        """Nothing to free."""

    def _controls(self, asked: Controls) -> HopControls:
        defaults = self._defaults
        return HopControls(
            defaults.audio_scale if asked.audio_scale is None else asked.audio_scale,
            defaults.reference_scale if asked.reference_scale is None else asked.reference_scale,
            defaults.nfe if asked.nfe is None else asked.nfe,
            asked.listening,
        )


def load_engine(options: EngineOptions) -> TorchEngine:
    """Load a preset's student on the fastest backend of this machine.

    Raises:
        EngineError: no such device, or the weights are missing, broken or not for the backend.
    """
    try:
        device = find_device(options.device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        model = open_model(options.preset, options.weights, options.size)
        model.preset = _as_served(model.preset, options)
        side = served_side(model.preset, options.size)
        chosen, why = options.backend, "asked"
        if chosen == AUTO:
            chosen, why = resolve_backend(model, device)
        networks = load_networks(model, device, chosen)
        fitted = None
        if options.fit and device.type == "cpu" and chosen in FITTED:
            fitted = fit_hop(networks, device, options.nfe or model.preset.stream.nfe, picture_px=side)
        streamer = Streamer(networks, device, picture_px=side, placement=options.placement)
        if device.type == "cuda" and chosen.startswith("torch"):
            record_on(streamer)
        logger.info("the networks run as %s on %s (%s)", chosen, device, why)
        by_rule = why == "rule" and device.type == "cpu" and model.preset.layout == "fada"
        slower = why_not_native() if by_rule else ""
        return TorchEngine(streamer, options.nfe, chosen, why, fitted, slower)
    except (CheckpointError, NativeError, ValueError) as error:
        raise EngineError("engine_not_loaded", str(error)) from error


def _as_served(preset: Preset, options: EngineOptions) -> Preset:
    """The preset with the windows and the largest batch that were asked for."""
    chosen = options.hop.applied(preset)
    if options.max_batch is None or options.max_batch >= chosen.stream.max_batch:
        return chosen
    return replace(chosen, stream=replace(chosen.stream, max_batch=options.max_batch))
