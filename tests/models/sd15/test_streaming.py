"""The stream on SD1.5's layout: the same `Streamer`, state and engine as the small preset's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.hop import HopControls, StreamState
from models.sd15.networks import SD15Networks
from models.streaming import Streamer
from stream.engine.protocol import Controls, StepRequest
from stream.engine.torch_engine import TorchEngine
from tests.models.sd15.small_base import thin_model
from tests.models.tiny import buzz
from tests.tolerances import STREAM_EQUALS_OFFLINE

CPU = torch.device("cpu")
CONTROLS = HopControls(audio_scale=1.4, reference_scale=1.0, nfe=1)


@pytest.fixture(scope="module")
def streamer() -> Streamer:
    return Streamer(SD15Networks(thin_model(), CPU, torch.float32), CPU)


def _picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def _window(streamer: Streamer, seed: int) -> np.ndarray:
    cfg, stream = streamer.preset.audio, streamer.preset.stream
    samples = cfg.context_samples + stream.window_frames * 640 + cfg.lookahead_samples
    return buzz(seed, 1, samples)


def _hop(streamer: Streamer, state: StreamState, window: np.ndarray) -> tuple[StreamState, np.ndarray]:
    (after,), frames, _ = streamer.hop([state], window, CONTROLS)
    return after, frames[0]


def test_a_batch_gives_what_each_session_gets_alone_and_the_state_is_a_value(streamer: Streamer) -> None:
    first, second = (streamer.open(_picture(i), seed=i) for i in range(2))
    assert first.motion.shape == (1, 4, 4, 8, 8)  # FADA's four motion frames
    assert len(first.banks) == 16 and first.banks[0].shape == (
        1,
        64,
        2 * 32,
    )  # keys and values, once per session
    windows = [_window(streamer, seed) for seed in range(2)]
    further, _ = _hop(streamer, second, windows[1])
    alone = [_hop(streamer, first, windows[0]), _hop(streamer, further, windows[1])]
    after, frames, _ = streamer.hop([first, further], np.concatenate(windows), CONTROLS)
    for row in range(2):
        state, drawn = alone[row]
        assert (state.motion - after[row].motion).norm() / state.motion.norm() <= STREAM_EQUALS_OFFLINE * 10
        assert np.abs(drawn.astype(int) - frames[row]).max() <= 1
    again, _ = _hop(streamer, first, windows[0])
    torch.testing.assert_close(again.motion, alone[0][0].motion, rtol=0, atol=0)
    assert not torch.allclose(alone[0][0].motion, first.motion)


@pytest.mark.slow
def test_sound_picture_seed_and_scale_all_matter(streamer: Streamer) -> None:
    state, window = streamer.open(_picture(0), seed=0), _window(streamer, 0)
    plain, _ = _hop(streamer, state, window)
    others = [
        _hop(streamer, state, window * 0)[0],
        _hop(streamer, streamer.open(_picture(1), seed=0), window)[0],
        _hop(streamer, streamer.open(_picture(0), seed=1), window)[0],
        streamer.hop([state], window, HopControls(2.5, 1.0, 1))[0][0],
    ]
    for other in others:
        assert not torch.allclose(plain.motion, other.motion, atol=1e-4)


def test_the_engine_and_rest_work_as_with_the_small_preset(streamer: Streamer) -> None:
    engine = TorchEngine(streamer, nfe=2)
    assert (engine.spec.width, engine.spec.fps, engine.spec.hop_frames) == (64, 25, 4)
    state = engine.open(np.zeros((64, 64, 3), dtype=np.uint8), seed=0)
    drawn, rested = engine.step(
        [StepRequest(state, _window(streamer, 0)[0], Controls(nfe=1)), StepRequest(state, None)]
    )
    for result in (drawn, rested):
        assert result.frames.shape == (4, 64, 64, 3) and result.frames.dtype == np.uint8
