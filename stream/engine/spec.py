"""From a preset to what the live server must know of its engine.

In: a preset as it is streamed. Out: an `EngineSpec`. No torch here: an engine without networks takes the same.
"""

from __future__ import annotations

from models.face import SAMPLES_PER_FRAME
from models.presets import Preset
from models.runtimes.picture_size import served_side
from stream.engine.protocol import EngineSpec, ScaleRange


def spec_of(preset: Preset, nfe: int | None = None, size: tuple[int, int] | None = None) -> EngineSpec:
    """What an engine of this preset draws and hears.

    Args:
        preset: as it is streamed.
        nfe: evaluations a window; None takes the preset's.
        size: (width, height) of its frames, px; None takes what the preset is served with.
    """
    stream = preset.stream
    side = served_side(preset)
    width, height = (side, side) if size is None else size
    return EngineSpec(
        fps=preset.fps,
        sample_rate_hz=preset.sample_rate_hz,
        width=width,
        height=height,
        hop_frames=stream.hop_frames,
        overlap_frames=stream.overlap_frames,
        context_samples=preset.audio.context_samples,
        lookahead_samples=preset.lookahead_frames * SAMPLES_PER_FRAME,
        max_batch=stream.max_batch,
        audio_scale=ScaleRange(*stream.audio_scale_range, stream.audio_scale),
        reference_scale=ScaleRange(*stream.reference_scale_range, stream.reference_scale),
        nfe=nfe or stream.nfe,
    )
