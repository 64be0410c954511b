"""The seam between the live server and whatever draws the faces.

Plain arrays and explicit state cross it, nothing else: the engine may live in this process today and behind
a socket tomorrow. No torch here. In: one window of 16 kHz audio and an opaque state per session. Out: the
frames of that window's hop and the next state. `stream.engine.torch_engine.TorchEngine` is the real one; tests use
`tests.fakes.FakeEngine`.

Window k covers output frames [k*hop, (k+1)*hop) plus `overlap_frames` beyond them; its audio is the samples
[k*hop*spf - context, ((k+1)*hop + overlap)*spf + lookahead), with zeros before the stream's start and after
its end. Result k carries exactly the frames k*hop .. (k+1)*hop - 1, already blended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stream.errors import EngineError
from stream.media import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True)
class ScaleRange:
    """A guidance scale as callers may turn it: from `low` to `high`, `default` where they do not."""

    low: float
    high: float
    default: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.default <= self.high < math.inf:
            raise ValueError(
                f"ScaleRange needs 0 <= low <= default <= high, got {self.low}, {self.default}, {self.high}"
            )


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine draws and what it needs to hear; constant over its life.

    Attributes:
        fps: frames a second; must divide `sample_rate_hz`.
        sample_rate_hz: rate of the audio it listens to.
        width, height: pixels of its frames.
        hop_frames: new frames in every window.
        overlap_frames: frames past the hop which the engine blends into the next window.
        context_samples: audio to the left of a window's first frame.
        lookahead_samples: audio to the right of a window's last frame.
        max_batch: windows of different sessions it takes in one step.
        audio_scale, reference_scale: what callers may ask for; see `Controls`.
        nfe: network evaluations per window by default; None where the word has no meaning.
    """

    fps: int
    sample_rate_hz: int
    width: int
    height: int
    hop_frames: int
    overlap_frames: int
    context_samples: int
    lookahead_samples: int
    max_batch: int
    audio_scale: ScaleRange
    reference_scale: ScaleRange
    nfe: int | None = None

    def __post_init__(self) -> None:
        for name in ("fps", "sample_rate_hz", "width", "height", "hop_frames", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"EngineSpec.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("overlap_frames", "context_samples", "lookahead_samples"):
            if getattr(self, name) < 0:
                raise ValueError(f"EngineSpec.{name} must not be negative, got {getattr(self, name)}")
        if self.sample_rate_hz % self.fps:
            raise ValueError(
                f"EngineSpec.fps must divide the sample rate, got {self.fps} and {self.sample_rate_hz}"
            )
        if self.nfe is not None and self.nfe < 1:
            raise ValueError(f"EngineSpec.nfe must be at least 1 or None, got {self.nfe}")

    @property
    def samples_per_frame(self) -> int:
        """Audio samples under one frame."""
        return self.sample_rate_hz // self.fps

    @property
    def hop_samples(self) -> int:
        """Audio samples between the starts of two windows."""
        return self.hop_frames * self.samples_per_frame

    @property
    def window_samples(self) -> int:
        """Audio samples in one window: context, hop and overlap, look-ahead."""
        covered = (self.hop_frames + self.overlap_frames) * self.samples_per_frame
        return self.context_samples + covered + self.lookahead_samples

    @property
    def hop_s(self) -> float:
        """Seconds of speech in one hop: the time budget of one window."""
        return self.hop_frames / self.fps


@dataclass(frozen=True, slots=True)
class Controls:
    """Per-window settings; None means the preset's own value. `stream.engine.controls` holds them to an
    engine's ranges.

    Attributes:
        audio_scale: how strongly the face follows the voice (guidance, 1 = plain).
        reference_scale: how strongly it keeps to the reference picture.
        nfe: network evaluations for this window.
        listening: the other side speaks: nod, look and blink as a listener does.
    """

    audio_scale: float | None = None
    reference_scale: float | None = None
    nfe: int | None = None
    listening: bool = False

    def __post_init__(self) -> None:
        for name in ("audio_scale", "reference_scale"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < math.inf:
                raise ValueError(f"Expected {name} to be a number of at least 0, got {value}.")
        if self.nfe is not None and not 1 <= self.nfe <= 1000:
            raise ValueError(f"Expected nfe between 1 and 1000, got {self.nfe}.")


@dataclass(frozen=True, slots=True)
class StepRequest:
    """One session's next window.

    Attributes:
        state: what the last step left.
        audio: (window_samples,) float32 in [-1, 1]; None lets the mouth ease to rest, at once and cheaply.
        controls: see `Controls`.
    """

    state: object
    audio: Float32Array | None
    controls: Controls = field(default_factory=Controls)


@dataclass(frozen=True, slots=True)
class StepResult:
    """One window drawn: `frames` (hop_frames, H, W, 3) uint8 RGB, the next state, times by stage in ms."""

    state: object
    frames: UInt8Array
    timings_ms: dict[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """Draws windows. Called from one thread only (the scheduler's), never from the event loop."""

    @property
    def spec(self) -> EngineSpec:
        """What it draws; readable from any thread."""
        ...

    def warm_up(self) -> None:
        """Run once through every shape, so that the first session pays nothing."""
        ...

    def open(self, image: UInt8Array, seed: int) -> object:
        """Start a stream on a framed canvas, as large as `spec` draws, (H, W, 3) uint8 RGB; returns its state."""
        ...

    def step(self, requests: Sequence[StepRequest]) -> list[StepResult]:
        """Draw one window for each request, as one batch where their nfe are equal, in order."""
        ...

    def prepare(self, states: Sequence[object]) -> list[object]:
        """Do ahead, between two windows, what the next step needs and no sound tells; the states to go on from."""
        ...

    def release(self, state: object) -> None:
        """Nothing goes on from this state any more: free what it stands for.

        Called once for every state that `open`, `step` or `prepare` has handed out, one handed out again counting
        once; not for those that `warm_up` made. A state stays as it is until then: a window that is dropped while
        it is drawn leaves its stream with the state before it.
        """
        ...

    def close(self) -> None:
        """Free everything."""
        ...


def check_canvas(image: UInt8Array, spec: EngineSpec) -> None:
    """Hold a reference picture to what an engine draws; framing it is `stream.avatars.portrait`'s work.

    Raises:
        ValueError: another size or type.
    """
    if image.shape != (spec.height, spec.width, 3) or image.dtype.name != "uint8":
        raise ValueError(
            f"Expected a canvas ({spec.height}, {spec.width}, 3) uint8, got {image.shape} {image.dtype}."
        )


def check_results(results: Sequence[StepResult], expected: int, spec: EngineSpec) -> None:
    """Hold an engine to its protocol.

    Raises:
        EngineError: another number of results, or frames of another shape or type.
    """
    if len(results) != expected:
        raise EngineError("engine_failed", f"expected {expected} results, got {len(results)}")
    shape = (spec.hop_frames, spec.height, spec.width, 3)
    for result in results:
        got = result.frames
        if got.shape != shape or got.dtype.name != "uint8":
            raise EngineError("engine_failed", f"expected frames {shape} uint8, got {got.shape} {got.dtype}")
