"""How windows follow each other is a choice of whoever streams: shorter hops, no overlap, less look-ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.face import SAMPLES_PER_FRAME
from models.hop import HopControls
from models.presets import SERVED, HopChoice, Preset, StreamConfig, preset
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from models.weights import load_model, save_model
from tests.models.tiny import buzz, tiny_model

CONTROLS = HopControls(audio_scale=1.5, reference_scale=1.0, nfe=1)
PICTURE = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
SOUND = buzz(1, 40 * SAMPLES_PER_FRAME)


def streamer(choice: HopChoice) -> Streamer:
    model = tiny_model()
    model.preset = choice.applied(model.preset)
    return Streamer(TorchNetworks(model, torch.device("cpu"), torch.float32), torch.device("cpu"))


def draw(choice: HopChoice, sound: np.ndarray, frames: int) -> np.ndarray:
    chosen = streamer(choice)
    cfg = chosen.preset
    padded = np.concatenate((np.zeros(cfg.audio.context_samples, np.float32), sound))
    state, out = chosen.open(PICTURE, seed=3), []
    for first in range(0, frames, cfg.stream.hop_frames):
        start = first * SAMPLES_PER_FRAME
        window = padded[start : start + cfg.window_samples]
        window = np.pad(window, (0, cfg.window_samples - len(window)))
        (state,), drawn, _ = chosen.hop([state], window[None], CONTROLS)
        out.append(drawn[0])
    return np.concatenate(out)[:frames]


@pytest.mark.parametrize("choice", [(1, 0, 2), (2, 0, 2), (2, 1, 1), (3, 0, 0), (4, 1, 2)])
def test_every_choice_covers_the_sound_frame_by_frame(choice: tuple[int, int, int]) -> None:
    hop, overlap, lookahead = choice
    chosen = streamer(HopChoice(*choice))
    assert chosen.preset.stream.window_frames == hop + overlap
    context = chosen.preset.audio.context_samples
    assert chosen.preset.window_samples == context + (hop + overlap + lookahead) * SAMPLES_PER_FRAME
    assert draw(HopChoice(*choice), SOUND, 6).shape == (6, 256, 256, 3)


@pytest.mark.parametrize("choice", [(2, 0, 2), (2, 1, 1)])
def test_sound_that_comes_later_never_changes_a_frame_that_was_drawn(choice: tuple[int, int, int]) -> None:
    _, overlap, lookahead = choice
    other = SOUND.copy()
    other[(4 + overlap + lookahead) * SAMPLES_PER_FRAME :] *= -1
    before, after = (draw(HopChoice(*choice), sound, 8) for sound in (SOUND, other))
    np.testing.assert_array_equal(before[:4], after[:4])
    assert not np.array_equal(before[4:], after[4:])


def test_look_ahead_that_is_not_awaited_is_the_mirror_of_what_was_heard() -> None:
    short, full = streamer(HopChoice(2, 0, 1)), streamer(HopChoice(2, 0, 2))
    heard = SOUND[: short.preset.window_samples]
    mirrored = np.concatenate((heard, heard[: -SAMPLES_PER_FRAME - 1 : -1]))
    drawn = short.hop([short.open(PICTURE, 0)], heard[None], CONTROLS)[1]
    np.testing.assert_array_equal(drawn, full.hop([full.open(PICTURE, 0)], mirrored[None], CONTROLS)[1])


def test_what_is_not_chosen_is_the_presets_own() -> None:
    small = preset("small")
    usual = SERVED["small"]
    served = HopChoice().applied(small)
    assert (served.stream.hop_frames, served.stream.overlap_frames) == (
        usual.hop_frames,
        usual.overlap_frames,
    )
    assert HopChoice(hop_frames=5).applied(small).stream.hop_frames == 5
    assert HopChoice(hop_frames=5).applied(small).stream.overlap_frames == usual.overlap_frames
    stranger = Preset(name="stranger", stream=StreamConfig(hop_frames=3))
    assert HopChoice().applied(stranger) == stranger


@pytest.mark.parametrize("choice", [(0, 0, 2), (2, 3, 2), (2, 0, 3), (2, 0, -1), (40, 0, 2)])
def test_what_a_preset_cannot_do_is_refused(choice: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"need|cannot await|at most"):
        HopChoice(*choice).applied(preset("small"))


def test_a_checkpoint_keeps_the_look_ahead(tmp_path: Path) -> None:
    model = tiny_model()
    model.preset = HopChoice(2, 1, 1).applied(model.preset)
    save_model(tmp_path / "a.safetensors", model)
    assert load_model(tmp_path / "a.safetensors").preset == model.preset
