"""Pictures of one tone are told from pictures in colour, and stay of one tone when they speak."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kernels.machine import ROOT
from models.face import CANVAS_PX, FACE_BOX
from models.hop import HopControls
from models.runtimes.static_hop import EagerLanes, StaticRunner
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from models.tone import LUMA, NEAR, fit_tone, keep_tone
from tests.models.tiny import buzz, tiny_model

AVATARS = sorted(path for path in (ROOT / "avatars").glob("*.png") if "thumb" not in path.name)
LEFT, TOP, WIDTH, HEIGHT = FACE_BOX
TINTS = {
    "grey": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "sepia": ((0.13, 0.09, 0.05), (0.98, 0.93, 0.80)),
    "blue ink on pink": ((0.10, 0.10, 0.45), (1.00, 0.85, 0.88)),
    "negative": ((0.95, 0.9, 0.9), (0.05, 0.1, 0.2)),
}


def face(path: object) -> Tensor:
    pixels = np.asarray(Image.open(str(path)).convert("RGB").resize((CANVAS_PX, CANVAS_PX)))
    canvas = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    return canvas[:, :, TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]


def tinted(box: Tensor, name: str) -> Tensor:
    dark, light = (box.new_tensor(end).view(1, 3, 1, 1) for end in TINTS[name])
    lightness = sum(share * box[:, c : c + 1] for c, share in enumerate(LUMA))
    return torch.lerp(dark, light, lightness)


@pytest.mark.parametrize("path", AVATARS, ids=lambda path: path.stem)
def test_a_face_in_colour_is_no_tone_and_passes_to_the_bit(path: object) -> None:
    box = face(path)
    tone = fit_tone(box)
    assert tone.shape == (1, 3, 4) and not tone[..., 3].any()
    assert torch.equal(keep_tone(box, tone), box)


@pytest.mark.parametrize("name", TINTS)
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_tone_is_found_and_takes_the_colour_out_of_a_mouth(name: str, noise: float) -> None:
    torch.manual_seed(3)
    box = tinted(face(AVATARS[0]), name)
    tone = fit_tone((box + noise * torch.randn_like(box)).clamp(0, 1))
    assert tone[..., 3].all()
    spoken = box.clone()
    spoken[:, :, 100:120, 60:100] = spoken.new_tensor([0.7, 0.1, 0.15]).view(1, 3, 1, 1)  # red lips
    kept = keep_tone(spoken, tone)
    assert fit_tone(kept)[..., 3].all()
    assert (keep_tone(box, tone) - box).abs().max() < NEAR


def test_black_white_and_one_colour_are_tones() -> None:
    for value in (0.0, 0.5, 1.0):
        box = torch.full((1, 3, 8, 8), value)
        tone = fit_tone(box)
        assert tone.isfinite().all() and tone[..., 3].all()
        torch.testing.assert_close(keep_tone(box, tone), box, atol=0.01, rtol=0)


def test_rows_of_a_batch_have_their_own_tone_on_both_runners() -> None:
    device = torch.device("cpu")
    streamer = Streamer(TorchNetworks(tiny_model(), device, torch.float32), device, move_head=False)
    colour = np.random.default_rng(1).integers(0, 255, (CANVAS_PX, CANVAS_PX, 3), dtype=np.uint8)
    grey = np.repeat(colour[..., :1], 3, axis=2)
    states = [streamer.open(colour, seed=1), streamer.open(grey, seed=2)]
    audio = buzz(4, 2, streamer.preset.window_samples)
    controls = HopControls(1.0, 1.0, 1)
    drawn = []
    for runner in (streamer, StaticRunner(streamer, EagerLanes(), piece_rows=1)):
        streamer.use_runner(runner)
        drawn.append(streamer.hop(states, audio, controls)[1].astype(int))
        drawn.append(streamer.rest(states)[1].astype(int))
    for frames in drawn:
        assert np.ptp(frames[1], axis=-1).max() <= 1
        assert np.ptp(frames[0], axis=-1).mean() > 20
    for call, replayed in zip(drawn[:2], drawn[2:], strict=True):
        assert np.abs(call - replayed).max() <= 1
