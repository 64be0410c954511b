"""The stream: chunked equals whole, batched equals alone, the state is a value."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.face import SAMPLES_PER_FRAME
from models.hop import HopControls, StreamState
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer, blend_weights
from tests.models.tiny import buzz, tiny_model
from tests.tolerances import BLEND_WEIGHTS, STREAM_EQUALS_OFFLINE

CONTROLS = HopControls(audio_scale=1.5, reference_scale=1.0, nfe=2)


@pytest.fixture(scope="module")
def streamer() -> Streamer:
    networks = TorchNetworks(tiny_model(), torch.device("cpu"), torch.float32)
    return Streamer(networks, torch.device("cpu"))


def _picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (256, 256, 3), dtype=np.uint8)


def _windows(streamer: Streamer, count: int, seed: int) -> np.ndarray:
    preset = streamer.preset
    stream, cfg = preset.stream, preset.audio
    size = cfg.context_samples + stream.window_frames * SAMPLES_PER_FRAME + cfg.lookahead_samples
    sound = buzz(seed, cfg.context_samples + count * size)
    step = stream.hop_frames * SAMPLES_PER_FRAME
    return np.stack([sound[i * step : i * step + size] for i in range(count)])


def _run(streamer: Streamer, state: StreamState, windows: np.ndarray) -> tuple[StreamState, np.ndarray]:
    frames = []
    for window in windows:
        (state,), drawn, _ = streamer.hop([state], window[None], CONTROLS)
        frames.append(drawn[0])
    return state, np.concatenate(frames)


def test_a_batch_gives_what_each_session_gets_alone(streamer: Streamer) -> None:
    windows = _windows(streamer, 3, seed=1)
    states = [streamer.open(_picture(i), seed=i) for i in range(3)]
    states[1] = _run(streamer, states[1], windows)[0]  # one of them is further on
    after, together, _ = streamer.hop(states, windows, CONTROLS)
    for row in range(3):
        (alone,), frames, _ = streamer.hop([states[row]], windows[row : row + 1], CONTROLS)
        scale = alone.motion.abs().max()
        assert (alone.motion - after[row].motion).abs().max() <= STREAM_EQUALS_OFFLINE * 10 * scale
        assert np.abs(frames[0].astype(int) - together[row]).max() <= 1


def test_sessions_with_different_scales_share_a_batch(streamer: Streamer) -> None:
    windows = _windows(streamer, 3, seed=8)
    states = [streamer.open(_picture(i), seed=i) for i in range(3)]
    controls = [HopControls(0.0, 1.5, 2), HopControls(1.4, 1.0, 2), HopControls(2.5, 0.5, 2)]
    after, together, _ = streamer.hop(states, windows, controls)
    for row in range(3):
        (alone,), frames, _ = streamer.hop([states[row]], windows[row : row + 1], controls[row])
        (plain,), _, _ = streamer.hop([states[row]], windows[row : row + 1], CONTROLS)
        difference = (alone.motion - after[row].motion).norm() / alone.motion.norm()
        assert difference <= STREAM_EQUALS_OFFLINE
        assert np.abs(frames[0].astype(int) - together[row]).max() <= 1
        assert (plain.motion - alone.motion).norm() / alone.motion.norm() > 100 * STREAM_EQUALS_OFFLINE


def test_each_scale_counts_and_only_from_the_next_hop(streamer: Streamer) -> None:
    windows = _windows(streamer, 2, seed=9)
    (state,), _, _ = streamer.hop([streamer.open(_picture(0), seed=1)], windows[:1], CONTROLS)
    before = copy.deepcopy(state.motion)
    latents = []
    for controls in (CONTROLS, replace(CONTROLS, audio_scale=2.5), replace(CONTROLS, reference_scale=0.5)):
        (after,), _, _ = streamer.hop([state], windows[1:], controls)
        latents.append(after.motion)
    assert not torch.allclose(latents[0], latents[1]) and not torch.allclose(latents[0], latents[2])
    torch.testing.assert_close(state.motion, before, atol=0, rtol=0)


def test_running_again_from_a_kept_state_gives_the_same(streamer: Streamer) -> None:
    windows = _windows(streamer, 3, seed=2)
    start = streamer.open(_picture(0), seed=4)
    middle, first = _run(streamer, start, windows[:1])
    kept = copy.deepcopy(middle)
    _, whole = _run(streamer, start, windows)
    _, rest = _run(streamer, kept, windows[1:])
    np.testing.assert_array_equal(whole, np.concatenate([first, rest]))


def test_what_is_done_ahead_changes_nothing(streamer: Streamer) -> None:
    windows = _windows(streamer, 2, seed=6)
    states = [_run(streamer, streamer.open(_picture(i), seed=i), windows[:1])[0] for i in range(2)]
    after, frames, _ = streamer.hop(states, windows, CONTROLS)
    ready = streamer.prepare(states)
    assert all(state.moving for state in ready) and not any(state.moving for state in after)
    assert streamer.prepare(ready)[0] is ready[0]
    for prepared in (ready, [ready[0], states[1]]):  # all of a batch, or some
        again, same, _ = streamer.hop(prepared, windows, CONTROLS)
        np.testing.assert_array_equal(same, frames)
        for a, b in zip(again, after, strict=True):
            torch.testing.assert_close(a.motion, b.motion, atol=0, rtol=0)


def test_later_sound_never_changes_earlier_frames(streamer: Streamer) -> None:
    windows = _windows(streamer, 2, seed=3)
    other = windows.copy()
    other[1] *= 0.5
    start = streamer.open(_picture(0), seed=4)
    hop = streamer.preset.stream.hop_frames
    _, a = _run(streamer, start, windows)
    _, b = _run(streamer, start, other)
    np.testing.assert_array_equal(a[:hop], b[:hop])
    assert (a[hop:] != b[hop:]).any()


def test_seed_and_sound_and_picture_all_matter(streamer: Streamer) -> None:
    windows = _windows(streamer, 1, seed=5)
    _, base = _run(streamer, streamer.open(_picture(0), seed=1), windows)
    _, seed = _run(streamer, streamer.open(_picture(0), seed=2), windows)
    _, sound = _run(streamer, streamer.open(_picture(0), seed=1), windows * 0)
    assert (base != seed).any() and (base != sound).any()


@pytest.mark.parametrize("overlap", [0, 1, 2, 4])
def test_blend_weights_sum_to_one_and_rise(overlap: int) -> None:
    weights = blend_weights(overlap)
    assert len(weights) == overlap
    assert list(weights) == sorted(weights)
    assert all(abs(w + (1 - w) - 1) <= BLEND_WEIGHTS and 0 < w < 1 for w in weights)


def test_the_border_is_a_blend_of_both_windows(streamer: Streamer) -> None:
    windows = _windows(streamer, 2, seed=6)
    start = streamer.open(_picture(0), seed=1)
    after, _ = _run(streamer, start, windows[:1])
    assert after.tail is not None and after.tail.shape[1] == streamer.preset.stream.overlap_frames
    latents = torch.randn(1, streamer.preset.stream.window_frames, *streamer.preset.latent_shape)
    nothing = torch.zeros(1)
    inputs = streamer._gather([start, after], windows, nothing, nothing, [CONTROLS] * 2)
    first, blended = streamer.blend(inputs, latents.repeat(2, 1, 1, 1, 1)).split(1)
    torch.testing.assert_close(first, latents, atol=0, rtol=0)  # nothing came before it
    torch.testing.assert_close(blended[:, 0], (after.tail[:, 0] + latents[:, 0]) / 2)
    torch.testing.assert_close(blended[:, 1:], latents[:, 1:])


def test_wrong_shapes_and_scales_get_a_sentence(streamer: Streamer) -> None:
    with pytest.raises(ValueError, match="Expected a picture"):
        streamer.open(np.zeros((10, 10, 3), dtype=np.uint8), 0)
    state = streamer.open(_picture(0), 0)
    with pytest.raises(ValueError, match="Expected audio"):
        streamer.hop([state], np.zeros((1, 7), dtype=np.float32), CONTROLS)
    window = _windows(streamer, 1, seed=1)
    with pytest.raises(ValueError, match="one for each state, got 2"):
        streamer.hop([state], window, [CONTROLS, CONTROLS])
    with pytest.raises(ValueError, match=r"same nfe.*\[1, 2\]"):
        streamer.hop([state] * 2, window.repeat(2, 0), [CONTROLS, replace(CONTROLS, nfe=1)])
    with pytest.raises(ValueError, match="scales"):
        HopControls(9.0, 1.0, 4)
    with pytest.raises(ValueError, match="nfe"):
        HopControls(1.0, 1.0, 0)


def test_the_spectrum_keeps_fp32_beside_bf16_networks() -> None:
    exact, half = (
        TorchNetworks(tiny_model(), torch.device("cpu"), dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    torch.testing.assert_close(half.logmel.basis, exact.logmel.basis, atol=0, rtol=0)
    torch.testing.assert_close(half.logmel.filters, exact.logmel.filters, atol=0, rtol=0)


def test_a_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher"):
        TorchNetworks(tiny_model("teacher"), torch.device("cpu"), torch.float32)


def test_a_rest_eases_to_the_reference_and_speech_goes_on_from_it(streamer: Streamer) -> None:
    streamer = Streamer(streamer.networks, streamer.device, move_head=False)
    windows = _windows(streamer, 4, seed=11)
    state, _ = _run(streamer, streamer.open(_picture(0), seed=1), windows[:2])
    hop = streamer.preset.stream.hop_frames
    away = (state.motion[:, -1] - state.latent).norm()
    (rested,), frames, timings = streamer.rest([state])
    assert frames.shape == (1, hop, *_picture(0).shape) and "denoise" not in timings
    assert (rested.motion[:, -1] - state.latent).norm() < 1e-5 * away, "there within a hop"
    assert rested.tail is None and rested.frame == state.frame + hop
    still = streamer.rest([rested])[1][0]
    np.testing.assert_allclose(still[-1].astype(int), frames[0, -1], atol=1, err_msg="and stays there")
    assert np.abs(frames[0, 0].astype(int) - frames[0, -1]).max() > 1, "by degrees"
    after, drawn = _run(streamer, rested, windows[2:])
    assert after.frame == rested.frame + 2 * hop and drawn.std() > 0
    both, together, _ = streamer.rest([state, rested])
    np.testing.assert_allclose(together[0].astype(int), frames[0].astype(int), atol=1)
    assert len(both) == 2
