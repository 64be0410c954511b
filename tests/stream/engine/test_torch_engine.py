"""The real engine with the shipped weights, behind the protocol that the server sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.presets import shipped
from models.runtimes.options import EngineOptions
from stream.engine.protocol import Controls, StepRequest, check_results
from stream.engine.torch_engine import TorchEngine, load_engine
from stream.errors import EngineError
from tests.models.tiny import buzz
from tests.tolerances import NATIVE_HALF_HOP, NATIVE_HOP, STREAM_EQUALS_OFFLINE

AVATARS = Path(__file__).resolve().parents[3] / "avatars"


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return load_engine(EngineOptions("small", nfe=2, device="cpu", backend="torch-fp32"))


def _avatar(engine: TorchEngine) -> np.ndarray:
    picture = Image.open(AVATARS / "mira.png").convert("RGB")
    return np.asarray(picture.resize((engine.spec.width, engine.spec.height)))


def _request(engine: TorchEngine, seed: int, **controls: float) -> StepRequest:
    audio = buzz(seed, engine.spec.window_samples)
    return StepRequest(engine.open(_avatar(engine), seed), audio, Controls(**controls))


def test_frames_and_new_state_come_back(engine: TorchEngine) -> None:
    (result,) = engine.step([_request(engine, 1)])
    spec = engine.spec
    assert result.frames.shape == (spec.hop_frames, spec.height, spec.width, 3)
    assert result.frames.dtype == np.uint8
    assert result.state.frame == spec.hop_frames
    assert set(result.timings_ms) >= {"audio", "denoise", "decode"}


def test_mixed_controls_keep_their_order(engine: TorchEngine) -> None:
    requests = [_request(engine, 1), _request(engine, 2, nfe=1), _request(engine, 3)]
    together = engine.step(requests)
    for request, result in zip(requests, together, strict=True):
        (alone,) = engine.step([request])
        assert np.abs(alone.frames.astype(int) - result.frames).max() <= 1


def test_a_batch_keeps_each_rows_scales(engine: TorchEngine) -> None:
    scales = ((0.0, 1.0), (1.4, 1.5), (2.5, 0.5))
    requests = [_request(engine, 5, audio_scale=a, reference_scale=r) for a, r in scales]
    together = engine.step(requests)
    for request, result in zip(requests, together, strict=True):
        (alone,) = engine.step([request])
        difference = (alone.state.motion - result.state.motion).norm() / alone.state.motion.norm()
        assert difference <= STREAM_EQUALS_OFFLINE
    assert not np.array_equal(together[0].frames, together[2].frames)


def test_the_preset_says_what_callers_may_ask_for(engine: TorchEngine) -> None:
    assert (engine.spec.audio_scale.low, engine.spec.audio_scale.high) == (0.0, 2.5)
    assert (engine.spec.reference_scale.low, engine.spec.reference_scale.high) == (0.5, 1.5)


def test_in_silence_the_face_stays_the_face(engine: TorchEngine) -> None:
    picture = _avatar(engine)
    state: object = engine.open(picture, 0)
    silence = np.zeros(engine.spec.window_samples, dtype=np.float32)
    for _ in range(5):
        (result,) = engine.step([StepRequest(state, silence)])
        state = result.state
    change = np.abs(result.frames[-1].astype(int) - picture).mean()
    assert change < 12  # head sway moves edges a little; another face or noise would be far above


def test_only_a_framed_canvas_opens(engine: TorchEngine) -> None:
    """Framing is `stream.avatars.portrait`'s work; here its size is checked."""
    for shape in ((40, 90, 3), (256, 256, 3), (64, 64), (511, 512, 3)):
        with pytest.raises(ValueError, match="Expected a picture"):
            engine.open(np.zeros(shape, np.uint8), 1)


def test_broken_weights_are_one_sentence(tmp_path: Path) -> None:
    whole = shipped("small").read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(EngineError, match="cut off"):
        load_engine(EngineOptions("small", weights=cut))
    with pytest.raises(EngineError, match="no checkpoint"):
        load_engine(EngineOptions("small", weights=tmp_path / "none.safetensors"))
    with pytest.raises(EngineError, match="Expected --device cuda:63"):
        load_engine(EngineOptions("small", device="cuda:63"))


def test_too_little_memory_means_smaller_batches_and_no_crash(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [_request(engine, seed) for seed in range(3)]
    truth = engine.step(requests)
    hop, asked = engine._streamer.hop, []

    def small_device(states: list[object], *rest: object) -> object:
        asked.append(len(states))
        if len(states) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hop(states, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engine._streamer, "hop", small_device)
    monkeypatch.setattr(engine, "_most_rows", engine.spec.max_batch)
    for again in (engine.step(requests), engine.step(requests)):
        for one, other in zip(truth, again, strict=True):
            assert np.abs(one.frames.astype(int) - other.frames).max() <= 1
    assert asked == [3, 1, 1, 1, 1, 1, 1], "tried once, then remembered"


def test_not_even_one_session_fits(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine._streamer, "hop", full)
    with pytest.raises(EngineError, match="not enough memory for one session"):
        engine.step([_request(engine, 1)])


@pytest.mark.parametrize(
    ("backend", "latents", "worst", "mean"),
    [("native", NATIVE_HOP, 1, 1e-3), ("native-bf16", NATIVE_HALF_HOP, 40, 0.1)],
)
def test_the_native_path_draws_what_torch_draws(
    engine: TorchEngine, backend: str, latents: float, worst: int, mean: float
) -> None:
    native = load_engine(EngineOptions("small", nfe=2, device="cpu", backend=backend))
    requests = [_request(engine, seed) for seed in range(2)]
    for ours, theirs in zip(native.step(requests), engine.step(requests), strict=True):
        difference = (ours.state.motion - theirs.state.motion).norm() / theirs.state.motion.norm()
        assert difference <= latents
        off = np.abs(ours.frames.astype(int) - theirs.frames)
        assert off.max() <= worst and off.mean() <= mean


@pytest.mark.parametrize(("size", "side"), [(None, 512), (318, 318)])
def test_a_preset_that_moves_pixels_draws_at_the_size_asked_for(size: int | None, side: int) -> None:
    options = EngineOptions("small", nfe=1, device="cpu", weights="random", size=size, max_batch=1)
    engine = load_engine(options)
    assert (engine.spec.width, engine.spec.height) == (side, side)
    engine.warm_up()
    state = engine.open(np.full((side, side, 3), 90, np.uint8), 0)
    audio = np.zeros(engine.spec.window_samples, np.float32)
    check_results(engine.step([StepRequest(state, audio)]), 1, engine.spec)
    check_results(engine.step([StepRequest(state, None)]), 1, engine.spec)
