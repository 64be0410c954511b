"""Streams whose decoder moves the picture's own pixels: at its own size, the same by every runtime and chunking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.avatar_model import AvatarModel
from models.configs import VAEConfig
from models.hop import HopControls
from models.networks import Networks
from models.runtimes.onnx_networks import OnnxNetworks
from models.runtimes.static_hop import EagerLanes, StaticRunner
from models.runtimes.torch_networks import NativeNetworks, PlainNetworks, TorchNetworks
from models.streaming import Streamer
from models.weights import open_model
from tests.models.tiny import buzz, tiny_model, tiny_preset

CPU = torch.device("cpu")
CONTROLS = HopControls(1.2, 1.0, 2)
MOVING = replace(
    tiny_preset(),
    name="moving",
    vae=VAEConfig(latent_channels=8, stem=2, widths=(8, 16, 32), blocks=1, decoder="move"),
    unet=replace(tiny_preset().unet, latent_channels=8),
)


def moving_model() -> AvatarModel:
    torch.manual_seed(0)
    model = AvatarModel(MOVING, "student").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
        for leaf in (model.vae.decoder.coarse, model.vae.decoder.leave):
            leaf.weight.normal_(std=0.03)
    return model


def portrait(side: int) -> np.ndarray:
    coarse = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(4))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (smooth[0].permute(1, 2, 0) * 255).byte().numpy()


def film(networks: Networks, side: int, hops: int = 3, static: bool = False) -> np.ndarray:
    """(T, side, side, 3) float64 of some hops of a buzz."""
    streamer = Streamer(networks, CPU, picture_px=side)
    if static:
        streamer.use_runner(StaticRunner(streamer, EagerLanes()))
    states, frames = [streamer.open(portrait(side), 3)], []
    for hop in range(hops):
        states, drawn, _ = streamer.hop(states, buzz(hop, 1, MOVING.window_samples), CONTROLS)
        frames.append(drawn[0])
    return np.concatenate(frames).astype(np.float64)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return film(TorchNetworks(moving_model(), CPU, torch.float32), 512, hops=3)


def test_frames_have_the_pictures_size_and_something_moves(truth: np.ndarray) -> None:
    assert truth.shape[1:] == (512, 512, 3)
    assert np.abs(truth[-1] - truth[0]).mean() > 0.05
    small = film(TorchNetworks(moving_model(), CPU, torch.float32), 256)
    shrunk = truth.reshape(len(truth), 256, 2, 256, 2, 3).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 2.5


@pytest.mark.parametrize("kind", ["native", "plain", "static", pytest.param("onnx", marks=pytest.mark.slow)])
def test_every_runtime_moves_alike(
    kind: str, truth: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    model = moving_model()
    made: dict[str, Networks] = {}
    if kind == "native":
        made[kind] = NativeNetworks(model, CPU)
        assert type(model.vae.decoder).__name__ == "NativeMovingDecoder"
    elif kind == "plain":
        made[kind] = PlainNetworks(model, CPU)
    elif kind == "onnx":
        made[kind] = OnnxNetworks(model, CPU)
    else:
        made[kind] = TorchNetworks(model, CPU, torch.float32)
    ours = film(made[kind], 512, static=kind == "static")
    assert np.abs(ours - truth).mean() < 0.05 and (np.abs(ours - truth) > 2).mean() < 1e-3


def test_a_batch_is_its_rows() -> None:
    streamer = Streamer(TorchNetworks(moving_model(), CPU, torch.float32), CPU, picture_px=320)
    states = [streamer.open(portrait(320), seed) for seed in (1, 2)]
    sound = np.concatenate([buzz(seed, 1, MOVING.window_samples) for seed in (5, 6)])
    _, both, _ = streamer.hop(states, sound, CONTROLS)
    for row in range(2):
        _, alone, _ = streamer.hop(states[row : row + 1], sound[row : row + 1], CONTROLS)
        assert np.abs(alone[0].astype(int) - both[row].astype(int)).max() <= 1


def test_a_rest_leads_back_to_the_picture() -> None:
    streamer = Streamer(
        TorchNetworks(moving_model(), CPU, torch.float32), CPU, move_head=False, picture_px=384
    )
    states = [streamer.open(portrait(384), 1)]
    states, _, _ = streamer.hop(states, buzz(1, 1, MOVING.window_samples), CONTROLS)
    _, rested, _ = streamer.rest(states)
    again = [streamer.open(portrait(384), 1)]
    _, still, _ = streamer.rest(again)
    assert np.abs(rested[0, -1].astype(int) - still[0, -1].astype(int)).mean() < 0.5


@pytest.mark.parametrize("side", [128, 4096])
def test_sizes_beyond_reason_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match="size"):
        Streamer(TorchNetworks(moving_model(), CPU, torch.float32), CPU, picture_px=side)


def test_a_decoder_that_paints_has_one_size() -> None:
    with pytest.raises(ValueError, match="only a decoder that moves"):
        Streamer(TorchNetworks(tiny_model(), CPU, torch.float32), CPU, picture_px=512)


@pytest.mark.parametrize("half", [False, True])
def test_the_preset_itself_streams_on_the_native_kernels(half: bool) -> None:
    """At its own widths, which the other tests do not have: layers too deep for bf16 stay PyTorch's."""
    model = open_model("small", "random")
    side = 256
    streamer = Streamer(NativeNetworks(model, CPU, half=half), CPU, picture_px=side)
    sound = buzz(1, 1, model.preset.window_samples)
    _, frames, _ = streamer.hop([streamer.open(portrait(side), 1)], sound, HopControls(1.4, 1.0, 1))
    assert frames.shape == (1, model.preset.stream.hop_frames, side, side, 3)
